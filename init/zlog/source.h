/* The sources of lines: services and applications, each with a log.
 *
 * The containers of an application (web-1, web-2 ...) come and go; their lines
 * are in one log, tagged with the container's id.
 *
 * All is bounded: sources, the memory of each, the bytes that each may have
 * written in a second. What is too much is counted instead of kept; others do
 * not notice. */
#ifndef ZLOG_SOURCE_H
#define ZLOG_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"
#include "ring.h"
#include "writer.h"
#include "zlog.h"

enum {
	SOURCE_MAX = WRITER_SLOTS,
	SOURCE_RATE = 128 * 1024,  /* bytes a second, for ever */
	SOURCE_BURST = 512 * 1024, /* at once, after silence */
	SOURCE_CALM_MS = 1000,	   /* dropped for, once that is used up */
};

struct source {
	char name[ZLOG_NAME_SIZE];
	unsigned int readers; /* pipes it is read from */
	unsigned int tails;   /* clients that read it: the slot stays */
	uint64_t used_ms;     /* when a line last came; the oldest goes first */
	struct ring *ring;
	struct zlog_keep keep; /* within what can be */
	uint64_t due;	       /* up to here its text is to be written now */
	/* rate: what may be taken now, as of when */
	uint64_t allowance, allowance_ms;
	uint64_t calm_ms; /* dropping until then */
	uint64_t dropped; /* lines, not yet told */
	/* And told, by all that ever had the slot. */
	uint64_t dropped_told;
	bool service;
	bool known;  /* it wrote, or left a file */
	bool loaded; /* what its file had is in the ring, as far as it is had */
};

struct source_setup {
	struct loop *loop;
	/* Called when s has new lines. */
	void (*grown)(struct source *s);
	/* Called when s->dropped_told has grown. */
	void (*dropped)(struct source *s);
};

void source_init(const struct source_setup *setup);

/* Lines of these names also go to our standard error when they are warnings
 * or worse: on a node that is the kernel log. */
void source_service_add(const char *name);

/* The source that output `name` of init (a service or a container) belongs to,
 * made when it is new; that much is kept of it from now on. NULL when the table
 * is full or name is no id. */
struct source *source_of_output(const char *name, const struct zlog_keep *keep);

/* The source after s that is in use, the first one after NULL; NULL at the end.
 */
struct source *source_next(struct source *s);

/* Its number, < SOURCE_MAX. */
uint32_t source_slot(const struct source *s);

/* The source of a service, an application or a container. NULL when there is
 * none at the moment. */
struct source *source_find(const char *name);

/* A source in which what an ended one left will be, once it is loaded; nothing
 * when there was no such source. NULL when the table is full. */
struct source *source_seek(const char *name);

/* Loaded, and there never was such a source. */
bool source_is_unknown(const struct source *s);

/* The application that container `output` belongs to, else the same name. */
void source_name(const char *output, char name[ZLOG_NAME_SIZE]);

/* Takes one line, tagged unless tag is "". */
void source_line(struct source *s, const char *tag, struct span line);

/* Some lines were taken: tells whoever follows, writes when enough gathered. */
void source_grown(struct source *s);

/* Nobody writes to it any more: everything goes to its file. */
void source_end(struct source *s);

/* Lines of s are being dropped at the moment. */
bool source_floods(const struct source *s);

/* Writes "zlog: N such" as a line of ours to out. Returns its bytes. */
size_t source_note(char *out, uint64_t n, const char *such);

#endif
