/* The sources of lines: services and containers, each with one or two pipes.
 *
 * All is bounded: sources, the memory of each, the bytes that each may have
 * written in a second. A source that floods is read on, slowly, so that its
 * program does not stand still, and what is too much is counted instead of
 * kept; the others never notice. */
#ifndef ZLOG_SOURCE_H
#define ZLOG_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"
#include "file.h"
#include "line.h"
#include "ring.h"
#include "zlog.h"

enum {
	SOURCE_MAX = 160,
	SOURCE_PIPES = 2,
	SOURCE_RATE = 128 * 1024,  /* bytes a second, for ever */
	SOURCE_BURST = 512 * 1024, /* at once, after silence */
	SOURCE_CALM_MS = 1000,	   /* dropped for, once that is used up */
};

struct source;

struct reader {
	int fd; /* -1: no such pipe, or it has ended */
	struct watch watch;
	struct source *source;
	struct line_part *part;
};

struct source {
	char name[ZLOG_NAME_SIZE];
	bool service;
	unsigned int tails; /* clients that read it: the slot stays */
	uint64_t used_ms;   /* when a line last came; the oldest goes first */
	struct reader reader[SOURCE_PIPES];
	struct ring *ring;
	struct file file;
	/* rate: what may be taken now, as of when */
	uint64_t allowance, allowance_ms;
	uint64_t calm_ms; /* dropping until then */
	uint64_t dropped; /* lines, not yet told */
};

struct source_setup {
	struct loop *loop;
	int dir; /* of the files, or -1 */
	/* Called when s has new lines. */
	void (*grown)(struct source *s);
};

void source_init(const struct source_setup *setup);

/* Lines of these names also go to our standard error when they are warnings
 * or worse: on a node that is the kernel log. */
void source_service_add(const char *name);

/* Reads source `name` from pipe number n (1, 2) on; fd becomes its own. */
void source_add(const char *name, uint32_t n, int fd);

/* The pipe is gone from init: takes what is still in it, then ends. */
void source_remove(const char *name, uint32_t n);

/* The source of that name, or the newest container of the application; one
 * that ended is found by its file. NULL when there is none. */
struct source *source_find(const char *name);

/* Writes all that waits in memory to the files. */
void source_flush(void);

#endif
