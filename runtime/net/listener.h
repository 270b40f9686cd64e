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
#include "fds.h"
#include "init/init.h"
#include "route.h"
#include "target.h"
#include "znet.h"

/* As init keeps for znode (init/store.h). */
enum { LISTENER_MAX = 2048 };

struct in_datagram;

/* Until it is known whether the container behind a newly opened route takes
 * connections yet, one at a time is let in to find out: it waits, and the
 * others behind it in the listen queue. */
struct listener {
	bool used;
	bool stale;    /* not seen since the connection to init was made anew */
	bool inherits; /* accepted sockets have our options already */
	int fd;	       /* -1: none, when only the note came */
	bool knocked;  /* znode was told that a client waits, */
	bool crowded;  /* that its containers have too much to do */
	unsigned int open; /* flows */
	struct fds_holder fds;
	/* Of a UDP port; in_datagram.c's. */
	unsigned int datagrams, locals; /* flows; with a descriptor */
	struct in_datagram *oldest, **newest;
	uint64_t opened_ms; /* when the route was last opened */
	struct targets targets;
	struct watch watch;
	struct init_key key;
	struct net_route route;
};

/* Starts to watch init's store; it is done anew whenever init's connection
 * breaks. 0 or -errno. */
int listener_init(struct loop *loop);

/* A connection found out whether a container takes any (known), or ended
 * before it did. */
void listener_tried(struct listener *l, uint32_t target, bool known);
/* One more request is to be answered: znode is told when it is too many. */
void listener_asked(struct listener *l);
/* What their containers take has changed; znode is to be told anew of clients
 * that wait. */
void listeners_update(void);
void listeners_knock_again(void);
/* There is room for a connection, where maybe there was none. */
void listeners_room(void);

/* Row `row` for the status; error is -ENOENT past the end. */
void listener_describe(uint32_t row, struct znet_listener *out);

#endif
