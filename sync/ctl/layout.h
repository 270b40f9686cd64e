/* An OCI image layout (image-spec, image-layout.md) to be pushed: a folder, or
 * a tar archive of one. */
#ifndef CTL_LAYOUT_H
#define CTL_LAYOUT_H

#include "oci/image_index.h"

enum {
	LAYOUT_BLOBS_MAX = 1024, /* of one image */
	LAYOUT_DOCUMENTS_MAX = 64,
	LAYOUT_DEPTH_MAX = 3,
};

struct layout_blob {
	struct digest digest;
	uint64_t size;
};

/* A manifest or an index, in the order in which they must be pushed. */
struct layout_document {
	struct digest digest;
	char type[96];
	char *text;
	size_t size;
};

/* One image: all that is to be sent. */
struct layout_image {
	char tag[IMAGE_TAG_SIZE]; /* as the layout calls it, or "" */
	unsigned n_blobs, n_documents;
	uint64_t total; /* bytes of the blobs */
	struct layout_blob blob[LAYOUT_BLOBS_MAX];
	struct layout_document document[LAYOUT_DOCUMENTS_MAX];
};

struct layout;

/* Opens PATH, a folder or an archive. 0, or -errno with one line in error. */
int layout_open(const char *path, struct layout **layout,
		char error[IMAGE_ERROR_SIZE]);
void layout_close(struct layout *layout);

/* Finds the image called tag ("": the only one) and reads its documents,
 * verified by their digests; all of its blobs are there with their sizes. The
 * caller frees it with layout_image_free(). 0, or -errno with one line. */
int layout_find(struct layout *layout, const char *tag,
		struct layout_image *image, char error[IMAGE_ERROR_SIZE]);
void layout_image_free(struct layout_image *image);

/* A descriptor, the layout's, in which the blob begins at *offset; or -errno.
 * The next call may close it. */
int layout_blob_open(struct layout *layout, const struct digest *digest,
		     uint64_t *offset, uint64_t *size);

#endif
