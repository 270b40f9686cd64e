/* What the files of the cache share. */
#ifndef HUB_CACHE_PARTS_H
#define HUB_CACHE_PARTS_H

#include "cache.h"

struct cache_fetch;

struct cache {
	struct cache_lookup *lookups; /* of manifests */
	struct cache_fetch *fetches;  /* of blobs, the oldest first */
	unsigned n_running;
};

/* At the end: of all blobs. */
void cache_fetches_end(struct hub *hub);

#endif
