/* The manifest of one image (image-spec, manifest.md; Docker schema 2): its
 * config and its layers, bottom first. See image_descriptor.h. */
#ifndef OCI_IMAGE_MANIFEST_H
#define OCI_IMAGE_MANIFEST_H

#include "image_descriptor.h"

struct image_manifest {
	struct image_descriptor config;
	unsigned n_layers;
	struct image_descriptor layer[IMAGE_LAYERS_MAX];
};

/* 0; -EINVAL; -E2BIG over a limit; -ENOTSUP for schema 1, artifacts, and layer
 * formats that cannot be unpacked here. */
int image_manifest_parse(struct span text, struct image_manifest *manifest,
			 char error[IMAGE_ERROR_SIZE]);

#endif
