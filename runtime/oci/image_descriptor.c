#include "image_descriptor.h"

#define OCI    "application/vnd.oci.image."
#define DOCKER "application/vnd.docker."

/* "nondistributable" and "foreign" only say who may pass a layer on. */
static const struct {
	const char *name;
	enum image_media media;
} media_types[] = {
	{ OCI "index.v1+json", IMAGE_MEDIA_INDEX },
	{ OCI "manifest.v1+json", IMAGE_MEDIA_MANIFEST },
	{ OCI "config.v1+json", IMAGE_MEDIA_CONFIG },
	{ OCI "layer.v1.tar", IMAGE_MEDIA_LAYER },
	{ OCI "layer.v1.tar+gzip", IMAGE_MEDIA_LAYER_GZIP },
	{ OCI "layer.v1.tar+zstd", IMAGE_MEDIA_LAYER_ZSTD },
	{ OCI "layer.nondistributable.v1.tar", IMAGE_MEDIA_LAYER },
	{ OCI "layer.nondistributable.v1.tar+gzip", IMAGE_MEDIA_LAYER_GZIP },
	{ OCI "layer.nondistributable.v1.tar+zstd", IMAGE_MEDIA_LAYER_ZSTD },
	{ DOCKER "distribution.manifest.list.v2+json", IMAGE_MEDIA_INDEX },
	{ DOCKER "distribution.manifest.v2+json", IMAGE_MEDIA_MANIFEST },
	{ DOCKER "container.image.v1+json", IMAGE_MEDIA_CONFIG },
	{ DOCKER "image.rootfs.diff.tar", IMAGE_MEDIA_LAYER },
	{ DOCKER "image.rootfs.diff.tar.gzip", IMAGE_MEDIA_LAYER_GZIP },
	{ DOCKER "image.rootfs.diff.tar.zstd", IMAGE_MEDIA_LAYER_ZSTD },
	{ DOCKER "image.rootfs.foreign.diff.tar.gzip", IMAGE_MEDIA_LAYER_GZIP },
};

enum image_media image_media_parse(struct span text)
{
	for (size_t i = 0; i < sizeof(media_types) / sizeof(media_types[0]);
	     i++)
		if (span_is(text, media_types[i].name))
			return media_types[i].media;
	return IMAGE_MEDIA_OTHER;
}

#if defined(__x86_64__)
const struct image_platform image_platform_own = { "linux", "amd64", "" };
#elif defined(__aarch64__)
const struct image_platform image_platform_own = { "linux", "arm64", "v8" };
#else
#error "no OCI platform name for this architecture"
#endif

static bool fits(const char *offered, const char *own)
{
	return !*offered || strcmp(offered, own) == 0;
}

bool image_platform_fits(const struct image_platform *offered,
			 const struct image_platform *own)
{
	return fits(offered->os, own->os) &&
	       fits(offered->architecture, own->architecture) &&
	       fits(offered->variant, own->variant);
}
