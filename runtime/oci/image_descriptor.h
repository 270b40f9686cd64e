/* Content descriptors, the links between the documents of an OCI image
 * (image-spec, descriptor.md; Docker's schema 2 uses the same form).
 *
 * All documents of an image are foreign bytes. Their parsers do no I/O, take
 * the exact bytes whose digest was verified (or index.json, which nothing
 * verifies), and give structs in which every number and length is in range.
 * On an error they fill `error` with one line that names the document and the
 * place, such as
 *	manifest: layers[3].digest: want "sha256:" and 64 hex digits
 * Members that a parser does not know are ignored, as the specification asks;
 * null counts as absent, since Go programs write it for empty lists. */
#ifndef OCI_IMAGE_DESCRIPTOR_H
#define OCI_IMAGE_DESCRIPTOR_H

#include <stdint.h>

#include "oci/digest/digest.h"

enum {
	IMAGE_ERROR_SIZE = 200,
	IMAGE_DOCUMENT_MAX = 4 << 20, /* index, manifest: bytes */
	IMAGE_CONFIG_MAX = 1 << 20,
	IMAGE_LAYERS_MAX = 128,
};

#define IMAGE_BLOB_MAX (64ULL << 30) /* compressed size of one layer */

enum image_media {
	IMAGE_MEDIA_OTHER, /* nothing that this node reads */
	IMAGE_MEDIA_INDEX,
	IMAGE_MEDIA_MANIFEST,
	IMAGE_MEDIA_CONFIG,
	IMAGE_MEDIA_LAYER, /* tar */
	IMAGE_MEDIA_LAYER_GZIP,
	IMAGE_MEDIA_LAYER_ZSTD,
};

struct image_descriptor {
	enum image_media media;
	struct digest digest;
	uint64_t size;
};

/* What a media type of OCI or Docker stands for. */
enum image_media image_media_parse(struct span text);

/* For whom an image is made, in the words of Go (GOOS, GOARCH); "" where it
 * was not stated. */
struct image_platform {
	char os[32];
	char architecture[32];
	char variant[16];
};

/* The platform of this very program. */
extern const struct image_platform image_platform_own;

/* Whether an image for `offered` runs on `own`; an unstated member fits. */
bool image_platform_fits(const struct image_platform *offered,
			 const struct image_platform *own);

#endif
