/* A published UDP port is one socket, which init holds. What comes to it is
 * written into the container's TUN as a packet from the client, so the
 * application sees who calls; what the container sends back to there goes out
 * of the same socket, from the address that the client had called. A flow takes
 * no descriptor.
 *
 * A flow has two keys: of the client, as the node sees it (`outer`), and as the
 * container does (`inner`). They differ for a client whose address cannot come
 * out of a TUN, as of the node's own loopback: such a one comes from the
 * address of the resolver; and from another port where that is taken, as by one
 * client's port to two of ours.
 *
 * A client by IPv6 is led to the container's IPv6 address. Where the
 * application listens to IPv4 alone, the container's kernel refuses that, and
 * quotes the datagram: so nothing is lost, and this client, with all that come
 * in the next REFUSED_MS, comes from the resolver's IPv4 address.
 *
 * Of several containers of an application a flow keeps its own. A new one is
 * led as a connection is (target.h), where each flow counts as a request.
 *
 * Who chose the bytes: anybody, with any source. A flood of sources makes a
 * listener lose its own oldest flows, never another's, and a client that was
 * forgotten is known again by its next datagram.
 *
 * Where no container is open to it, what comes waits in the socket's queue. */
#define _GNU_SOURCE
#include "in_datagram.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/random.h>

#include "key.h"
#include "listener.h"
#include "out_datagram.h"
#include "outlet.h"
#include "packet.h"
#include "traffic.h"
#include "tun.h"

/* #syscalls: setsockopt recvmsg sendmsg getrandom */

enum {
	ROUNDS = 16, /* datagrams for one event */
	IDLE_MS = 60000,
	SWEEP_MS = 5000,
	SHARE = 2, /* a listener may have this part of what is free */
	PORT_DNS = 53,
	PORT_TRIES = 16,
	SIZE_MAX_INSIDE = NET_TUN_MTU - 20 - PACKET_UDP_HEADER,
	SIZE_MAX_INSIDE6 = NET_TUN_MTU - 40 - PACKET_UDP_HEADER,
	REFUSED_MS = 10000,
};

struct in_datagram {
	struct key_entry outer; /* inside: the node's address and port */
	struct key_entry inner;
	struct listener *listener; /* NULL when free */
	uint32_t target;
	struct tun *tun;
	struct sockaddr_in6 client;
	struct in6_pktinfo from; /* what the client had called */
	uint64_t ends_ms;
	/* Of the same listener, the least recently used first; next when
	 * free. */
	struct in_datagram *next, **prevp;
};

static struct loop *loop;
static struct in_datagram flows[IN_DATAGRAM_MAX];
static struct key_table outers, inners;
static struct in_datagram *free_flows;
static unsigned int n_fresh, n_used;
static struct timer sweep;
static uint8_t data[65536];

/* ---------------------------------------------------------------- the table */

static void flow_append(struct in_datagram *f)
{
	struct listener *l = f->listener;

	if (!l->oldest)
		l->newest = &l->oldest;
	f->next = NULL;
	f->prevp = l->newest;
	*l->newest = f;
	l->newest = &f->next;
}

static void flow_unlink(struct in_datagram *f)
{
	*f->prevp = f->next;
	if (f->next)
		f->next->prevp = f->prevp;
	else
		f->listener->newest = f->prevp;
}

static void flow_end(struct in_datagram *f)
{
	struct target *to = target_by_id(&f->listener->targets, f->target);

	if (to)
		to->datagrams--;
	key_del(&outers, &f->outer);
	key_del(&inners, &f->inner);
	flow_unlink(f);
	f->listener->datagrams--;
	f->listener = NULL;
	f->next = free_flows;
	free_flows = f;
	n_used--;
}

static void flow_used(struct in_datagram *f)
{
	f->ends_ms = clock_ms() + IDLE_MS;
	flow_unlink(f);
	flow_append(f);
}

static struct in_datagram *flow_take(struct listener *l)
{
	struct in_datagram *f;

	if (l->datagrams >= (IN_DATAGRAM_MAX - n_used) * SHARE) {
		if (!l->oldest)
			return NULL;
		flow_end(l->oldest);
	}
	f = free_flows;
	if (f)
		free_flows = f->next;
	else
		f = &flows[n_fresh++];
	return f;
}

static void sweep_fire(struct timer *timer)
{
	uint64_t now = clock_ms();

	for (struct in_datagram *f = flows; f < flows + n_fresh; f++) {
		if (f->listener && f->ends_ms <= now)
			flow_end(f);
	}
	if (n_used)
		timer_set(loop, timer, SWEEP_MS);
}

