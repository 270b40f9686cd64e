/* Images of other registries, fetched when they are first asked for and kept.
 * A tag is compared with the registry each time; what is named by its digest is
 * fetched once. However many ask at the same time, one of each goes out. When
 * the registry cannot be reached, what is here is given. */
#ifndef HUB_CACHE_H
#define HUB_CACHE_H

#include "oci/digest/digest.h"

struct cache;
struct cache_lookup;
struct cache_reader;
struct hub;
struct registry_call;

/* Embedded in whatever waits for a manifest. */
struct cache_wait {
	/* error: 0, and the manifest is here under digest; -ENOENT, -EACCES,
	 * -ENOSPC, -EBADMSG, -EPERM, or what remote_is_transient() knows. why:
	 * one line, "" at 0. */
	void (*done)(struct cache_wait *, int error, const char *why);
	struct digest digest;
	struct cache_lookup *lookup; /* private; NULL when it does not wait */
	struct cache_wait *next, **prevp;
};

/* 0 or -ENOMEM. */
int cache_open(struct hub *hub);
/* Ends all fetches; no request refers to them any more. */
void cache_close(struct hub *hub);

/* Looks repo:reference (a tag or a digest) up and calls w->done, perhaps before
 * this returns. */
void cache_manifest(struct hub *hub, const char *repo, const char *reference,
		    struct cache_wait *w);
/* No-op when it does not wait. */
void cache_wait_cancel(struct cache_wait *w);

/* ---- requests of the registry ---- */

void cache_manifest_get(struct registry_call *call);
/* For a blob that is not here. */
void cache_blob_get(struct registry_call *call, const struct digest *digest);
/* The request is gone. */
void cache_call_gone(struct registry_call *call);
/* Replies with what went wrong. */
void cache_fail(struct registry_call *call, int error, const char *why);

#endif
