/* A flow is one client's connection and the connection inside a container that
 * answers it, led into each other.
 *
 * Theory of operation. The client side was accepted here; the inside socket
 * was made by zrun serve in the container's network namespace, is allowed to
 * bind to foreign addresses, and is bound to the client's, so the application
 * sees who calls. What one side sends is carried to the other, each direction
 * on its own: see half.h. A client by IPv6 is led to the container's IPv6
 * address; where the application listens to IPv4 alone that is refused, twice,
 * and he is led to the IPv4 one, as from the container's own.
 *
 * Invariants
 * 1. A side whose own stream has ended and that was shut is closed at once:
 *    epoll would report its hang-up for ever.
 * 2. A flow is in the list of those that wait exactly when FLOW_WAITING.
 * 3. No heap: flows are a static table, taken from the front, so that pages
 *    never needed are never touched.
 *
 * A reset of one side becomes a reset of the other. A container that refuses
 * is tried again for a while, for it may be about to listen or about to be
 * started anew; the client notices nothing but the time. */
#define _GNU_SOURCE
#include "flow.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "fds.h"
#include "half.h"
#include "key.h"
#include "pipe.h"
#include "proxy.h"
#include "traffic.h"
#include "tun.h"

/* #syscalls: bind connect setsockopt getsockopt getsockname sendto close */

enum { FLOW_MAX = 16384 };

enum {
	/* Soon at first: who was started for this client is about to listen. */
	RETRY_FIRST_MS = 1, /* doubled up to << RETRY_STEPS */
	RETRY_STEPS = 7,
	OPEN_GRACE_MS = 10000,	 /* from the opening of the route */
	REFUSED_GRACE_MS = 1000, /* from the first refusal */
};

enum flow_state {
	FLOW_FREE,
	FLOW_CONNECTING, /* the inside socket is */
	FLOW_WAITING,	 /* refused, or no socket yet: tried again */
	FLOW_OPEN,
};

enum { CLIENT, INSIDE, SIDES }; /* a descriptor each */

struct flow {
	enum flow_state state;
	uint8_t tries;
	bool any_port; /* the client's port is taken inside */
	bool by_v6;    /* of this try, and that it was refused so */
	bool refused_v6;
	bool asked_again; /* by IPv6, once IPv4 had been taken */
	uint32_t target;  /* that it is led to, by its id; 0: none yet */
	struct proxy_end client;
	int fd[SIDES];
	int by_v4; /* the inside, meanwhile; -1 */
	struct watch watch[SIDES];
	struct half half[SIDES]; /* half[s] is from s to the other */
	struct listener *listener;
	struct traffic_flow traffic;
	uint64_t refused_ms, due_ms; /* while waiting */
	struct flow *next, **prevp;  /* in waiting; next when free */
};

static struct loop *loop;
static struct flow flows[FLOW_MAX];
static struct flow *free_flows, *waiting;
static unsigned int n_fresh, n_open;
static struct znet_counts counts;
static struct timer retry;

/* Lists */

static void list_add(struct flow **list, struct flow *f)
{
	f->next = *list;
	f->prevp = list;
	if (f->next)
		f->next->prevp = &f->next;
	*list = f;
}

static void list_del(struct flow *f)
{
	if (!f->prevp)
		return;
	*f->prevp = f->next;
	if (f->next)
		f->next->prevp = f->prevp;
	f->prevp = NULL;
}

/* How many more there may be of h's. */
static unsigned int room(const struct fds_holder *h)
{
	unsigned int n = fds_free(FDS_FLOWS, h) / SIDES;

	return n < FLOW_MAX - n_open ? n : FLOW_MAX - n_open;
}

bool flow_room(const struct listener *l)
{
	return room(&l->fds) > 0;
}

static struct flow *flow_take(struct listener *l)
{
	struct flow *f = free_flows;

