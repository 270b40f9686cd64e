/* One read is one packet, of up to 64 KB: with TSO the container's kernel hands
 * over many segments at a time. What is read into a buffer is parsed there and
 * becomes the buffer of a connection, so it is not copied until it is written
 * to the node's socket. */
#define _GNU_SOURCE
#include "tun.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/virtio_net.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/init_watch.h"
#include "base/log.h"
#include "base/span.h"
#include "buffer.h"
#include "fds.h"
#include "in_datagram.h"
#include "listener.h"
#include "out_datagram.h"
#include "out_tcp.h"
#include "outlet.h"
#include "packet.h"
#include "policy.h"
#include "resolver.h"
#include "stock.h"
#include "traffic.h"

/* #syscalls: readv writev close fcntl */

enum {
	BATCH = 4, /* packets to be carried on together */
	USELESS_PER_S = 10000,
	USELESS_BURST = 1000,
	REFUSED6_MS = 10000,
	RANGE_SIZE = 0x10000,
};

static struct loop *loop;
static struct tun tuns[TUN_MAX];
static struct tun *tuns_end = tuns;	/* never used from here on */
static uint16_t by_address[RANGE_SIZE]; /* 1 + index, by the low 16 bits */

static unsigned int low_bits(const uint8_t address[16])
{
	return (unsigned int)address[14] << 8 | address[15];
}

struct tun *tun_find(const uint8_t address[16])
{
	unsigned int i = by_address[low_bits(address)];
	struct tun *t = i ? &tuns[i - 1] : NULL;
	const uint8_t *own;

	if (!t)
		return NULL;
	own = address_is_mapped(address) ? t->address : t->address6;
	return memcmp(address, own, 16) == 0 ? t : NULL;
}

bool tun_meets(const struct tun *t, const struct tun *other)
{
	return other->used && !strcmp(t->application, other->application);
}

/* Whether their ids, NAME-NUMBER, are of one app, and b's number is the lower
 * one: while the next instance takes the place of the one before it only one of
 * the two is led to. */
static bool is_after(const struct tun *a, const struct tun *b)
{
	const char *end = strrchr(a->container, '-');
	size_t n = end ? (size_t)(end - a->container) + 1 : 0;
	uint64_t x, y;

	return n && !strncmp(a->container, b->container, n) &&
	       span_u64(span_of(a->container + n), UINT32_MAX, &x) == 0 &&
	       span_u64(span_of(b->container + n), UINT32_MAX, &y) == 0 &&
	       y < x;
}

static bool names_have(const char *names, const char *name)
{
	struct span rest = span_of(names), one;

	while (span_cut(&rest, ' ', &one))
		if (span_is(one, name))
			return true;
	return false;
}

static bool is_service(const struct tun *t, const struct tun *other,
		       const char *service)
{
	if (!tun_meets(t, other) || !names_have(other->names, service) ||
	    traffic_is_nameless(other->traffic))
		return false;
	for (const struct tun *one = tuns; one < tuns_end; one++)
		if (one->used && is_after(other, one) &&
		    !traffic_is_nameless(one->traffic))
			return false;
	return true;
}

struct tun *tun_service(const struct tun *t, const char *service,
			unsigned int *turn)
{
	unsigned int n = 0, nth;

	for (struct tun *other = tuns; other < tuns_end; other++)
		n += is_service(t, other, service);
	if (!n)
		return NULL;
	nth = n > 1 ? (*turn)++ % n : 0;
	for (struct tun *other = tuns;; other++) {
		if (!is_service(t, other, service) || nth-- > 0)
			continue;
		traffic_named(other->traffic);
		return other;
	}
}

bool tun_in_range(const uint8_t address[16])
{
	uint8_t first[16];

	if (address_is_mapped(address))
		return address[12] == NET_RANGE >> 24 &&
		       address[13] == (NET_RANGE >> 16 & 0xff);
	net_address6(NET_RANGE, first);
	return memcmp(address, first, 14) == 0;
}

/* The policy */

/* Told before or after the TUN: init's store has no order. */
struct policy *tun_policy(struct tun *t)
{
	if (t->has_policy && !t->policy)
		t->policy = policy_of(t->container);
	return t->policy;
}

static int rules_judge(struct tun *t, const struct key *key)
{
	const struct tun *to = tun_find(key->outside);
	bool meets = to && tun_meets(t, to);

	/* Who has rules goes nowhere without them. */
	if (t->has_policy && !tun_policy(t))
		return -EAGAIN;
	if (!t->policy)
		return 0;
	return policy_judge(t->policy, key, meets ? to->names : NULL);
}