/* ---------------------------------------------------------------- to inside */

/* Whether a container's kernel takes a packet from there out of its TUN. */
static bool is_seen(const uint8_t address[16], const struct tun *t)
{
	if (tun_in_range(address))
		return false;
	if (address_is_mapped(address))
		return address[12] != 0 && address[12] != 127 &&
		       address[12] < 224;
	/* Unicast of a scope that has a meaning there. */
	return t->has_address6 && t->refused6_ms <= clock_ms() &&
	       (address[0] & 0xe0) != 0 && address[0] != 0xff &&
	       !(address[0] == 0xfe && (address[1] & 0xc0) == 0x80);
}

static bool is_taken(const struct key *key)
{
	/* Its answers would be the resolver's. */
	bool is_dns = tun_in_range(key->outside) &&
		      key->outside_port == PORT_DNS;

	return !key->outside_port || is_dns || key_find(&inners, key);
}

/* As the container shall see the client. False: there is no such key left. */
static bool inner_make(struct key *inner, const struct key *outer,
		       uint16_t port, const struct tun *to)
{
	const uint32_t resolver = htonl(NET_RESOLVER);
	bool seen = is_seen(outer->outside, to);
	bool v6 = seen && !address_is_mapped(outer->outside);

	*inner = (struct key){
		.inside_port = port,
		.outside_port = outer->outside_port,
		.protocol = IPPROTO_UDP,
	};
	memcpy(inner->inside, v6 ? to->address6 : to->address,
	       sizeof(inner->inside));
	memcpy(inner->outside, outer->outside, sizeof(inner->outside));
	if (!seen) {
		memset(inner->outside, 0, 10);
		memset(inner->outside + 10, 0xff, 2);
		memcpy(inner->outside + 12, &resolver, sizeof(resolver));
	}
	for (int i = 0; i < PORT_TRIES && is_taken(inner); i++)
		if (getrandom(&inner->outside_port, sizeof(inner->outside_port),
			      GRND_NONBLOCK) < 0)
			return false;
	return !is_taken(inner);
}

/* The first that has room, or of those that have none the one with the fewest
 * flows. */
static struct target *target_open(struct listener *l)
{
	struct target *best = NULL;

	for (struct target *t = NULL; (t = target_next(&l->targets, t));) {
		if (!tun_find(t->address) || traffic_is_closed(t->traffic))
			continue;
		if (t->datagrams < l->targets.concurrency)
			return t;
		if (!best || t->datagrams < best->datagrams)
			best = t;
	}
	return best;
}

bool in_datagram_open(struct listener *l)
{
	return target_open(l);
}

/* What came, and where from and to. */
struct arrival {
	struct sockaddr_in6 client;
	struct in6_pktinfo to;
	size_t size;
};

static struct in_datagram *flow_begin(struct listener *l, const struct key *key,
				      const struct arrival *a)
{
	struct target *to = target_open(l);
	struct in_datagram *f;
	struct key inner;

	if (!to ||
	    !inner_make(&inner, key, l->route.port, tun_find(to->address)))
		return NULL;
	f = flow_take(l);
	if (!f)
		return NULL;
	*f = (struct in_datagram){
		.outer.key = *key,
		.inner.key = inner,
		.listener = l,
		.target = to->id,
		.tun = tun_find(to->address),
		.client = a->client,
		.from = a->to,
	};
	/* Routes decide, but where an address means nothing without it. */
	if (!IN6_IS_ADDR_LINKLOCAL(&a->to.ipi6_addr))
		f->from.ipi6_ifindex = 0;
	key_add(&outers, &f->outer);
	key_add(&inners, &f->inner);
	flow_append(f);
	to->datagrams++;
	l->datagrams++;
	n_used++;
	if (!sweep.deadline_ms)
		timer_set(loop, &sweep, SWEEP_MS);
	return f;
}

static struct in_datagram *flow_of(struct listener *l, const struct arrival *a)
{
	struct key key = {
		.inside_port = (uint16_t)l->key.n,
		.outside_port = ntohs(a->client.sin6_port),
		.protocol = IPPROTO_UDP,
	};
	struct key_entry *e;

	memcpy(key.inside, &a->to.ipi6_addr, sizeof(key.inside));
	memcpy(key.outside, &a->client.sin6_addr, sizeof(key.outside));
	e = key_find(&outers, &key);
	return e ? container_of(e, struct in_datagram, outer)
		 : flow_begin(l, &key, a);
}

