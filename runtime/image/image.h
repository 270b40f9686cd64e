/* The two documents of one image in a layout, read and verified: the manifest
 * by its own digest, the config by the manifest's. */
#ifndef IMAGE_IMAGE_H
#define IMAGE_IMAGE_H

#include "oci/image_config.h"
#include "oci/image_manifest.h"

#include "store.h"

struct image {
	uint64_t manifest_bytes;
	struct image_manifest manifest;
	struct image_config config; /* as many diff_ids as layers */
};

/* Reads the image with manifest `digest` from the directory of an OCI layout.
 * Freed with image_free() whatever the result. 0; -ENOENT; -EBADMSG; `error`
 * then is one line that names the image and what is wrong. */
int image_load(int layout, const struct digest *digest, struct image *image,
	       char error[STORE_ERROR_SIZE]);
void image_free(struct image *image);

/* Writes "image sha256:0123456789ab: message" and returns code. */
__attribute__((format(printf, 4, 5))) int image_fail(
	const struct digest *digest, char error[STORE_ERROR_SIZE], int code,
	const char *fmt, ...);

#endif
