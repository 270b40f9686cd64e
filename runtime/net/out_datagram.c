/* A flow of datagrams is a connected socket of the node, so the kernel lets
 * through only what comes from where the container sent to, and tells what it
 * learns by ICMP, which is passed on.
 *
 * Its address is the node's at that moment. When the node has got another one
 * meanwhile, the flow begins anew from there.
 *
 * A datagram for another container of the application is written into that
 * one's TUN, as it is, and so are the answers: the flow has no socket, and is
 * there so that who was asked may answer, whatever its own rules.
 *
 * A flow ends when nothing was sent or received for a while. A container that
 * wants more of them than it may have loses its own oldest, never another's.
 *
 * Echo requests use the kernel's ping sockets, which need no privilege but a
 * group in ping_group_range; the kernel chooses the identifier outside, the
 * container has its own. */
#define _GNU_SOURCE
#include "out_datagram.h"

#include <errno.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "fds.h"
#include "in_datagram.h"
#include "node_address.h"
#include "outlet.h"
#include "resolver.h"
#include "traffic.h"

/* #syscalls: socket connect setsockopt sendto recvfrom close */

enum {
	ROUNDS = 16, /* datagrams for one event */
	IDLE_MS = 60000,
	IDLE_DNS_MS = 15000,
	SWEEP_MS = 5000,
	PORT_DNS = 53,
	SHARE = 2, /* a container may have this part of what is free */
};

struct out_datagram {
	struct key_entry entry; /* first */
	bool is_used;
	int fd; /* -1: it leads to `peer` */
	struct watch watch;
	struct tun *tun, *peer;
	uint64_t ends_ms;
	/* Of the same TUN, the least recently used first; next when free. */
	struct out_datagram *next, **prevp;
};

static struct loop *loop;
static struct out_datagram flows[OUT_DATAGRAM_MAX];
static struct key_table table;
static struct out_datagram *free_flows;
static unsigned int n_fresh, n_used;
static struct timer sweep;
static uint8_t data[65536];

/* The table */

static void flow_append(struct out_datagram *f)
{
	struct tun *t = f->tun;

	f->next = NULL;
	f->prevp = t->newest;
	*t->newest = f;
	t->newest = &f->next;
}

static void flow_unlink(struct out_datagram *f)
{
	*f->prevp = f->next;
	if (f->next)
		f->next->prevp = f->prevp;
	else
		f->tun->newest = f->prevp;
}

static void flow_end(struct out_datagram *f)
{
	watch_del(loop, &f->watch);
	fd_close(&f->fd);
	key_del(&table, &f->entry);
	flow_unlink(f);
	f->tun->counts.datagrams--;
	f->next = free_flows;
	free_flows = f;
	n_used--;
	f->is_used = false;
	fds_give(FDS_DATAGRAMS, 1, &f->tun->fds);
}

static void flow_used(struct out_datagram *f)
{
	bool is_dns = f->entry.key.outside_port == PORT_DNS;

	traffic_use(f->tun->traffic);
	f->ends_ms = clock_ms() + (is_dns ? IDLE_DNS_MS : IDLE_MS);
	flow_unlink(f);
	flow_append(f);
}

/* How many more there may be of t's. */
static unsigned int room(const struct tun *t)
{
	unsigned int n = fds_free(FDS_DATAGRAMS, &t->fds);

	return n < OUT_DATAGRAM_MAX - n_used ? n : OUT_DATAGRAM_MAX - n_used;
}

static struct out_datagram *flow_new(struct tun *t, const struct key *key)
{
	struct out_datagram *f;

	if (t->counts.datagrams >= room(t) * SHARE) {
		if (!t->oldest)
			return NULL;
		flow_end(t->oldest);
	}
	f = free_flows;
	if (f)
		free_flows = f->next;
	else
		f = &flows[n_fresh++];
	*f = (struct out_datagram){
		.entry.key = *key,
		.is_used = true,
		.fd = -1,
		.watch.fd = -1,
		.tun = t,
	};
	key_add(&table, &f->entry);
	flow_append(f);
	t->counts.datagrams++;
	n_used++;
	fds_take(FDS_DATAGRAMS, 1, &t->fds);
	return f;
}

