#include "image.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fd.h"

#include "blob.h"

int image_fail(const struct digest *digest, char error[STORE_ERROR_SIZE],
	       int code, const char *fmt, ...)
{
	char hex[DIGEST_HEX_SIZE];
	va_list ap;
	int n;

	digest_hex(digest, hex);
	n = snprintf(error, STORE_ERROR_SIZE, "image sha256:%.12s: ", hex);
	va_start(ap, fmt);
	vsnprintf(error + n, (size_t)(STORE_ERROR_SIZE - n), fmt, ap);
	va_end(ap);
	return code;
}

/* A parser refuses what is not well formed; to the store that is damage. */
static int damage(int code)
{
	return code == -EINVAL ? -EBADMSG : code;
}

static int load_manifest(int layout, const struct digest *digest,
			 struct image *image, char *error)
{
	const struct blob blob = { digest, BLOB_SIZE_ANY, IMAGE_DOCUMENT_MAX };
	char why[IMAGE_ERROR_SIZE];
	autofree char *text = NULL;
	size_t size;
	int r = blob_read(layout, &blob, &text, &size, why);

	if (!r)
		r = image_manifest_parse((struct span){ text, size },
					 &image->manifest, why);
	if (r)
		return image_fail(digest, error, damage(r), "%s", why);
	image->manifest_bytes = size;
	return 0;
}

static int load_config(int layout, const struct digest *digest,
		       struct image *image, char *error)
{
	const struct blob blob = { &image->manifest.config.digest,
				   image->manifest.config.size,
				   IMAGE_CONFIG_MAX };
	char why[IMAGE_ERROR_SIZE];
	autofree char *text = NULL;
	size_t size;
	int r = blob_read(layout, &blob, &text, &size, why);

	if (!r)
		r = image_config_parse((struct span){ text, size },
				       &image->config, why);
	if (r)
		return image_fail(digest, error, damage(r), "%s", why);
	return 0;
}

int image_load(int layout, const struct digest *digest, struct image *image,
	       char error[STORE_ERROR_SIZE])
{
	const struct image_config *config = &image->config;
	int r;

	memset(image, 0, sizeof(*image));
	r = load_manifest(layout, digest, image, error);
	if (!r)
		r = load_config(layout, digest, image, error);
	if (r)
		return r;
	if (config->n_diff_ids != image->manifest.n_layers)
		return image_fail(digest, error, -EBADMSG,
				  "%u layers but %u diff_ids",
				  image->manifest.n_layers, config->n_diff_ids);
	if (!image_platform_fits(&config->platform, &image_platform_own))
		return image_fail(
			digest, error, -ENOTSUP,
			"made for %s/%s, this node is %s/%s",
			config->platform.os, config->platform.architecture,
			image_platform_own.os, image_platform_own.architecture);
	return 0;
}

void image_free(struct image *image)
{
	image_config_free(&image->config);
}
