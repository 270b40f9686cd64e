/* index.json of the image store: the images that are whole. */
#ifndef IMAGE_CATALOG_H
#define IMAGE_CATALOG_H

#include "oci/digest/digest.h"

#include "store.h"

struct catalog_entry {
	struct digest manifest;
	uint64_t size;
};

struct catalog {
	unsigned n;
	struct catalog_entry entry[STORE_IMAGES_MAX];
};

/* Waits for the lock that orders all that changes the store. Returns a
 * descriptor whose closing releases it, or -errno. */
int catalog_lock(const struct store *store);

/* 0 (empty when there is none) or -errno; -EBADMSG, logged, when the file is
 * damaged. */
int catalog_read(const struct store *store, struct catalog *catalog);
/* On stable storage after 0. */
int catalog_write(const struct store *store, const struct catalog *catalog);

/* Position of an image, or -1. */
int catalog_find(const struct catalog *catalog, const struct digest *manifest);
/* -ENOSPC when full; no-op when it is there. */
int catalog_add(struct catalog *catalog, const struct catalog_entry *entry);
void catalog_remove(struct catalog *catalog, unsigned position);

#endif
