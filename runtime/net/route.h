/* The note that znode keeps with a published listener in init's store: all
 * that znet needs to lead a connection to its container, so that a restarted
 * znet finds everything again without asking znode. */
#ifndef NET_ROUTE_H
#define NET_ROUTE_H

#include <stdint.h>

#define NET_ROUTE_MAGIC 0x7a6e3031 /* "zn01" */

enum net_route_state {
	NET_ROUTE_HOLD,	 /* not running: clients wait in the listen queue */
	NET_ROUTE_OPEN,	 /* accept and splice */
	NET_ROUTE_KNOCK, /* held, but znode is told that a client waits */
};

/* Another container of the same application: its id is APP-instance. */
struct net_route_other {
	uint32_t instance;  /* 0: none, and none after it */
	uint8_t address[4]; /* IPv4, inside its namespace */
};

enum { NET_ROUTE_OTHERS = 9 };

struct net_route {
	uint32_t magic;
	uint32_t state;	     /* enum net_route_state */
	char container[64];  /* whose namespace; "" unless NET_ROUTE_OPEN */
	uint8_t address[16]; /* of the container inside its namespace; v4 is
			      * mapped (::ffff:a.b.c.d) */
	uint16_t port;	     /* inside, host byte order */
	/* Requests that one container works on at a time: more are led to the
	 * next one. Where `grows`, znode is told when all have as many. 0: no
	 * matter. */
	uint16_t concurrency;
	uint8_t bound[16]; /* of the node, that it listens on; for znode */
	uint16_t grows;
	uint16_t proxy_protocol; /* version of its header that the container
				  * gets before all else: 2; 0: none */
	struct net_route_other other[NET_ROUTE_OTHERS];
};

#endif
