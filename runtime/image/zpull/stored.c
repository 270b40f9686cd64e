/* The store keeps no packed layer, but the manifests of its images name those
 * that were unpacked into it. */
#include "stored.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "oci/image_index.h"

static int manifest_read(int images, const struct digest *digest,
			 struct image_manifest *manifest)
{
	char path[sizeof("blobs/sha256/") + DIGEST_HEX_SIZE];
	char hex[DIGEST_HEX_SIZE], why[IMAGE_ERROR_SIZE];
	autofree char *text = NULL;
	struct digest found;
	size_t size;
	int r;

	digest_hex(digest, hex);
	snprintf(path, sizeof(path), "blobs/sha256/%s", hex);
	r = file_read(images, path, IMAGE_DOCUMENT_MAX, &text, &size);
	if (r)
		return r;
	found = digest_of(text, size);
	if (!digest_equal(&found, digest))
		return -1;
	return image_manifest_parse((struct span){ text, size }, manifest, why);
}

static void compare(const struct image_manifest *wanted,
		    const struct image_manifest *stored, bool *has)
{
	for (unsigned i = 0; i < wanted->n_layers; i++)
		for (unsigned k = 0; k < stored->n_layers; k++)
			if (digest_equal(&wanted->layer[i].digest,
					 &stored->layer[k].digest))
				has[i] = true;
}

static void index_walk(int images, struct image_index *index,
		       const struct image_manifest *wanted, bool *has)
{
	autofree struct image_manifest *stored = malloc(sizeof(*stored));

	for (unsigned i = 0; stored && i < index->n; i++) {
		const struct digest *digest =
			&index->entry[i].descriptor.digest;

		if (manifest_read(images, digest, stored) == 0)
			compare(wanted, stored, has);
	}
}

void stored_find(int images, const struct image_manifest *manifest, bool *has)
{
	autofree struct image_index *index = malloc(sizeof(*index));
	autofree char *text = NULL;
	char why[IMAGE_ERROR_SIZE];
	size_t size;

	memset(has, 0, IMAGE_LAYERS_MAX * sizeof(*has));
	if (images >= 0 && index &&
	    file_read(images, "index.json", IMAGE_DOCUMENT_MAX, &text, &size) ==
		    0 &&
	    image_index_parse((struct span){ text, size }, index, why) == 0)
		index_walk(images, index, manifest, has);
}