	if (f)
		free_flows = f->next;
	else
		f = &flows[n_fresh++];
	n_open++;
	fds_take(FDS_FLOWS, SIDES, &l->fds);
	return f;
}

/* The end */

/* With a lingering time of 0, closing sends a reset. Sockets have that from
 * the start, so that peers learn that something broke when this program is
 * killed; the end of a stream would make half an answer look like a whole. */
static void side_reset(struct flow *f, int s)
{
	watch_del(loop, &f->watch[s]);
	fd_close(&f->fd[s]);
}

/* Both streams have ended well: what was sent is still delivered. */
static void side_end(struct flow *f, int s)
{
	const struct linger none = { 0 };

	setsockopt(f->fd[s], SOL_SOCKET, SO_LINGER, &none, sizeof(none));
	side_reset(f, s);
}

/* Both sides are closed. */
static void flow_free(struct flow *f)
{
	struct listener *l = f->listener;

	list_del(f);
	traffic_end(&f->traffic);
	f->state = FLOW_FREE;
	for (int s = 0; s < SIDES; s++)
		half_drop(&f->half[s]);
	f->next = free_flows;
	free_flows = f;
	n_open--;
	l->open--;
	fds_give(FDS_FLOWS, SIDES, &l->fds);
}

static void flow_reset(struct flow *f)
{
	bool untaken = f->state != FLOW_OPEN;

	counts.reset++;
	side_reset(f, CLIENT);
	side_reset(f, INSIDE);
	fd_close(&f->by_v4);
	if (untaken)
		listener_tried(f->listener, f->target, false);
	flow_free(f);
}

/* Events */

/* Carries what side s has sent to the other side. */
static int carry(struct flow *f, int s)
{
	uint64_t *bytes = s == CLIENT ? &counts.bytes_in : &counts.bytes_out;
	uint64_t before = *bytes;
	int error = half_run(&f->half[s], f->fd[s], f->fd[!s], bytes);

	if (*bytes != before && s == CLIENT) {
		traffic_in(&f->traffic);
		listener_asked(f->listener);
	} else if (*bytes != before) {
		traffic_out(&f->traffic);
	}
	if (f->half[CLIENT].shut)
		traffic_part(&f->traffic);
	return error;
}

static uint32_t side_interest(const struct flow *f, int s)
{
	const struct half *from = &f->half[s], *to = &f->half[!s];
	uint32_t events = 0;

	if (f->state != FLOW_OPEN)
		return s == INSIDE ? EPOLLOUT : 0;
	if (half_wants_input(from))
		events |= EPOLLIN;
	if (half_wants_output(to))
		events |= EPOLLOUT;
	return events;
}

/* A side with nothing to do stays registered, to hear of a reset, unless it
 * was made silent after a hang-up (watch.fd < 0). */
static int side_watch(struct flow *f, int s)
{
	uint32_t events = side_interest(f, s);

	if (f->watch[s].fd < 0 && !events)
		return 0;
	if (f->watch[s].fd < 0)
		return watch_add(loop, &f->watch[s], f->fd[s], events);
	return watch_events(loop, &f->watch[s], events);
}

/* Brings descriptors and epoll in line with what the halves have come to. */
static void flow_settle(struct flow *f)
{
	for (int s = 0; s < SIDES; s++) {
		if (f->fd[s] < 0)
			continue;
		if (f->half[s].eof && f->half[!s].shut)
			side_end(f, s);
		else if (side_watch(f, s) < 0)
			flow_reset(f);
		if (f->state == FLOW_FREE)
			return;
	}
	if (f->fd[CLIENT] < 0 && f->fd[INSIDE] < 0)
		flow_free(f);
}

