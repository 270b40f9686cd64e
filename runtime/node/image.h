/* Finding an image: the manifest's digest and the config, out of an OCI layout
 * on the ZOOID partition that node.json names, or out of zrun's store, which is
 * a layout too. Both are verified here as zrun does again. */
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
/* The same of the image with that manifest in the store, directory `images`.
 * -ENOENT when it is not (wholly) there. */
int node_image_load(int images, const struct digest *manifest,
		    struct node_image *image,
		    char error[NODE_IMAGE_ERROR_SIZE]);

/* The manifest for this node that an index names, whose digest the text must
 * have. 0, -EBADMSG, or that of image_index_pick(). */
int node_index_pick(struct span text, const struct digest *index,
		    struct digest *manifest, char error[NODE_IMAGE_ERROR_SIZE]);
void node_image_free(struct node_image *image);

#endif
