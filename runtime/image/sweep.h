/* Removing what no whole image has. */
#ifndef IMAGE_SWEEP_H
#define IMAGE_SWEEP_H

#include "catalog.h"
#include "store.h"

/* Removes blobs and layers that none of the images in catalog has; with the
 * lock held. 0 or -errno; -EBADMSG, logged, when an image cannot be read. */
int sweep(const struct store *store, const struct catalog *catalog);

/* Removes the half-made layers of workers that were killed: those that nobody
 * holds by flock(2). Takes the lock. */
void sweep_abandoned(const struct store *store);

#endif
