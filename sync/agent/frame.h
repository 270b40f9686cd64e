/* The frames of a watch stream (sync(5)): a length of 32 bits, big end first,
 * a type of 8 bits, and that many bytes.
 *
 * The hub chose the bytes. It cannot make the node hold more than one frame of
 * FRAME_SIZE_MAX; types of a later version are read over. No I/O. */
#ifndef AGENT_FRAME_H
#define AGENT_FRAME_H

#include "base/span.h"

enum { FRAME_SIZE_MAX = 1 << 20 };

enum frame_type {
	FRAME_DESIRED = 1,
	FRAME_SYNCED,
	FRAME_ASK,
	FRAME_BYE,
};

struct frame_reader {
	uint8_t head[5];
	uint8_t n_head;
	char *data; /* NULL between frames, so that waiting costs nothing */
	size_t size, got;
};

struct frame {
	uint8_t type; /* enum frame_type, or unknown */
	/* Valid until the next frame_read() or frame_reset(). */
	struct span bytes;
};

/* Takes bytes off the front of *bytes. 1: *frame is complete, call again; 0:
 * all taken, more are needed; -E2BIG; -ENOMEM. */
int frame_read(struct frame_reader *r, struct span *bytes, struct frame *frame);
/* Forgets what it holds. */
void frame_reset(struct frame_reader *r);

#endif
