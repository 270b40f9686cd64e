/* The hub's store: keys with values and revisions, on stable storage.
 *
 * Every change gets the next revision, a number that only goes up for as long
 * as the epoch stays the same. The epoch goes up when the store was restored
 * from a backup, so (epoch, revision) orders all that was ever sent out.
 *
 * All changes of one round of the loop are one transaction. They are seen by
 * reads at once; they are on stable storage when the round's `done` callbacks
 * run with 0. When the disk is full or broken none of them has happened, the
 * callbacks get -ENOSPC or -EIO, and the store serves on.
 *
 * Rule of use: check everything, change, then store_settled() and answer in
 * the callback. A handler that only reads calls store_commit() first, so that
 * nothing leaves the hub that a full disk would take back.
 *
 * The store keeps the newest value of a key and, until compaction, the fact
 * that a key was deleted; it keeps no history. Whoever follows it by revision
 * therefore sees the newest state of each key, never each step. */
#ifndef HUB_STORE_H
#define HUB_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/loop.h"
#include "base/span.h"

enum {
	STORE_KEY_MAX = 416, /* registry.h has the longest */
	STORE_VALUE_MAX = 4 << 20,
};

/* Revision conditions of store_put() besides an exact revision. */
#define STORE_ANY UINT64_MAX /* whatever is there */
#define STORE_NEW 0ULL	     /* only if the key does not exist */

struct store;

struct store_entry {
	struct span key, value; /* valid during the callback */
	uint64_t revision;	/* of its last change */
	bool deleted;		/* only from store_changes() */
};

/* Called for each entry; anything but 0 ends the walk and is returned. */
typedef int (*store_each)(void *context, const struct store_entry *entry);

/* Embedded in whatever waits for the round's transaction. */
struct store_wait {
	void (*done)(struct store_wait *, int error);
	bool ended; /* its round has, with error */
	int error;
	struct store_wait *next, **prevp;
};

/* Embedded in whatever follows a key, or all keys with a prefix. */
struct store_watch {
	void (*changed)(struct store_watch *);
	bool is_prefix;
	char key[STORE_KEY_MAX];
	struct store_watch *next, **prevp;
	struct store_watch *due_next, **due_prevp;
};

/* Opens the store `path`, made when absent and brought up to this program's
 * schema. 0 or -errno after one log line; -ENOTSUP when a newer program made
 * it. loop may be NULL for commands that end with store_commit(). */
int store_open(struct store **store, const char *path, struct loop *loop);
/* Commits what is open, calls who waits for that, and closes. The watches are
 * the owners'. */
void store_close(struct store *store);

uint64_t store_epoch(const struct store *store);
int store_epoch_set(struct store *store, uint64_t epoch);
/* Of the last change, the open round's included. */
uint64_t store_revision(const struct store *store);

/* Since the store was opened. Commits that had nothing to write do not count.
 */
struct store_stats {
	uint64_t changes, notes, commits, failed;
};
const struct store_stats *store_stats(const struct store *store);

/* The value of key in a new buffer with a terminating NUL that *size does not
 * count; the caller frees it. Each out parameter may be NULL. 0, -ENOENT,
 * -EIO. */
int store_get(struct store *store, const char *key, char **value, size_t *size,
	      uint64_t *revision);

/* All keys that start with prefix and are greater than `after` ("" for all),
 * in the order of their bytes, at most max of them. The callback may read and
 * change the store. 0, what the callback returned, -EIO. */
int store_range(struct store *store, const char *prefix, const char *after,
		unsigned max, store_each each, void *context);

/* All keys with prefix that changed or vanished after a revision, in the order
 * of their revisions. -ESTALE when that revision was compacted away: list
 * anew. */
int store_changes(struct store *store, const char *prefix,
		  uint64_t after_revision, unsigned max, store_each each,
		  void *context);

/* Sets key if its revision is `if_revision` (or STORE_ANY, STORE_NEW).
 * *revision, unless NULL, is the new one. 0; -EAGAIN when the condition does
 * not hold; -E2BIG; -ENOSPC or -EIO, and then all of the round is undone. */
int store_put(struct store *store, const char *key, struct span value,
	      uint64_t if_revision, uint64_t *revision);
/* Deletes key under the same condition; -ENOENT when it does not exist. */
int store_delete(struct store *store, const char *key, uint64_t if_revision);

/* A value outside the revisions, for what comes often and may be lost: written
 * within a second, wakes nobody. An empty value deletes. */
int store_note(struct store *store, const char *key, struct span value);
int store_note_get(struct store *store, const char *key, char **value,
		   size_t *size);

/* Calls w->done once the round's transaction is on stable storage or failed,
 * never from within this call. */
void store_settled(struct store *store, struct store_wait *w);
/* Forgets w; no-op when it does not wait. */
void store_wait_cancel(struct store_wait *w);
/* Commits the open round now; who waits is called at the end of the turn, or
 * here when there is no loop. 0, -ENOSPC, -EIO. */
int store_commit(struct store *store);

/* Calls w->changed at the end of this round and of each that changed w->key
 * (set by the caller, as are changed and is_prefix), after the commit or its
 * failure. The callback may delete any watch. */
void store_watch_add(struct store *store, struct store_watch *w);
/* No-op when it does not watch (prevp NULL). */
void store_watch_del(struct store_watch *w);

/* Forgets that keys were deleted at or before revision. 0 or -errno. */
int store_compact(struct store *store, uint64_t revision);

/* Writes a consistent copy of the store, as of now, to the new file `path`.
 * Another process may have the store open. 0 or -errno after one log line. */
int store_copy(struct store *store, const char *path);

#endif
