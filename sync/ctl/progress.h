/* How far a long work is, on standard error: a bar that is drawn anew on a
 * terminal, else nothing. */
#ifndef CTL_PROGRESS_H
#define CTL_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>

struct progress {
	const char *what;
	uint64_t done, total; /* bytes */
	uint64_t start_ms, drawn_ms, start_done;
	bool on_terminal;
};

void progress_begin(struct progress *p, const char *what, uint64_t total);
/* n more bytes. */
void progress_add(struct progress *p, uint64_t n);
/* n bytes need no work: they do not count for the rate. */
void progress_skip(struct progress *p, uint64_t n);
/* Takes the bar away, so that a line can be written. */
void progress_clear(struct progress *p);

#endif
