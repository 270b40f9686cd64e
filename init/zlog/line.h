/* Output of a program, cut into lines, and a line made ready for its file; one
 * of a container is tagged with its id:
 *
 *	2026-11-23T05:08:03.123Z warning znode: app web: restarting
 *	2026-11-23T05:08:03.456Z info web-3: listening
 *
 * Who chose the bytes: any program of any container. They must not forge a
 * line of another time or level, nor move the cursor of whoever reads the
 * file: each line gets its own stamp, control bytes become '?'. No I/O. */
#ifndef ZLOG_LINE_H
#define ZLOG_LINE_H

#include <stddef.h>

#include "base/log.h"
#include "base/span.h"

enum {
	LINE_MAX_SIZE = 4096, /* longer ones are cut in pieces */
	LINE_STAMP_SIZE = 25, /* NUL or blank included */
	LINE_HEAD_SIZE = LINE_STAMP_SIZE + 8 + 65, /* and level, tag */
	LINE_TEXT_SIZE = LINE_HEAD_SIZE + LINE_MAX_SIZE + 1,
};

/* What a line has begun with in earlier reads. */
struct line_part {
	size_t size;
	char *data; /* LINE_MAX_SIZE bytes */
};

/* Takes one line from the front of *input, without its '\n', completed by what
 * *part kept. False when only the beginning of a line is left, which *part
 * keeps. *line is valid until the next call. */
bool line_cut(struct line_part *part, struct span *input, struct span *line);

/* Takes what *part still has when its stream has ended; false for nothing. */
bool line_rest(struct line_part *part, struct span *line);

/* The "<N>" that a service starts its lines with is cut off *line; its level,
 * or `otherwise`. */
enum log_level line_level(struct span *line, enum log_level otherwise);

/* What a line of that time begins with; ms is CLOCK_REALTIME. */
void line_stamp(char out[LINE_STAMP_SIZE], uint64_t ms);

/* Writes stamp, level, tag (unless it is empty) and text with '\n'; ms is
 * CLOCK_REALTIME. Returns the bytes written (no NUL). */
size_t line_format(char out[LINE_TEXT_SIZE], uint64_t ms, enum log_level level,
		   const char *tag, struct span line);

#endif
