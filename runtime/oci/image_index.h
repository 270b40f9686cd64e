/* The index of an OCI layout (index.json) or of an image for several
 * platforms (image-spec, image-layout.md and image-index.md; Docker's manifest
 * list). As for all documents of an image, see image_descriptor.h. */
#ifndef OCI_IMAGE_INDEX_H
#define OCI_IMAGE_INDEX_H

#include "image_descriptor.h"

enum { IMAGE_INDEX_MAX = 256, IMAGE_TAG_SIZE = 128 };

struct image_index_entry {
	struct image_descriptor descriptor; /* an index or a manifest */
	struct image_platform platform;
	char tag[IMAGE_TAG_SIZE]; /* org.opencontainers.image.ref.name or "" */
};

struct image_index {
	unsigned n;
	struct image_index_entry entry[IMAGE_INDEX_MAX];
};

/* Checks the file oci-layout: version 1.*. 0, -EINVAL, -ENOTSUP. */
int image_layout_check(struct span text, char error[IMAGE_ERROR_SIZE]);

/* Fills *index; entries of other media types are left out. 0, -EINVAL,
 * -E2BIG. */
int image_index_parse(struct span text, struct image_index *index,
		      char error[IMAGE_ERROR_SIZE]);

/* Chooses the entry for a tag and a platform. With tag "" that is the only
 * tag there is, else "latest". Returns its position; -ENOENT when nothing fits;
 * -EINVAL when several tags fit and none was named. */
int image_index_pick(const struct image_index *index, const char *tag,
		     const struct image_platform *own,
		     char error[IMAGE_ERROR_SIZE]);

#endif
