/* Removing what no whole image has. */
#ifndef IMAGE_SWEEP_H
#define IMAGE_SWEEP_H

#include "catalog.h"
#include "store.h"

/* Removes blobs and layers that none of the images in catalog has; with the
 * lock held. 0 or -errno; -EBADMSG, logged, when an image cannot be read. */
int sweep(const struct store *store, const struct catalog *catalog);

#endif