/* Those of one container are in the order of their use, but not of their end:
 * one that is passed over is looked at in the next round. */
static void sweep_fire(struct timer *timer)
{
	uint64_t now = clock_ms();

	for (struct out_datagram *f = flows; f < flows + n_fresh; f++) {
		if (f->is_used && f->ends_ms <= now)
			flow_end(f);
	}
	if (n_used)
		timer_set(loop, timer, SWEEP_MS);
}

/* To the container */

void out_datagram_reply(struct tun *t, const struct key *key,
			const uint8_t *bytes, size_t size)
{
	uint8_t header[PACKET_HEADER_MAX];
	size_t header_size = packet_udp(header, key, size);
	struct iovec iov[2] = { { header, header_size },
				{ (void *)bytes, size } };
	const struct tun_offload offload = {
		.sum_at = (uint16_t)(header_size - PACKET_UDP_HEADER),
		.sum_offset = 6,
	};

	traffic_use(t->traffic);
	tun_send(t, iov, 2, &offload);
}

static void echo_reply(const struct out_datagram *f, size_t size)
{
	uint8_t header[PACKET_HEADER_MAX];
	struct iovec iov[2] = { { header, 0 }, { data, size } };

	if (size < PACKET_ECHO_HEADER)
		return;
	iov[0].iov_len = packet_echo(header, &f->entry.key, data, size);
	tun_send(f->tun, iov, 2, &(const struct tun_offload){ 0 });
}

static void error_send(struct tun *t, const struct key *key, int error)
{
	uint8_t bytes[PACKET_ERROR_MAX];
	struct iovec iov = { bytes, packet_error(bytes, key, error, NULL) };

	tun_send(t, &iov, 1, &(const struct tun_offload){ 0 });
}

/* What the kernel has learned about the way there. */
static bool is_answer(int error)
{
	return error == ECONNREFUSED || error == EHOSTUNREACH ||
	       error == ENETUNREACH || error == EACCES;
}

static void world_ready(struct watch *w, uint32_t events)
{
	struct out_datagram *f = container_of(w, struct out_datagram, watch);

	(void)events;
	for (int i = 0; i < ROUNDS; i++) {
		ssize_t n = recv(f->fd, data, sizeof(data), 0);

		if (n < 0 && is_answer(errno))
			error_send(f->tun, &f->entry.key, -errno);
		if (n < 0)
			return;
		/* A link of that rate would lose it, too. */
		if (!tun_down_open(f->tun)) {
			f->tun->counts.limited++;
			continue;
		}
		tun_down_take(f->tun, (size_t)n);
		flow_used(f);
		if (f->entry.key.protocol == IPPROTO_UDP)
			out_datagram_reply(f->tun, &f->entry.key, data,
					   (size_t)n);
		else
			echo_reply(f, (size_t)n);
	}
}

/* To the world */

static int world_socket(const struct key *key, const union node_address *to,
			socklen_t size)
{
	const int whole = IP_PMTUDISC_DONT;
	bool is_udp = key->protocol == IPPROTO_UDP;
	autoclose int fd = socket(to->any.sa_family,
				  SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC,
				  is_udp ? 0 : key->protocol);

	if (fd < 0)
		return -errno;
	/* The container's datagrams may be larger than the world's. */
	if (to->any.sa_family == AF_INET)
		setsockopt(fd, IPPROTO_IP, IP_MTU_DISCOVER, &whole,
			   sizeof(whole));
	if (connect(fd, &to->any, size) < 0)
		return -errno;
	return fd_take(&fd);
}

static int flow_open(struct out_datagram *f)
{
	const struct key *key = &f->entry.key;
	union node_address to;
	socklen_t size = node_address(&to, key->outside, key->outside_port);

	if (!sweep.deadline_ms)
		timer_set(loop, &sweep, SWEEP_MS);
	f->peer = tun_in_range(key->outside) ? tun_find(key->outside) : NULL;
	if (f->peer)
		return 0;
	f->fd = world_socket(key, &to, size);
	if (f->fd < 0)
		return f->fd;
	f->watch.ready = world_ready;
	f->watch.share = traffic_share(f->tun->traffic);
	return watch_add(loop, &f->watch, f->fd, EPOLLIN);
}

