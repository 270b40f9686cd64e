/* The limits that an instance runs into. The kernel counts in its cgroup how
 * often a process could not be made for pids.max, and how many were killed for
 * memory.max, and wakes who watches the files that it counts in. zlog tells how
 * many lines it dropped (floods.h). What was run into is said in the log and in
 * the application's row, of which the hub makes an event: at once, then at most
 * once a minute, however often it happens; of several limits one a minute, each
 * in its turn. What is full is told by storage.c.
 * Private to app*.c, floods.c, storage.c and main.c. */
#ifndef NODE_LIMITS_H
#define NODE_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"

struct app;

enum { LIMIT_TEXT_SIZE = 96 };

enum limit_kind {
	LIMIT_PIDS,
	LIMIT_MEMORY,
	LIMIT_WATCHED, /* those before have a file of the cgroup */
	LIMIT_LOG = LIMIT_WATCHED,
	LIMIT_COUNT,
};

struct app_limits {
	int watch[LIMIT_WATCHED];    /* of the one inotify; -1: none */
	uint64_t seen[LIMIT_COUNT];  /* what was counted when last looked */
	uint64_t count[LIMIT_COUNT]; /* of those that no cgroup counts */
	enum limit_kind last;	     /* that was said */
	struct timer timer;	     /* the next look, after one was said */
	bool full, full_seen; /* said so, and in the last round of storage.c */
	char text[LIMIT_TEXT_SIZE]; /* of the instance; "": none yet */
};

/* Before znode confines itself. What cannot be watched is logged. */
void limits_open(struct loop *loop);
void limits_init(struct app *app);
/* Its instance began to run; it is gone, or sleeps. */
void limits_begin(struct app *app);
void limits_end(struct app *app);
/* It ran into a limit that no cgroup counts, n times. */
void limits_count(struct app *app, enum limit_kind kind, uint64_t n);

/* It has filled what it writes to, as `text` says. */
void limits_say_full(struct app *app, const char *text);
/* All that are full were told of. */
void limits_full_seen(struct app *app);

#endif