static void deliver(struct listener *l, const struct arrival *a)
{
	struct in_datagram *f = flow_of(l, a);

	if (!f)
		return;
	if (a->size > (address_is_mapped(f->inner.key.inside)
			       ? SIZE_MAX_INSIDE
			       : SIZE_MAX_INSIDE6)) {
		f->tun->counts.dropped++;
		return;
	}
	/* A link of that rate would lose it, too. */
	if (!tun_down_open(f->tun)) {
		f->tun->counts.limited++;
		return;
	}
	tun_down_take(f->tun, a->size);
	flow_used(f);
	out_datagram_reply(f->tun, &f->inner.key, data, a->size);
}

union control {
	struct cmsghdr head;
	uint8_t room[CMSG_SPACE(sizeof(struct in6_pktinfo))];
};

/* 0, or -errno: there is none. */
static int arrival_take(int fd, struct arrival *a)
{
	union control control;
	struct iovec iov = { data, sizeof(data) };
	struct msghdr m = {
		.msg_name = &a->client,
		.msg_namelen = sizeof(a->client),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t n = recvmsg(fd, &m, MSG_DONTWAIT);
	const struct cmsghdr *c = n < 0 ? NULL : CMSG_FIRSTHDR(&m);

	if (n < 0)
		return -errno;
	if (!c || c->cmsg_level != IPPROTO_IPV6 || c->cmsg_type != IPV6_PKTINFO)
		return -EBADMSG;
	memcpy(&a->to, CMSG_DATA(c), sizeof(a->to));
	a->size = (size_t)n;
	return 0;
}

void in_datagram_ready(struct listener *l)
{
	for (int i = 0; i < ROUNDS && l->watch.events; i++) {
		struct arrival a = { 0 };

		if (arrival_take(l->fd, &a) < 0)
			return;
		deliver(l, &a);
	}
}

bool in_datagram_refused(struct tun *t, const struct packet *p)
{
	struct packet sent;
	struct key_entry *e = packet_refusal(p, &sent)
				      ? key_find(&inners, &sent.key)
				      : NULL;
	struct in_datagram *f = e ? container_of(e, struct in_datagram, inner)
				  : NULL;
	struct key inner;

	if (!f || f->tun != t)
		return false;
	t->refused6_ms = clock_ms() + REFUSED_MS;
	if (!inner_make(&inner, &f->outer.key, f->inner.key.inside_port, t)) {
		flow_end(f);
		return true;
	}
	key_del(&inners, &f->inner);
	f->inner.key = inner;
	key_add(&inners, &f->inner);
	if (sent.size)
		out_datagram_reply(t, &inner,
				   sent.transport + PACKET_UDP_HEADER,
				   sent.size - PACKET_UDP_HEADER);
	return true;
}

/* --------------------------------------------------------------- to clients */

bool in_datagram_answer(struct tun *t, const struct packet *p)
{
	struct key_entry *e = key_find(&inners, &p->key);
	struct in_datagram *f = e ? container_of(e, struct in_datagram, inner)
				  : NULL;
	union control control = { 0 };
	struct iovec iov = { p->transport + PACKET_UDP_HEADER,
			     p->size - PACKET_UDP_HEADER };

	if (!f)
		return false;
	struct msghdr m = {
		.msg_name = &f->client,
		.msg_namelen = sizeof(f->client),
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	control.head = (struct cmsghdr){
		.cmsg_level = IPPROTO_IPV6,
		.cmsg_type = IPV6_PKTINFO,
		.cmsg_len = CMSG_LEN(sizeof(f->from)),
	};
	memcpy(CMSG_DATA(&control.head), &f->from, sizeof(f->from));
	traffic_use(t->traffic);
	flow_used(f);
	if (sendmsg(f->listener->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		t->counts.dropped++;
	return true;
}

/* ------------------------------------------------------------------ the end */

void in_datagram_moved(struct listener *l)
{
	struct in_datagram *next;

	for (struct in_datagram *f = l->oldest; f; f = next) {
		next = f->next;
		if (!target_by_id(&l->targets, f->target))
			flow_end(f);
	}
}

void in_datagram_forget(struct listener *l)
{
	while (l->oldest)
		flow_end(l->oldest);
}

void in_datagram_end(const struct tun *t)
{
	for (struct in_datagram *f = flows; f < flows + n_fresh; f++) {
		if (f->listener && f->tun == t)
			flow_end(f);
	}
}

int in_datagram_options(int fd)
{
	const int on = 1;

	return setsockopt(fd, IPPROTO_IPV6, IPV6_RECVPKTINFO, &on, sizeof(on)) <
			       0
		       ? -errno
		       : 0;
}

void in_datagram_init(struct loop *on)
{
	loop = on;
	sweep.fire = sweep_fire;
}