static struct out_datagram *flow_begin(struct tun *t, const struct key *key)
{
	struct out_datagram *f;
	int error = tun_judge(t, key);

	if (error == -EAGAIN)
		return NULL;
	if (error < 0) {
		error_send(t, key, error);
		return NULL;
	}
	f = flow_new(t, key);
	if (!f) {
		t->counts.dropped++;
		return NULL;
	}
	error = flow_open(f);
	if (error < 0) {
		error_send(t, key, error);
		flow_end(f);
		return NULL;
	}
	return f;
}

/* To `to`, from where `key` says that it came. */
static void neighbour_send(struct tun *to, const struct key *key,
			   const uint8_t *bytes, size_t size)
{
	struct key seen = *key;

	memcpy(seen.inside, key->outside, sizeof(seen.inside));
	memcpy(seen.outside, key->inside, sizeof(seen.outside));
	seen.inside_port = key->outside_port;
	seen.outside_port = key->inside_port;
	/* A link of that rate would lose it, too. */
	if (!tun_down_open(to)) {
		to->counts.limited++;
		return;
	}
	tun_down_take(to, size);
	out_datagram_reply(to, &seen, bytes, size);
}

/* Whether p answers one of a neighbour, who gets it. */
static bool neighbour_answer(const struct tun *t, const struct packet *p)
{
	struct key key = p->key;
	struct key_entry *e;
	struct out_datagram *f;

	if (!tun_in_range(p->key.outside))
		return false;
	memcpy(key.inside, p->key.outside, sizeof(key.inside));
	memcpy(key.outside, p->key.inside, sizeof(key.outside));
	key.inside_port = p->key.outside_port;
	key.outside_port = p->key.inside_port;
	e = key_find(&table, &key);
	f = e ? container_of(e, struct out_datagram, entry) : NULL;
	if (!f || f->peer != t)
		return false;
	traffic_use(t->traffic);
	flow_used(f);
	neighbour_send(f->tun, &p->key, p->transport + PACKET_UDP_HEADER,
		       p->size - PACKET_UDP_HEADER);
	return true;
}

/* The kernel does not send from an address that is not the node's any more: to
 * some it is invalid, to others there is no way from it. Of a way that is not
 * there from any address the next socket learns. */
static bool has_moved(int error)
{
	return error == EINVAL || error == ENETUNREACH;
}

void out_datagram_input(struct tun *t, const struct packet *p)
{
	struct key_entry *e = key_find(&table, &p->key);
	const uint8_t *bytes = p->transport;
	size_t size = p->size;
	struct out_datagram *f;
	ssize_t sent;

	if (p->key.protocol == IPPROTO_UDP && in_datagram_answer(t, p))
		return;
	if (p->key.protocol == IPPROTO_UDP && resolver_is(&p->key)) {
		resolver_input(t, p);
		return;
	}
	if (p->key.protocol == IPPROTO_UDP && neighbour_answer(t, p))
		return;
	f = e ? container_of(e, struct out_datagram, entry)
	      : flow_begin(t, &p->key);
	if (!f)
		return;
	if (p->key.protocol == IPPROTO_UDP) {
		bytes += PACKET_UDP_HEADER;
		size -= PACKET_UDP_HEADER;
	}
	flow_used(f);
	if (f->peer) {
		neighbour_send(f->peer, &p->key, bytes, size);
		return;
	}
	sent = send(f->fd, bytes, size, MSG_NOSIGNAL);
	if (sent < 0 && has_moved(errno)) {
		flow_end(f);
		f = flow_begin(t, &p->key);
		if (!f)
			return;
		sent = send(f->fd, bytes, size, MSG_NOSIGNAL);
	}
	if (sent >= 0)
		return;
	if (is_answer(errno))
		error_send(t, &p->key, -errno);
	else
		t->counts.dropped++;
}

void out_datagram_end(struct tun *t)
{
	while (t->oldest)
		flow_end(t->oldest);
	for (struct out_datagram *f = flows; f < flows + n_fresh; f++) {
		if (f->is_used && f->peer == t)
			flow_end(f);
	}
}

void out_datagram_init(struct loop *on)
{
	loop = on;
	sweep.fire = sweep_fire;
}
