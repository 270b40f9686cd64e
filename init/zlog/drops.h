/* What a client that watches for dropped lines has been told. Nothing is queued
 * for it: what was dropped since is counted by the sources. No I/O. */
#ifndef ZLOG_DROPS_H
#define ZLOG_DROPS_H

#include "source.h"

struct drops {
	uint64_t told[SOURCE_MAX]; /* of dropped_told, by the source's slot */
	const struct source *made; /* what the last message was about */
};

/* All so far is taken as told. */
void drops_begin(struct drops *d);

/* The next message; false when all is told. Services are none of it: what they
 * write is ours. */
bool drops_make(struct drops *d, struct zlog_drops *message);

/* That message was sent. */
void drops_told(struct drops *d);

#endif
