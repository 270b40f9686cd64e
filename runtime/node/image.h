/* Finding the image that node.json names: the manifest's digest and the
 * config, out of an OCI layout on the ZOOID partition. Both are verified here
 * as zrun does again when it copies them. */
#ifndef NODE_IMAGE_H
#define NODE_IMAGE_H

#include "oci/image_config.h"

enum { NODE_IMAGE_ERROR_SIZE = 256 };

struct node_image {
	struct digest manifest;
	uint64_t bytes; /* of its blobs, compressed */
	struct image_config config;
};

/* boot: directory of the ZOOID partition; layout: a path beneath it; tag: ""
 * for the default one. Freed with node_image_free() whatever the result. 0 or
 * -errno with one line in error. */
int node_image_find(int boot, const char *layout, const char *tag,
		    struct node_image *image,
		    char error[NODE_IMAGE_ERROR_SIZE]);
void node_image_free(struct node_image *image);

#endif