int tun_judge(struct tun *t, const struct key *key)
{
	const struct tun *to = tun_find(key->outside);
	/* Those by TCP are judged once more when they are dialled. */
	bool is_neighbour =
		tun_in_range(key->outside) &&
		(key->protocol == IPPROTO_TCP ||
		 (key->protocol == IPPROTO_UDP && to && tun_meets(t, to)));
	int error = is_neighbour ? 0 : policy_check(key);

	if (error == 0)
		error = rules_judge(t, key);
	if (error == -EAGAIN)
		t->counts.limited++;
	else if (error < 0)
		t->counts.denied++;
	return error;
}

static void resume_in(struct tun *t, unsigned int wait_ms)
{
	if (wait_ms && (!t->resume.deadline_ms ||
			t->resume.deadline_ms > clock_ms() + wait_ms))
		timer_set(loop, &t->resume, wait_ms);
}

bool tun_down_open(struct tun *t)
{
	unsigned int wait_ms = t->policy
				       ? rate_wait(&t->policy->down, clock_ms())
				       : 0;

	resume_in(t, wait_ms);
	t->down_waits |= wait_ms > 0;
	return !wait_ms;
}

void tun_down_take(struct tun *t, size_t n)
{
	if (t->policy)
		rate_take(&t->policy->down, n);
}

void tun_useless(struct tun *t, uint64_t *count)
{
	++*count;
	rate_take(&t->useless, 1);
}

static unsigned int longer(unsigned int a, unsigned int b)
{
	return a > b ? a : b;
}

/* While there is nothing left the TUN is not read: what the container sends
 * waits in its own kernel. */
static bool up_open(struct tun *t)
{
	uint64_t now = clock_ms();
	unsigned int wait_ms = rate_wait(&t->useless, now);

	if (t->watch.fd < 0)
		return true;
	if (t->policy)
		wait_ms = longer(wait_ms, rate_wait(&t->policy->up, now));
	watch_events(loop, &t->watch, wait_ms ? 0 : EPOLLIN);
	resume_in(t, wait_ms);
	return !wait_ms;
}

static void resume_fire(struct timer *timer)
{
	struct tun *t = container_of(timer, struct tun, resume);

	up_open(t);
	if (!t->down_waits || !tun_down_open(t))
		return;
	t->down_waits = false;
	out_tcp_resume(t);
}

bool tun_takes6(const struct tun *t)
{
	return t->has_address6 && t->refused6_ms <= clock_ms();
}

void tun_refused6(struct tun *t)
{
	t->refused6_ms = clock_ms() + REFUSED6_MS;
}

bool tun_takes_tcp6(const struct tun *t)
{
	return t->has_address6 && t->refused_tcp6_ms <= clock_ms();
}

void tun_refused_tcp6(struct tun *t)
{
	t->refused_tcp6_ms = clock_ms() + REFUSED6_MS;
}

struct stock *tun_stock(struct tun *t, unsigned int kind)
{
	if (!t->stock[kind])
		t->stock[kind] = stock_get(t->container, kind);
	return t->stock[kind];
}

/* What a container sends */

/* Who else's address it uses would get the answers, and be blamed. */
static bool is_own(const struct tun *t, const struct packet *p)
{
	return memcmp(p->key.inside, p->v6 ? t->address6 : t->address, 16) == 0;
}

static void packet_in(struct tun *t, struct buffer *b)
{
	struct packet p;
	int error = packet_parse(&p, b->data, b->size);

	t->counts.packets_out++;
	t->counts.bytes_out += b->size;
	if (error == -EBADMSG)
		tun_useless(t, &t->counts.malformed);
	else if (error < 0 && in_datagram_refused(t, &p))
		;
	else if (error < 0)
		tun_useless(t, &t->counts.unsupported);
	else if (!is_own(t, &p))
		tun_useless(t, &t->counts.spoofed);
	else if (p.key.protocol == IPPROTO_TCP)
		b = out_tcp_input(t, &p, b);
	else
		out_datagram_input(t, &p);
	if (b)
		buffer_free(b);
}

