/* What the image store has already. */
#ifndef ZPULL_STORED_H
#define ZPULL_STORED_H

#include "oci/image_manifest.h"

/* Says of each layer of `manifest` in has[] (IMAGE_LAYERS_MAX) whether a whole
 * image in the store at directory `images` (-1: no store) has the same, which
 * then need not be fetched. What cannot be read has nothing. */
void stored_find(int images, const struct image_manifest *manifest, bool *has);

#endif
