/* The messages that znet answers on /run/zooid/znet.sock (seqpacket). */
#ifndef NET_ZNET_H
#define NET_ZNET_H

#include <stdint.h>

#include "base/ipc.h"

enum znet_verb {
	/* The counts, and row number `row` of the listeners; -ENOENT in
	 * listener.error past the last one. Anyone may ask. */
	ZNET_STATUS = 1,
	/* Row number `row` of the networks of containers; -ENOENT in
	 * outlet.error past the last one. Anyone may ask. */
	ZNET_OUTLET,
};

struct znet_request {
	struct ipc_head head; /* verb: enum znet_verb */
	uint32_t row;
};

struct znet_counts {
	uint64_t accepted;	 /* connections since the start */
	uint64_t refused;	 /* the container did not take them */
	uint64_t reset;		 /* ended by a reset of either side */
	uint64_t bytes_in;	 /* from clients to containers */
	uint64_t bytes_out;	 /* from containers to clients */
	uint32_t open, open_max; /* connections now, and room for them */
	uint32_t pipes, pipes_max;
};

struct znet_listener {
	int32_t error;
	uint32_t state; /* enum net_route_state */
	uint32_t port;	/* published */
	uint32_t open;	/* connections now */
	uint32_t stock; /* sockets ready for its container */
	uint32_t target_port;
	uint8_t target[16]; /* address inside; v4 is mapped */
	char app[64];
	char container[64];
};

/* What a container sends into the world, since znet knows it. */
struct znet_outlet {
	int32_t error;
	uint32_t connections, datagrams; /* flows now; an echo is a datagram */
	uint32_t reserved;
	uint64_t packets_out, bytes_out; /* from the container */
	uint64_t packets_in, bytes_in;	 /* to it */
	uint64_t malformed;		 /* no packet at all */
	uint64_t spoofed;		 /* not from its own address */
	uint64_t unsupported;		 /* another protocol, a fragment */
	uint64_t denied;		 /* against the policy */
	uint64_t dropped;		 /* no room */
	uint8_t address[16];		 /* v4 is mapped */
	char container[64];
};

struct znet_reply {
	struct ipc_head head; /* verb: that of the request */
	struct znet_counts counts;
	struct znet_listener listener;
	struct znet_outlet outlet;
};

#endif