static void open_ready(struct flow *f, int s, uint32_t events)
{
	uint32_t want = side_interest(f, s);
	uint32_t broken = events & (EPOLLERR | EPOLLHUP);
	int error = 0;

	if ((want & EPOLLOUT) && (events & EPOLLOUT || broken))
		error = carry(f, !s);
	if (error == 0 && (want & EPOLLIN) && (events & EPOLLIN || broken))
		error = carry(f, s);
	/* Nothing to do there that would tell: either it is a reset, or both
	 * streams have ended while the other side is slow. */
	if (error == 0 && !want && broken) {
		if (events & EPOLLERR)
			error = -ECONNRESET;
		else
			watch_del(loop, &f->watch[s]);
	}
	if (error < 0)
		flow_reset(f);
	else
		flow_settle(f);
}

/* Getting inside */

/* Takes the client's address and port; another port where that one is taken
 * inside. A client of the other family, whose address cannot exist there,
 * comes from the container's own. */
static void socket_bind(const struct flow *f, int fd, const uint8_t to[16])
{
	const uint8_t *client = f->client.address;
	union node_address a;
	socklen_t size;

	if (address_is_mapped(to) != address_is_mapped(client))
		return;
	size = node_address(&a, client, f->client.port);
	if (!f->any_port && bind(fd, &a.any, size) == 0)
		return;
	size = node_address(&a, client, 0);
	/* If even that fails, it comes from the container's own address. */
	(void)bind(fd, &a.any, size);
}

/* That of the last try, if it was the trial of it, else another one. */
static struct target *target_of(struct flow *f)
{
	struct targets *all = &f->listener->targets;
	struct target *t = f->target ? target_by_id(all, f->target) : NULL;

	if (!t || t->proof != TARGET_TRYING)
		t = target_pick(all);
	f->target = t ? t->id : 0;
	return t;
}

/* Where f leads inside, and the stock for that. A route knows the IPv4 address;
 * the IPv6 one, if there is any, is the TUN's. */
static struct stock *stock_of(struct flow *f, const struct target *t,
			      const uint8_t **to)
{
	struct tun *tun = address_is_mapped(f->client.address) || f->refused_v6
				  ? NULL
				  : tun_find(t->address);
	struct stock *stock = NULL;

	if (tun && address_is_mapped(t->address) && tun_takes_tcp6(tun))
		stock = tun_stock(tun, STOCK_V6);
	f->by_v6 = stock && (stock->n || stock_is_coming(stock));
	*to = f->by_v6 ? tun->address6 : t->address;
	return f->by_v6 ? stock : t->stock;
}

/* 0 with the inside socket on its way, or -errno. */
static int dial_target(struct flow *f, struct target *t)
{
	const uint8_t *to = NULL;
	struct stock *stock = t ? stock_of(f, t, &to) : NULL;
	autoclose int fd = stock ? stock_take(stock) : -1;
	union node_address a;
	socklen_t size;

	if (fd < 0)
		return -EAGAIN;
	socket_bind(f, fd, to);
	size = node_address(&a, to, f->listener->route.port);
	if (connect(fd, &a.any, size) < 0 && errno != EINPROGRESS)
		return -errno;
	f->fd[INSIDE] = fd_take(&fd);
	traffic_move(&f->traffic, t->traffic);
	for (int s = 0; s < SIDES; s++)
		f->watch[s].share = traffic_share(t->traffic);
	f->state = FLOW_CONNECTING;
	return side_watch(f, INSIDE);
}

static int flow_dial(struct flow *f)
{
	return dial_target(f, target_of(f));
}

static bool may_wait(const struct flow *f, uint64_t now)
{
	const struct listener *l = f->listener;

	if (!l->used)
		return false;
	return l->route.state != NET_ROUTE_OPEN ||
	       now - l->opened_ms < OPEN_GRACE_MS ||
	       now - f->refused_ms < REFUSED_GRACE_MS;
}

/* After `error` on the way inside; -EAGAIN: there was no socket, which is not
 * the container's fault and takes as long as it takes. */
