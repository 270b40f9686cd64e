/* The descriptor store: what must survive the death of every daemon.
 *
 * Rule of use: a fixed table, no heap, of which only what was once used takes
 * memory. Every change gets a sequence number
 * that only grows; a watcher remembers the last number it was told and asks
 * for the next one, so that a slow watcher costs nobody anything. A dropped
 * entry stays as a tombstone until store_trim() says that every watcher has
 * passed it. */
#ifndef INIT_STORE_H
#define INIT_STORE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/loop.h"
#include "init.h"

enum {
	/* Five of each container that runs: its process, two outputs, its TUN
	 * and policy; and what waits to be one. */
	STORE_QUOTA_ROOT = 5 * 1024 + 256,
	STORE_QUOTA_OTHER = 2048, /* znode's listeners, above all */
	STORE_ENTRIES = STORE_QUOTA_ROOT + STORE_QUOTA_OTHER + 256,
};

enum store_state {
	STORE_FREE,
	STORE_HELD,
	STORE_EXITED, /* INIT_KIND_PIDFD whose process ended */
	STORE_GONE,   /* tombstone */
};

struct store_entry {
	struct init_key key;
	enum store_state state;
	int fd; /* -1 once exited */
	uid_t owner;
	bool builtin; /* init's own: nobody may drop it */
	uint32_t pid;
	int32_t exit_code, exit_status;
	uint64_t started_ms, ended_ms; /* CLOCK_BOOTTIME */
	uint64_t born, changed;	       /* sequence numbers */
	struct watch exit;	       /* the pidfd; see reaper.c */
	const void *from; /* of a BUD: the connection that put it; NULL: nobody
			   * wants it, and it goes when its process ends */
	uint8_t note[INIT_NOTE_SIZE];
};

struct store_new {
	const struct init_key *key;
	const uint8_t *note; /* INIT_NOTE_SIZE bytes, or NULL */
	uid_t owner;
	uint32_t pid;
	int fd;
	bool builtin;
	const void *from;
};

/* `changed` is called after every change of an entry of that kind. */
void store_init(void (*changed)(uint32_t kind));

/* Keeps new->fd, which becomes the store's on success. *entry is set.
 * 0, -EEXIST, -ENOSPC (table full), -EDQUOT (the owner's part is full). */
int store_put(const struct store_new *new, struct store_entry **entry);

/* The live entry of that key, or NULL. */
struct store_entry *store_find(const struct init_key *key);
/* The entry of a running process, or NULL. */
struct store_entry *store_find_pid(uint32_t pid);

/* The entry gets another key and note, as if it was put under them. 0,
 * -EEXIST. */
int store_rename(struct store_entry *e, const struct init_key *key,
		 const uint8_t *note);
void store_note_set(struct store_entry *e, const uint8_t *note);
/* Closes the descriptor and leaves a tombstone. */
void store_drop(struct store_entry *e);
/* Keeps the exit record of a process; its pidfd is closed. */
void store_exited(struct store_entry *e, int32_t code, int32_t status);

/* Calls f for every BUD that came from there. */
void store_buds(const void *from, void (*f)(struct store_entry *));

/* The entry of `kind` with the lowest sequence number above `after`, or NULL.
 * Tombstones of entries born after `after` are left out: whoever asks never
 * knew them. */
const struct store_entry *store_next(uint32_t kind, uint64_t after);
uint64_t store_sequence(void);
/* Frees the tombstones of `kind` up to sequence number `passed`. */
void store_trim(uint32_t kind, uint64_t passed);

/* Calls f for every running process that is kept; how many there are. */
int store_processes(void (*f)(struct store_entry *));

#endif
