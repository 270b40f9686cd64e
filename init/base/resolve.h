/* Host names to addresses without waiting for them.
 *
 * Resolving a name waits for other machines, and the C library offers no other
 * way: a child process does it and writes the addresses into a pipe. It shares
 * the confinement of its parent, holds none of its descriptors, and can be
 * killed at any moment.
 *
 * Rule of use: resolve_literal() first; else resolve_start(), watch the pipe,
 * call resolve_answer() when it is readable, with no watch on it (the pipe is
 * closed at the end of the answer). The parent may open for reading what the
 * resolver reads: /etc/resolv.conf, /etc/hosts. */
#ifndef BASE_RESOLVE_H
#define BASE_RESOLVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

enum { RESOLVE_ADDRESSES_MAX = 4 };

struct resolve {
	struct sockaddr_storage address[RESOLVE_ADDRESSES_MAX];
	int n;	       /* addresses; 0 after an answer: no such name here */
	int pid, pipe; /* of the child; 0 and -1 when there is none */
	size_t got;    /* bytes of address[] that it told */
};

/* Fills *resolve when host (IPv6 without brackets) is an address itself. It is
 * otherwise made ready for resolve_start(). */
bool resolve_literal(struct resolve *resolve, const char *host, uint16_t port);
/* Starts the child. 0 or -errno. */
int resolve_start(struct resolve *resolve, const char *host, uint16_t port);
/* Reads its answer: 1 when complete, -EAGAIN. */
int resolve_answer(struct resolve *resolve);
/* Ends the child, if there is one. */
void resolve_stop(struct resolve *resolve);

#endif