static void flow_wait(struct flow *f, int error)
{
	uint64_t now = clock_ms();
	unsigned int delay_ms = RETRY_FIRST_MS << f->tries;

	if (!f->refused_ms && error != -EAGAIN)
		f->refused_ms = now;
	if (error != -EAGAIN && !may_wait(f, now)) {
		counts.refused++;
		listener_tried(f->listener, f->target, true);
		flow_reset(f);
		return;
	}
	f->refused_v6 = false;
	if (f->tries < RETRY_STEPS)
		f->tries++;
	f->due_ms = now + delay_ms;
	f->state = FLOW_WAITING;
	list_add(&waiting, f);
	if (!retry.deadline_ms || f->due_ms < retry.deadline_ms)
		timer_set(loop, &retry, delay_ms);
}

static bool port_is_taken(int error)
{
	return error == -EADDRNOTAVAIL || error == -EADDRINUSE;
}

static int dial_any_port(struct flow *f)
{
	int error = flow_dial(f);

	if (port_is_taken(error) && !f->any_port) {
		f->any_port = true;
		error = flow_dial(f);
	}
	return error;
}

/* Who refuses is not picked again at once, so this ends. */
static void flow_try_others(struct flow *f, int error)
{
	side_reset(f, INSIDE);
	if (error != -EAGAIN && f->by_v6) {
		f->refused_v6 = true;
		error = dial_any_port(f);
	}
	while (error < 0 && error != -EAGAIN &&
	       target_refused(&f->listener->targets, f->target))
		error = dial_any_port(f);
	if (error < 0)
		flow_wait(f, error);
}

static void flow_try(struct flow *f)
{
	int error = dial_any_port(f);

	if (error < 0)
		flow_try_others(f, error);
}

/* Tells the container who its client is, before all that he says; where the
 * route asks for that. It is no payload: who sleeps until a byte sleeps on. The
 * socket is new, so there is room for all of it. 0 or -errno. */
static int introduce(const struct flow *f)
{
	uint8_t header[PROXY_HEADER_MAX];
	union node_address at;
	socklen_t at_size = sizeof(at);
	struct proxy_end node;
	size_t size;

	if (!f->listener->route.proxy_protocol)
		return 0;
	if (getsockname(f->fd[CLIENT], &at.any, &at_size) < 0)
		return -errno;
	node_address_read(&at, node.address, &node.port);
	size = proxy_header(header, &f->client, &node);
	if (send(f->fd[INSIDE], header, size, MSG_NOSIGNAL) != (ssize_t)size)
		return -EPIPE;
	return 0;
}

static void go_on_by_v4(struct flow *f)
{
	side_reset(f, INSIDE);
	f->fd[INSIDE] = fd_take(&f->by_v4);
	f->by_v6 = false;
}

/* Who began to listen, to both, between the two tries takes IPv4 and has
 * refused IPv6. So it is asked once more, while the connection by IPv4 is kept.
 * Whether it is being asked. */
static bool ask_again(struct flow *f)
{
	if (!f->refused_v6 || f->asked_again)
		return false;
	f->asked_again = true;
	watch_del(loop, &f->watch[INSIDE]);
	f->by_v4 = fd_take(&f->fd[INSIDE]);
	f->refused_v6 = false;
	int r = dial_target(f, target_by_id(&f->listener->targets, f->target));

	if (r == 0 && f->by_v6)
		return true;
	go_on_by_v4(f); /* there is no socket to ask with */
	return false;
}

/* It takes clients, but not by IPv6. */
static void v6_refused(const struct flow *f)
{
	struct target *t = target_by_id(&f->listener->targets, f->target);
	struct tun *tun = t ? tun_find(t->address) : NULL;

	if (tun)
		tun_refused_tcp6(tun);
}

