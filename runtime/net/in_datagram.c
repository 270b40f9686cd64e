/* A published UDP port is one socket, which init holds. What comes to it is
 * written into the container's TUN as a packet from the client, so the
 * application sees who calls; what the container sends back to there goes out
 * of the same socket, from the address that the client had called. A flow takes
 * no descriptor, but that of a client on the node's own loopback: see
 * in_local.h.
 *
 * A flow has two keys: of the client, as the node sees it (`outer`), and as the
 * container does (`inner`). They differ for a client whose address means
 * nothing there, as a link-local one: such a one comes from the address of the
 * resolver; and from another port where that is taken, as by one client's port
 * to two of ours.
 *
 * A client by IPv6 is led to the container's IPv6 address. Where the
 * application listens to IPv4 alone, the container's kernel refuses that, and
 * quotes the datagram: so nothing is lost, and this client, with all that come
 * in the next ten seconds, comes from the resolver's IPv4 address.
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

#include "buffer.h"
#include "in_local.h"
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
	HELD_MAX = 16, /* of a flow, until it has a socket inside */
};

struct in_datagram {
	struct key_entry outer;	   /* inside: the node's address and port */
	struct key_entry inner;	   /* not of a local client */
	struct listener *listener; /* NULL when free */
	uint32_t target;
	struct tun *tun;
	bool is_local;
	struct in_local local;
	struct watch watch; /* of its socket */
	/* What waits for that. */
	struct buffer *held, **held_end;
	unsigned int n_held;
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
static unsigned int n_fresh, n_used, n_holding;
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

static void local_close(struct in_datagram *f)
{
	watch_del(loop, &f->watch);
	in_local_close(&f->local);
}

static void local_end(struct in_datagram *f)
{
	struct buffer *b;

	n_holding -= f->held != NULL;
	while ((b = f->held)) {
		f->held = b->next;
		buffer_free(b);
	}
	local_close(f);
	f->listener->locals--;
}

static void flow_end(struct in_datagram *f)
{
	struct target *to = target_by_id(&f->listener->targets, f->target);

	if (to)
		to->datagrams--;
	key_del(&outers, &f->outer);
	if (f->is_local)
		local_end(f);
	else
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

/* As flow_take(), of descriptors. */
static void local_room(struct listener *l, const struct tun *t)
{
	struct in_datagram *f = l->oldest;

	if (l->locals < fds_free(FDS_DATAGRAMS, &t->fds) * SHARE)
		return;
	while (f && !f->is_local)
		f = f->next;
	if (f)
		flow_end(f);
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
static bool is_seen(const uint8_t address[16])
{
	if (tun_in_range(address))
		return false;
	if (address_is_mapped(address))
		return address[12] != 0 && address[12] != 127 &&
		       address[12] < 224;
	/* Unicast of a scope that has a meaning there. */
	return (address[0] & 0xe0) != 0 && address[0] != 0xff &&
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
	bool is_v4 = address_is_mapped(outer->outside);
	bool v6 = !is_v4 && tun_takes6(to);

	*inner = (struct key){
		.inside_port = port,
		.outside_port = outer->outside_port,
		.protocol = IPPROTO_UDP,
	};
	memcpy(inner->inside, v6 ? to->address6 : to->address,
	       sizeof(inner->inside));
	memcpy(inner->outside, outer->outside, sizeof(inner->outside));
	if (v6 && !is_seen(outer->outside)) {
		net_address6(NET_RESOLVER, inner->outside);
	} else if (!v6 && (!is_v4 || !is_seen(outer->outside))) {
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

static void local_ready(struct watch *w, uint32_t events);

static struct in_datagram *flow_begin(struct listener *l, const struct key *key,
				      const struct arrival *a)
{
	struct target *to = target_open(l);
	bool is_local = in_local_is(key->outside);
	struct in_datagram *f;
	struct tun *t = to ? tun_find(to->address) : NULL;
	struct key inner = { 0 };

	if (!t || (!is_local && !inner_make(&inner, key, l->route.port, t)))
		return NULL;
	if (is_local)
		local_room(l, t);
	f = flow_take(l);
	if (!f)
		return NULL;
	*f = (struct in_datagram){
		.outer.key = *key,
		.inner.key = inner,
		.listener = l,
		.target = to->id,
		.tun = t,
		.is_local = is_local,
		.local = { .tun = t, .fd = -1 },
		.watch = { .fd = -1,
			   .ready = local_ready,
			   .share = traffic_share(t->traffic) },
		.client = a->client,
		.from = a->to,
	};
	/* Routes decide, but where an address means nothing without it. */
	if (!IN6_IS_ADDR_LINKLOCAL(&a->to.ipi6_addr))
		f->from.ipi6_ifindex = 0;
	f->held_end = &f->held;
	key_add(&outers, &f->outer);
	if (!is_local)
		key_add(&inners, &f->inner);
	flow_append(f);
	to->datagrams++;
	l->datagrams++;
	l->locals += is_local;
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

static struct buffer *held_buffer(size_t size)
{
	if (size > BUFFER_SMALL_SIZE)
		return buffer_large_plenty() ? buffer_large() : NULL;
	return buffer_small_plenty() ? buffer_small() : NULL;
}

static void local_hold(struct in_datagram *f, const uint8_t *bytes, size_t size)
{
	struct buffer *b = f->n_held < HELD_MAX ? held_buffer(size) : NULL;

	if (!b) {
		f->tun->counts.dropped++;
		return;
	}
	memcpy(b->data, bytes, size);
	b->size = (uint32_t)size;
	b->next = NULL;
	n_holding += !f->held;
	*f->held_end = b;
	f->held_end = &b->next;
	f->n_held++;
}

static int local_open(struct in_datagram *f)
{
	int error = in_local_open(&f->local, f->outer.key.outside,
				  f->outer.key.outside_port);

	if (error == 0)
		error = watch_add(loop, &f->watch, f->local.fd, EPOLLIN);
	return error;
}

static void local_send(struct in_datagram *f, const uint8_t *bytes, size_t size)
{
	int error = -ECONNREFUSED;

	traffic_use(f->tun->traffic);
	/* Twice at most: of IPv4 a refusal is not told. */
	while (error == -ECONNREFUSED) {
		error = f->local.fd < 0 ? local_open(f) : 0;
		if (error == 0)
			error = in_local_send(&f->local,
					      f->listener->route.port, bytes,
					      size);
		if (error == -ECONNREFUSED)
			local_close(f);
	}
	if (error == -EAGAIN && f->local.fd < 0)
		local_hold(f, bytes, size);
	else if (error < 0)
		f->tun->counts.dropped++;
}

/* What is held again now comes behind the rest of it, as it was. */
static void local_retry(struct in_datagram *f)
{
	struct buffer *b = f->held, *next;

	n_holding--;
	f->held = NULL;
	f->held_end = &f->held;
	f->n_held = 0;
	for (; b; b = next) {
		next = b->next;
		local_send(f, b->data, b->size);
		buffer_free(b);
	}
}

void in_datagram_retry(void)
{
	for (struct in_datagram *f = flows; n_holding && f < flows + n_fresh;
	     f++) {
		if (f->listener && f->held)
			local_retry(f);
	}
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
	if (f->is_local)
		local_send(f, data, a->size);
	else
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
	tun_refused6(t);
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

static void answer(struct in_datagram *f, const uint8_t *bytes, size_t size)
{
	union control control = { 0 };
	struct iovec iov = { (void *)bytes, size };
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
	traffic_use(f->tun->traffic);
	flow_used(f);
	if (sendmsg(f->listener->fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
		f->tun->counts.dropped++;
}

bool in_datagram_answer(struct tun *t, const struct packet *p)
{
	struct key_entry *e = key_find(&inners, &p->key);
	struct in_datagram *f = e ? container_of(e, struct in_datagram, inner)
				  : NULL;

	(void)t;
	if (!f)
		return false;
	answer(f, p->transport + PACKET_UDP_HEADER,
	       p->size - PACKET_UDP_HEADER);
	return true;
}

static void local_ready(struct watch *w, uint32_t events)
{
	struct in_datagram *f = container_of(w, struct in_datagram, watch);

	(void)events;
	for (int i = 0; i < ROUNDS && w->fd >= 0; i++) {
		ssize_t n = in_local_take(&f->local, f->listener->route.port,
					  data, sizeof(data));

		if (n >= 0)
			answer(f, data, (size_t)n);
		else if (n == -EAGAIN || n == -EINTR)
			return;
		else if (n != -EBADMSG)
			local_close(f);
	}
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
