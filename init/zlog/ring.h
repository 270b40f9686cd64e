/* The latest lines of one source, in memory.
 *
 * Places are counted from the first byte ever put in, so a place stays valid
 * as a number when its byte is overwritten: [oldest, end) are still here. The
 * file gets what lies between `written` and `end`; a reader keeps a place of
 * its own. What the file had before comes later than the first new lines and
 * belongs in front of them, so a ring starts at RING_HISTORY. No I/O.
 *
 * The room for the bytes is the owner's and apart: of a source that is silent
 * none of it is ever touched. */
#ifndef ZLOG_RING_H
#define ZLOG_RING_H

#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

enum { RING_SIZE = 64 * 1024, RING_HISTORY = RING_SIZE / 2 };

struct ring {
	uint64_t begin; /* no byte was ever put in before it */
	uint64_t end;
	uint64_t written; /* up to here the file has it */
	uint64_t lost;	  /* bytes overwritten before, not yet told */
	char *data;	  /* RING_SIZE bytes */
};

/* Empty, with room for RING_HISTORY bytes in front. */
void ring_clear(struct ring *r);

/* Appends at most RING_SIZE bytes. */
void ring_put(struct ring *r, struct span text);

/* Puts whole lines in front of all that was ever put in: as many of the last
 * ones as there is still room for. */
void ring_put_before(struct ring *r, struct span text);

uint64_t ring_oldest(const struct ring *r);

/* The bytes from *place on, as far as they lie in one piece. *place moves up
 * to the start of the oldest whole line when it fell behind. Empty at the
 * end. */
struct span ring_at(const struct ring *r, uint64_t *place);

/* What is not written yet, in one or two pieces: whole lines; what was
 * overwritten is added to r->lost. Returns the bytes, by which r->written is
 * to be moved once they are written. */
size_t ring_unwritten(struct ring *r, struct span pieces[2]);

/* Where the last n lines begin. */
uint64_t ring_last_lines(const struct ring *r, unsigned int n);

/* Where the first line from `place` on begins that is not before `stamp`, the
 * beginning of a line (line.h). */
uint64_t ring_since(const struct ring *r, uint64_t place, struct span stamp);

#endif
