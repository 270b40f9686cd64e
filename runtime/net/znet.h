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
	/* What follows is znode's: these have no reply, but struct znet_event
	 * comes as it happens, of every container that is watched (traffic.h).
	 *
	 * Watches the traffic of `container`. The descriptor sent along is of
	 * its cgroup.freeze, kept until ZNET_FORGET; for one that is watched
	 * already none is needed. After quiet_ms (0: never) without payload
	 * ZNET_QUIET comes. flags: ZNET_WAKE_AT_BYTE: a new connection alone
	 * does not thaw it. */
	ZNET_WATCH,
	/* Freezes it, unless there was payload since ZNET_QUIET. flags:
	 * ZNET_FREEZE_NOW: unless a request waits for its answer. ZNET_FROZEN
	 * comes, or ZNET_BUSY. */
	ZNET_FREEZE,
	ZNET_THAW,
	/* Thaws it and closes its descriptor. */
	ZNET_FORGET,
	/* Lets no client to it any more, once no connection into it is left and
	 * if there was no payload meanwhile; then ZNET_CLOSED comes. Who waits
	 * in the listen queue is for the next container. */
	ZNET_CLOSE,
	/* From now on ZNET_KNOCK comes of listeners whose route says so. */
	ZNET_KNOCKS,
	/* Another container has taken its place: from now on no client is let
	 * to it, and once no connection into it is left ZNET_DRAINED comes. It
	 * need not be watched. flags: ZNET_DRAIN_ANSWERS: another one will,
	 * when it has ended; until then it is found by its name, and
	 * connections on which no answer is owed and nothing was said for a
	 * second are not waited for. */
	ZNET_DRAIN,
	/* Rule number `row` of `container`, behind the last one what goes where
	 * none matches; then, or where it has none, -ENOENT in rule.error.
	 * Anyone may ask. */
	ZNET_RULE,
};

enum {
	ZNET_WAKE_AT_BYTE = 1,
	ZNET_FREEZE_NOW = 2,
	ZNET_DRAIN_ANSWERS = 4,
};

struct znet_request {
	struct ipc_head head; /* verb: enum znet_verb */
	uint32_t row;
	uint32_t quiet_ms;
	uint32_t flags;
	char container[64];
};

enum znet_what {
	/* Half the time of ZNET_QUIET has passed without payload. */
	ZNET_LULL = 1,
	ZNET_QUIET, /* once, until there was payload again */
	ZNET_FROZEN,
	ZNET_BUSY,     /* it was not frozen: error */
	ZNET_WOKEN,    /* it was thawed: by */
	ZNET_ANSWERED, /* first payload out since: us after the thaw */
	/* open: connections that their clients have left; frozen, it has not
	 * yet been able to end them itself. */
	ZNET_CLOSED,
	/* A client waits at a listener of application `container`, whose route
	 * is NET_ROUTE_KNOCK. Once, until the route changes. */
	ZNET_KNOCK,
	ZNET_DRAINED, /* no connection leads into it any more */
	/* More requests wait for their answer than the containers of an
	 * application (`container` is its name) shall have; its route says that
	 * this is to be told. Once, until the route changes or it was less. */
	ZNET_CROWD,
};

enum znet_wake {
	ZNET_BY_CONNECTION,
	ZNET_BY_BYTE,
	ZNET_BY_HAND, /* ZNET_THAW */
};

struct znet_event {
	struct ipc_head head; /* verb: enum znet_what */
	int32_t error;
	uint32_t by; /* enum znet_wake */
	uint32_t us;
	uint32_t open; /* connections into it now */
	char container[64];
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
	uint32_t protocol;  /* IPPROTO_TCP, IPPROTO_UDP */
	uint32_t datagrams; /* clients of UDP now */
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
	uint64_t limited;		 /* over its rate */
	uint8_t address[16];		 /* v4 is mapped */
	char container[64];
};

struct znet_rule {
	int32_t error;
	uint32_t reserved;
	uint64_t flows; /* that it has judged */
	char text[288]; /* oci/net_policy.h, or "default allow" */
};

struct znet_reply {
	struct ipc_head head; /* verb: that of the request */
	struct znet_counts counts;
	struct znet_listener listener;
	struct znet_outlet outlet;
	struct znet_rule rule;
};

#endif
