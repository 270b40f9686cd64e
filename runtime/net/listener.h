/* The published listeners, as init keeps them: kind LISTEN, each with a note
 * (struct net_route) that says where its connections lead.
 *
 * A listener is accepted from only while all that a connection needs is at
 * hand: an open route, a socket in the stock, a free flow. Otherwise its
 * clients wait in the listen queue of the kernel; none is ever dropped here. */
#ifndef NET_LISTENER_H
#define NET_LISTENER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"
#include "init/init.h"
#include "route.h"
#include "stock.h"
#include "znet.h"

enum { LISTENER_MAX = 256 };

/* Whether the container behind a newly opened route takes connections yet.
 * Until that is known, one connection at a time is let in to find out: it
 * waits, and the others behind it in the listen queue. */
enum listener_proof {
	LISTENER_UNTRIED,
	LISTENER_TRYING,
	LISTENER_KNOWN,
};

struct listener {
	bool used;
	bool stale;    /* not seen since the connection to init was made anew */
	bool inherits; /* accepted sockets have our options already */
	enum listener_proof proof;
	int fd;		    /* -1: none, when only the note came */
	unsigned int open;  /* flows */
	uint64_t opened_ms; /* when the route was last opened */
	struct stock *stock;
	struct watch watch;
	struct init_key key;
	struct net_route route;
};

/* Starts to watch init's store; it is done anew whenever init's connection
 * breaks. 0 or -errno. */
int listener_init(struct loop *loop);

/* A connection found out whether the container takes any (known), or ended
 * before it did. */
void listener_tried(struct listener *l, bool known);
/* A flow of l ended. */
void listener_flow_ended(struct listener *l);

/* Row `row` for the status; error is -ENOENT past the end. */
void listener_describe(uint32_t row, struct znet_listener *out);

#endif
