/* The note that znode keeps with a published listener in init's store: all
 * that znet needs to lead a connection to its container, so that a restarted
 * znet finds everything again without asking znode. */
#ifndef NET_ROUTE_H
#define NET_ROUTE_H

#include <stdint.h>

#define NET_ROUTE_MAGIC 0x7a6e3031 /* "zn01" */

enum net_route_state {
	NET_ROUTE_HOLD, /* not running: clients wait in the listen queue */
	NET_ROUTE_OPEN, /* accept and splice */
};

struct net_route {
	uint32_t magic;
	uint32_t state;	     /* enum net_route_state */
	char container[64];  /* whose namespace; "" while NET_ROUTE_HOLD */
	uint8_t address[16]; /* of the container inside its namespace; v4 is
			      * mapped (::ffff:a.b.c.d) */
	uint16_t port;	     /* inside, host byte order */
	uint16_t reserved;
};

#endif
