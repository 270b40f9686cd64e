/* One direction of a connection that is led through: bytes from one socket to
 * another, both non-blocking.
 *
 *	readable -> recv + send through one shared buffer        (small)
 *	         -> splice to a pipe + splice from the pipe      (bulk)
 *	the receiver takes less than was read -> the rest waits in a pipe,
 *	         reading stops (that is the back-pressure), writable is awaited
 *	end of the stream -> shutdown() of the receiver once the pipe is empty
 *
 * A direction is bulk while single reads fill the buffer. It owns a pipe only
 * while bytes are in it, so an idle connection is two sockets. When slow
 * receivers have all pipes, the others go on without: what the receiver took is
 * removed from the sender's queue only after it was sent (peek, send, discard);
 * it costs a system call more.
 *
 * Invariants
 * 1. Bytes leave the kernel's receive queue only when they were sent, or when a
 *    pipe is at hand that could hold them: none is ever lost or kept in this
 *    program's memory.
 * 2. pipe != NULL exactly while in_pipe > 0, outside of half_run().
 * 3. shut only after eof and with in_pipe == 0. */
#ifndef NET_HALF_H
#define NET_HALF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct half {
	struct pipe *pipe;
	size_t in_pipe;
	bool bulk;
	bool blocked; /* the receiver is full, the rest is still in the queue */
	bool eof;     /* the sender has ended its stream */
	bool shut;    /* the receiver was told so */
};

/* Carries what there is from socket `from` to socket `to`, a few reads at most;
 * adds to *bytes what was read. 0, or -errno when the connection is broken. */
int half_run(struct half *h, int from, int to, uint64_t *bytes);

/* Gives the pipe back, with what is in it. */
void half_drop(struct half *h);

static inline bool half_wants_input(const struct half *h)
{
	return !h->eof && !h->in_pipe && !h->blocked;
}

static inline bool half_wants_output(const struct half *h)
{
	return h->in_pipe || h->blocked;
}

#endif
