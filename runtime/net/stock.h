/* Sockets made inside the network namespaces of containers, kept ready.
 *
 * Only `zrun serve` can make them (ZRUN_SOCKETS); asking takes a round trip,
 * so znet keeps a few for each container and asks for more, without waiting,
 * when they run low. A stock that ran empty, or is low again after less than
 * STOCK_BUSY_MS, doubles what it aims at.
 *
 * Rule of use: stock_get() for each listener that leads to the container,
 * stock_put() when it no longer does; with the last one its sockets are closed,
 * for each of them keeps the namespace of a dead container alive. */
#ifndef NET_STOCK_H
#define NET_STOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"

enum {
	STOCK_COUNT_MAX = 1024, /* containers and kinds */
	STOCK_TARGET_FIRST = 4, /* sockets aimed at */
	STOCK_TARGET_MAX = 32,
	STOCK_BUSY_MS = 100,
};

/* Of what kind its sockets are: bits, as ZRUN_SOCKETS has them. */
enum { STOCK_V6 = 1, STOCK_UDP = 2, STOCK_KINDS = 4 };

struct stock {
	char container[64];
	unsigned int kind;
	bool asked; /* a request is on its way */
	unsigned int users;
	uint64_t after_ms; /* not to be asked for before, after a failure */
	uint64_t asked_ms; /* the last time */
	unsigned int n, target;
	int fd[STOCK_TARGET_MAX];
};

/* At most n sockets in all stocks together. */
void stock_limit(unsigned int n);

/* `answered` is called when a stock that was empty has sockets again, or is
 * told that it gets none. */
void stock_init(struct loop *loop, void (*answered)(struct stock *));

/* The stock of a container; asks for sockets when it is new. NULL when the
 * table is full. */
struct stock *stock_get(const char *container, unsigned int kind);
void stock_put(struct stock *s);

/* Whether it is empty, but not for long. */
bool stock_is_coming(const struct stock *s);

/* A socket, which becomes the caller's, or -1; asks for more when low. */
int stock_take(struct stock *s);

#endif
