/* One connection of a daemon's socket, embedded in the daemon's own row for
 * it; the rows are a fixed table, so that a client costs no memory.
 *
 * Rule of use: peer_init() each row once; fd < 0 marks a free one. */
#ifndef BASE_PEER_H
#define BASE_PEER_H

#include <sys/types.h>

#include "loop.h"

struct peer {
	struct watch watch;
	int fd; /* -1: free */
	uid_t uid;
};

void peer_init(struct peer *p);

/* Takes a connection that waits into p, which is free; ready gets its
 * messages. Without p, because the table is full, it is closed, which tells the
 * client to come again. 0, -EAGAIN when none waits, or -errno; p is free then.
 */
int peer_accept(struct peer *p, struct loop *loop, int listen_fd,
		void (*ready)(struct watch *, uint32_t events));

void peer_close(struct peer *p, struct loop *loop);

/* A listening socket whose clients wait in the kernel's queue while the table
 * is full. */
struct peer_queue {
	/* A free row, or NULL. */
	struct peer *(*room)(void);
	void (*ready)(struct watch *, uint32_t events);

	/* Ours. */
	struct watch watch;
	struct loop *loop;
};

/* 0 or -errno. */
int peer_queue_open(struct peer_queue *q, struct loop *loop, int listen_fd);

/* Closes p, one of its peers: there is room again. */
void peer_queue_close(struct peer_queue *q, struct peer *p);

#endif
