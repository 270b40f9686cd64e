/* A stock of pipes for the data in flight. A direction of a flow owns a pipe
 * only from the moment that bytes are in it until they have left. */
#ifndef NET_PIPE_H
#define NET_PIPE_H

#include <stddef.h>

enum {
	PIPE_MAX = 256,
	PIPE_KEEP = 64,		   /* empty ones kept open */
	PIPE_SIZE_MIN = 16 * 1024, /* what every pipe takes at once */
	/* Large ones halve the time that a byte costs, but the kernel counts
	 * the pages a user has in pipes, and makes them tiny above 16,384. */
	PIPE_LARGE_MAX = 16,
	PIPE_LARGE_SIZE = 1 << 20,
};

struct pipe {
	int fd[2];
	size_t size; /* how much to put in at once */
	struct pipe *next;
};

/* At most n of them at a time (and PIPE_MAX). */
void pipe_limit(unsigned int n);

/* An empty, non-blocking pipe; NULL when all are in use. */
struct pipe *pipe_take(void);

/* Gives back p, which holds `left` bytes that nobody wants any more. */
void pipe_put(struct pipe *p, size_t left);

/* How many are in use, and how many may be. */
unsigned int pipe_used(void);
unsigned int pipe_max(void);

#endif