static void connected(struct flow *f, uint32_t events)
{
	socklen_t size = sizeof(int);
	int error = 0;

	if (!(events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
		return;
	if (getsockopt(f->fd[INSIDE], SOL_SOCKET, SO_ERROR, &error, &size) < 0)
		error = errno;
	if (error && f->by_v4 < 0) {
		flow_try_others(f, -error);
		return;
	}
	if (error == 0 && ask_again(f))
		return;
	if (error) {
		f->refused_v6 = true;
		go_on_by_v4(f);
	}
	fd_close(&f->by_v4);
	f->state = FLOW_OPEN;
	if (f->refused_v6)
		v6_refused(f);
	listener_tried(f->listener, f->target, true);
	/* Mostly the request is there already. */
	traffic_came(&f->traffic);
	error = introduce(f);
	if (error == 0)
		error = carry(f, CLIENT);
	if (error < 0)
		flow_reset(f);
	else
		flow_settle(f);
}

static void side_ready(struct flow *f, int s, uint32_t events)
{
	if (f->state == FLOW_OPEN)
		open_ready(f, s, events);
	else if (s == INSIDE)
		connected(f, events);
	else if (events & (EPOLLERR | EPOLLHUP))
		flow_reset(f); /* the client did not wait */
}

static void client_ready(struct watch *w, uint32_t events)
{
	side_ready(container_of(w, struct flow, watch[CLIENT]), CLIENT, events);
}

static void inside_ready(struct watch *w, uint32_t events)
{
	side_ready(container_of(w, struct flow, watch[INSIDE]), INSIDE, events);
}

/* Tries those of l (all: NULL) that are due at `now`, and sets the timer for
 * the next of those whose route is open; a held one is woken by its route. */
static void waiting_try(const struct listener *l, uint64_t now)
{
	struct flow *f = waiting, *next;
	uint64_t soonest_ms = 0;

	waiting = NULL;
	for (; f; f = next) {
		bool held = f->listener->route.state != NET_ROUTE_OPEN;

		next = f->next;
		f->prevp = NULL;
		if (!held && (f->due_ms <= now || f->listener == l)) {
			flow_try(f);
			continue;
		}
		list_add(&waiting, f);
		if (!held && (!soonest_ms || f->due_ms < soonest_ms))
			soonest_ms = f->due_ms;
	}
	if (soonest_ms &&
	    (!retry.deadline_ms || soonest_ms < retry.deadline_ms))
		timer_set(loop, &retry, soonest_ms - now);
}

static void retry_fire(struct timer *t)
{
	(void)t;
	waiting_try(NULL, clock_ms());
}

void flow_retry(struct listener *l)
{
	if (waiting)
		waiting_try(l, clock_ms());
}

void flow_forget(struct listener *l)
{
	struct flow *f = waiting, *next;

	for (; f; f = next) {
		next = f->next;
		if (f->listener == l)
			flow_reset(f);
	}
}

bool flow_waits(const struct listener *l)
{
	const struct flow *f = waiting;

	while (f && f->listener != l)
		f = f->next;
	return f;
}

void flow_begin(struct listener *l, int client, const union node_address *from)
{
	struct flow *f = flow_take(l);

	*f = (struct flow){
		.state = FLOW_WAITING,
		.fd = { client, -1 },
		.by_v4 = -1,
		.watch = {
			[CLIENT] = { .fd = -1, .ready = client_ready },
			[INSIDE] = { .fd = -1, .ready = inside_ready },
		},
		.listener = l,
	};
	counts.accepted++;
	node_address_read(from, f->client.address, &f->client.port);
	/* Registered for nothing, that is for resets. */
	if (watch_add(loop, &f->watch[CLIENT], client, 0) < 0)
		flow_reset(f);
	else
		flow_try(f);
}

void flow_init(struct loop *on)
{
	loop = on;
	retry.fire = retry_fire;
}

void flow_counts(struct znet_counts *out)
{
	*out = counts;
	out->open = n_open;
	out->open_max = n_open + room(NULL);
	out->pipes = pipe_used();
	out->pipes_max = pipe_max();
}
