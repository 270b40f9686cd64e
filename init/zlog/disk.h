/* What zlog wants of the disk, in which order, and what it does while the
 * disk is slow, full, broken or dead: nothing here waits for it. */
#ifndef ZLOG_DISK_H
#define ZLOG_DISK_H

#include <stdbool.h>

#include "base/loop.h"
#include "source.h"

struct disk_setup {
	struct loop *loop;
	int dir; /* of the files; -1: everything stays in memory */
	/* Called when s->loaded was set. */
	void (*loaded)(struct source *s);
};

void disk_init(const struct disk_setup *setup);

bool disk_is_there(void);

/* The last write was refused: more of them wait for the next flush. */
bool disk_is_failing(void);

/* The writer has something of s in hand: its slot stays. */
bool disk_has(const struct source *s);

/* A source wants something: !loaded, or due. */
void disk_wake(void);

/* A source ended: the files of the oldest go. */
void disk_prune(void);

/* Writes all that waits, then calls done; at the latest after FINISH_MS. */
void disk_finish(void (*done)(void));

#endif
