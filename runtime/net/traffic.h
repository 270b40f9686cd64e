/* What is said with each container, by all that passes through znet: when the
 * last payload went, how many requests wait for an answer. And the switch of
 * its freezer, which is thrown here because here alone is known that a request
 * has come.
 *
 * Theory of operation. znode decides, znet carries out. znode has a container
 * watched (ZNET_WATCH, with a descriptor of its cgroup.freeze), is told when
 * nothing was said for a while (ZNET_QUIET), and may then say ZNET_FREEZE. That
 * is obeyed only if still nothing was said: this program has one thread, sees
 * every byte, and writes both "1" and "0", so no request falls between. The
 * first payload for a frozen container, or a new connection unless it is to
 * wake at the first byte, thaws it (ZNET_WOKEN). The ends of streams, resets
 * and keep-alive packets are the kernel's and wake nobody.
 *
 * Invariants
 * 1. A container is frozen by us only while znode's connection stands: when
 *    it ends, all are thawed (and znode thaws all when ours does), so nothing
 *    stays frozen that nobody watches.
 * 2. quiet is set exactly between ZNET_QUIET and the next use.
 * 3. The timer runs exactly while a container is watched, has a time, is
 *    neither frozen nor quiet. A stream of payload does not touch it: when it
 *    fires it looks at the time of the last use and is set for the rest. */
#ifndef NET_TRAFFIC_H
#define NET_TRAFFIC_H

#include <stdbool.h>
#include <stdint.h>

#include "base/ipc.h"
#include "base/loop.h"
#include "base/peer.h"
#include "znet.h"

/* Payload that got no answer counts as work for so long: a request that takes
 * its time keeps the container awake, a peer that was not owed an answer (as
 * with HTTP/2's window updates) only for a while. */
enum { TRAFFIC_WORK_MAX_MS = 600000 };

/* Silence after which an answer is taken for whole. */
enum { TRAFFIC_ANSWERED_MS = 1000 };

enum { TRAFFIC_MAX = 1024 }; /* containers */

struct traffic;

/* A connection into a container: zero until traffic_begin(). */
struct traffic_flow {
	struct traffic *of;
	bool asked;  /* there was payload in, and none out since */
	bool comes;  /* it is being connected */
	bool parted; /* the client has ended its stream, nothing was owed */
};

/* ended(): the connection of znode is of no use any more and is to be
 * closed. */
void traffic_init(struct loop *loop, void (*ended)(struct peer *));

/* The row of a container, for who carries its traffic; never NULL. */
struct traffic *traffic_get(const char *container);
void traffic_put(struct traffic *t);
/* Of all sockets that carry what it sends or receives. */
struct loop_share *traffic_share(struct traffic *t);
/* Somebody was told its address, and may use that for as long as he may keep
 * it (dns.h). */
void traffic_named(struct traffic *t);
/* Payload of no connection that began inside: of what it opened itself, and
 * datagrams. It wakes. */
void traffic_use(struct traffic *t);

/* A connection leads into the container from now on; the others do nothing
 * without it. */
void traffic_begin(struct traffic_flow *f, struct traffic *t);
/* It leads to this one instead, or first, and is being connected. */
void traffic_move(struct traffic_flow *f, struct traffic *t);
/* It is connected. */
void traffic_came(struct traffic_flow *f);
/* How many requests the container works on, or is about to. */
unsigned int traffic_in_flight(const struct traffic *t);
/* The client has ended its stream. If nothing is owed to him, it is no more in
 * the way of stopping the container, which, frozen, could not end its own. */
void traffic_part(struct traffic_flow *f);
void traffic_end(struct traffic_flow *f);
/* Whether no client may be let to it (ZNET_CLOSE, ZNET_DRAIN). */
bool traffic_is_closed(const struct traffic *t);
/* The same, and nobody finds it by its name any more: until another one can be,
 * one that only has to answer (ZNET_DRAIN_ANSWERS) is. */
bool traffic_is_nameless(const struct traffic *t);
/* A client waits for application `app`, of which nothing runs; what runs of it
 * has too much to do. */
void traffic_knock(const char *app);
void traffic_crowd(const char *app);
/* Payload went to the container; came from it. */
void traffic_in(struct traffic_flow *f);
void traffic_out(struct traffic_flow *f);

/* A request of znode, whose connection becomes that for events. False: it is
 * not understood. */
bool traffic_request(struct peer *znode, const struct znet_request *q,
		     struct ipc_fds *fds);
/* A connection is closed; if it was znode's, all are thawed. */
void traffic_peer_gone(const struct peer *p);

#endif