/* 1 when there may be more, 0 when not, or -errno when the TUN is gone. */
static int packet_read(struct tun *t)
{
	static uint8_t lost[BUFFER_LARGE_SIZE];
	struct virtio_net_hdr header;
	struct buffer *b = buffer_large();
	struct iovec iov[2] = {
		{ &header, sizeof(header) },
		{ b ? b->room : lost, BUFFER_LARGE_SIZE },
	};
	ssize_t n = readv(t->fd, iov, 2);
	int error = n < 0 ? -errno : 0;

	if (n > (ssize_t)sizeof(header) && b) {
		b->size = (uint32_t)((size_t)n - sizeof(header));
		if (t->policy)
			rate_take(&t->policy->up, b->size);
		packet_in(t, b);
		return 1;
	}
	if (b)
		buffer_free(b);
	if (n > 0) {
		t->counts.dropped++;
		return 1;
	}
	return error == -EAGAIN || error == -EINTR ? 0 : error;
}

static void tun_ready(struct watch *w, uint32_t events)
{
	struct tun *t = container_of(w, struct tun, watch);
	uint64_t end_us = clock_us() + LOOP_SHARE_US;
	int more = 1;

	(void)events;
	do {
		for (int i = 0; i < BATCH && more == 1 && up_open(t); i++)
			more = packet_read(t);
		out_tcp_carry();
	} while (more == 1 && up_open(t) && clock_us() < end_us);
	if (more < 0) {
		log_error(t->container, "its TUN: %s; it has no network",
			  strerror(-more));
		watch_del(loop, &t->watch);
	}
}

/* What it receives */

static void header_make(struct virtio_net_hdr *h, const struct tun_offload *o)
{
	*h = (struct virtio_net_hdr){ .hdr_len = o->header_size };
	if (o->sum_at) {
		h->flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
		h->csum_start = o->sum_at;
		h->csum_offset = o->sum_offset;
	}
	if (o->segment_size) {
		h->gso_type = o->v6 ? VIRTIO_NET_HDR_GSO_TCPV6
				    : VIRTIO_NET_HDR_GSO_TCPV4;
		h->gso_size = o->segment_size;
	}
}

void tun_send(struct tun *t, const struct iovec *iov, int n,
	      const struct tun_offload *offload)
{
	static struct iovec all[TUN_IOV_MAX];
	struct virtio_net_hdr header;
	ssize_t sent;

	header_make(&header, offload);
	all[0] = (struct iovec){ &header, sizeof(header) };
	memcpy(all + 1, iov, (size_t)n * sizeof(*iov));
	sent = writev(t->fd, all, n + 1);
	if (sent < 0) {
		t->counts.dropped++;
		return;
	}
	t->counts.packets_in++;
	t->counts.bytes_in += (size_t)sent - sizeof(header);
}

/* Init's store */

static void tun_gone(struct tun *t)
{
	by_address[low_bits(t->address)] = 0;
	for (int i = 0; i < STOCK_KINDS; i++) {
		if (t->stock[i])
			stock_put(t->stock[i]);
	}
	out_tcp_end(t);
	out_datagram_end(t);
	in_datagram_end(t);
	resolver_end(t);
	traffic_put(t->traffic);
	timer_cancel(&t->resume);
	watch_del(loop, &t->watch);
	fd_close(&t->fd);
	fds_give(FDS_HELD, 1, NULL);
	fds_leave(&t->fds);
	t->used = false;
	listeners_update();
}

static struct tun *tun_named(const char *container)
{
	for (struct tun *t = tuns; t < tuns_end; t++) {
		if (t->used && !strcmp(t->container, container))
			return t;
	}
	return NULL;
}

/* Who chose the note: zrun serve. */
static bool outlet_read(const struct init_event *e, struct net_outlet *o)
{
	memcpy(o, e->note, sizeof(*o));
	return o->magic == NET_OUTLET_MAGIC &&
	       memchr(o->application, '\0', sizeof(o->application)) &&
	       memchr(o->names, '\0', sizeof(o->names)) &&
	       (o->address & NET_RANGE_MASK) == NET_RANGE;
}

static int tun_new(const struct init_event *e, const struct net_outlet *o,
		   int fd)
{
	struct tun *t = tuns;

	while (t < tuns_end && t->used)
		t++;
	if (t == tuns + TUN_MAX)
		return -ENOSPC;
	if (t == tuns_end)
		tuns_end++;
	*t = (struct tun){
		.fd = -1,
		.watch = { .fd = -1, .ready = tun_ready },
		.resume.fire = resume_fire,
		.has_policy = o->has_policy,
		.has_address6 = o->has_address6,
	};
	t->newest = &t->oldest;
	text_copy(t->container, sizeof(t->container), e->key.container);
	text_copy(t->application, sizeof(t->application), o->application);
	text_copy(t->names, sizeof(t->names), o->names);
	t->address[10] = t->address[11] = 0xff;
	for (int i = 0; i < 4; i++)
		t->address[12 + i] = (uint8_t)(o->address >> (24 - 8 * i));
	net_address6(o->address, t->address6);
	if (tun_find(t->address))
		return -EADDRINUSE;
	int error = watch_add(loop, &t->watch, fd, EPOLLIN);

	if (error < 0)
		return error;
	t->fd = fd;
	fds_take(FDS_HELD, 1, NULL);
	fds_enter(&t->fds);
	t->traffic = traffic_get(t->container);
	rate_init(&t->useless, USELESS_PER_S, USELESS_BURST, clock_ms());
	out_tcp_begin(t);
	t->used = true;
	by_address[low_bits(t->address)] = (uint16_t)(t - tuns + 1);
	listeners_update();
	return 0;
}

