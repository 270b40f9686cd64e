/* Confinement of the worker that reads foreign archives. */
#ifndef IMAGE_WORKER_H
#define IMAGE_WORKER_H

#include "store.h"

/* Shrinks this process to the store and one layout: *store and *layout (-1 for
 * none) become descriptors of private mounts, beside which no other file can
 * be named, and all capabilities go but those that unpacking needs. 0 or
 * -errno, logged. */
int unpack_confine(struct store *store, int *layout);

#endif