static void policy_left(struct policy *p)
{
	for (struct tun *t = tuns; t < tuns_end; t++) {
		if (t->policy == p)
			t->policy = NULL;
	}
}

static void policy_dropped(const struct init_event *e)
{
	struct policy *p = policy_of(e->key.container);

	if (!p)
		return;
	policy_left(p);
	policy_gone(p);
}

static void policy_added(const struct init_event *e, struct ipc_fds *fds)
{
	int error = fds->n == 1 ? policy_add(e->key.container, fds->fd[0])
				: -EBADMSG;

	if (error == 0)
		return;
	log_error(e->key.container, "its network policy: %s; it goes nowhere",
		  strerror(-error));
	policy_dropped(e);
}

static void event_added(const struct init_event *e, struct ipc_fds *fds)
{
	struct tun *t = tun_named(e->key.container);
	struct net_outlet outlet;
	int error = -EBADMSG;

	/* Told anew, it may be another container of the same name. */
	if (t && t->stale)
		tun_gone(t);
	else if (t)
		return;
	if (fds->n == 1 && outlet_read(e, &outlet))
		error = tun_new(e, &outlet, fds->fd[0]);
	if (error < 0)
		log_error(e->key.container, "its TUN: %s; it has no network",
			  strerror(-error));
	else
		(void)ipc_fds_take(fds, 0);
}

static void event_synced(void)
{
	for (struct tun *t = tuns; t < tuns_end; t++) {
		if (t->used && t->stale)
			tun_gone(t);
	}
	policy_synced(policy_left);
}

static void event_take(struct init_watch *w, struct init_event *e,
		       struct ipc_fds *fds)
{
	struct tun *t;
	bool is_policy = e->key.n == NET_OUTLET_POLICY;

	(void)w;
	switch (e->head.verb) {
	case INIT_EVENT_ADDED:
		if (is_policy)
			policy_added(e, fds);
		else
			event_added(e, fds);
		break;
	case INIT_EVENT_GONE:
		if (is_policy) {
			policy_dropped(e);
			break;
		}
		t = tun_named(e->key.container);
		if (t)
			tun_gone(t);
		break;
	case INIT_EVENT_SYNCED:
		event_synced();
		break;
	}
}

static void init_lost(struct init_watch *w)
{
	for (struct tun *t = tuns; t < tuns_end; t++)
		t->stale = true;
	policy_all_stale();
	init_watch_again(w);
}

static struct init_watch held = {
	.kind = INIT_KIND_TUN,
	.event = event_take,
	.lost = init_lost,
};

int tun_init(struct loop *on)
{
	loop = on;
	return init_watch_open(&held, on);
}

void tun_describe(uint32_t row, struct znet_outlet *out)
{
	*out = (struct znet_outlet){ .error = -ENOENT };
	for (struct tun *t = tuns; t < tuns_end; t++) {
		if (!t->used || row-- > 0)
			continue;
		*out = t->counts;
		memcpy(out->address, t->address, sizeof(out->address));
		text_copy(out->container, sizeof(out->container), t->container);
		return;
	}
}

void tun_rule_describe(const char container[64], uint32_t row,
		       struct znet_rule *out)
{
	struct tun *t = memchr(container, '\0', 64) ? tun_named(container)
						    : NULL;
	const struct policy *p = t ? tun_policy(t) : NULL;

	_Static_assert(sizeof(out->text) >= NET_RULE_TEXT_SIZE, "a rule fits");
	*out = (struct znet_rule){ .error = -ENOENT };
	if (!p || row > p->rules.n_rules)
		return;
	out->error = 0;
	out->flows = p->hits[row];
	if (row < p->rules.n_rules)
		net_rule_text(&p->rules.rule[row], out->text);
	else
		text_copy(out->text, sizeof(out->text),
			  p->rules.denies ? "default deny" : "default allow");
}
