/* A flow is one client's connection and the connection inside a container that
 * answers it, led into each other.
 *
 * Theory of operation. The client side was accepted here; the inside socket
 * was made by zrun serve in the container's network namespace, is allowed to
 * bind to foreign addresses, and is bound to the client's, so the application
 * sees who calls. What one side sends is carried to the other, each direction
 * on its own: see half.h.
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
#include "half.h"
#include "key.h"
#include "pipe.h"

/* #syscalls: bind connect setsockopt getsockopt close */

enum { FLOW_MAX = 8192 };

enum {
	RETRY_FIRST_MS = 25, /* doubled up to << RETRY_STEPS */
	RETRY_STEPS = 3,
	OPEN_GRACE_MS = 10000,	 /* from the opening of the route */
	REFUSED_GRACE_MS = 1000, /* from the first refusal */
};

enum flow_state {
	FLOW_FREE,
	FLOW_CONNECTING, /* the inside socket is */
	FLOW_WAITING,	 /* refused, or no socket yet: tried again */
	FLOW_OPEN,
};

enum { CLIENT, INSIDE, SIDES };

struct flow {
	enum flow_state state;
	uint8_t tries;
	bool any_port; /* the client's port is taken inside */
	in_port_t client_port;
	struct in6_addr client; /* v4 is mapped */
	int fd[SIDES];
	struct watch watch[SIDES];
	struct half half[SIDES]; /* half[s] is from s to the other */
	struct listener *listener;
	uint64_t refused_ms, due_ms; /* while waiting */
	struct flow *next, **prevp;  /* in waiting; next when free */
};

static struct loop *loop;
static struct flow flows[FLOW_MAX];
static struct flow *free_flows, *waiting;
static unsigned int n_fresh, n_open, n_max;
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

bool flow_room(void)
{
	return n_open < n_max;
}

static struct flow *flow_take(void)
{
	struct flow *f = free_flows;

	if (f)
		free_flows = f->next;
	else
		f = &flows[n_fresh++];
	n_open++;
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
	f->state = FLOW_FREE;
	for (int s = 0; s < SIDES; s++)
		half_drop(&f->half[s]);
	f->next = free_flows;
	free_flows = f;
	n_open--;
	listener_flow_ended(l);
}

static void flow_reset(struct flow *f)
{
	bool untaken = f->state != FLOW_OPEN;

	counts.reset++;
	side_reset(f, CLIENT);
	side_reset(f, INSIDE);
	if (untaken)
		listener_tried(f->listener, false);
	flow_free(f);
}

/* Events */

/* Carries what side s has sent to the other side. */
static int carry(struct flow *f, int s)
{
	return half_run(&f->half[s], f->fd[s], f->fd[!s],
			s == CLIENT ? &counts.bytes_in : &counts.bytes_out);
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
static void socket_bind(const struct flow *f, int fd)
{
	const uint8_t *client = f->client.s6_addr;
	union node_address a;
	socklen_t size;

	if (address_is_mapped(f->listener->route.address) !=
	    address_is_mapped(client))
		return;
	size = node_address(&a, client, ntohs(f->client_port));
	if (!f->any_port && bind(fd, &a.any, size) == 0)
		return;
	size = node_address(&a, client, 0);
	/* If even that fails, it comes from the container's own address. */
	(void)bind(fd, &a.any, size);
}

/* 0 with the inside socket on its way, or -errno. */
static int flow_dial(struct flow *f)
{
	const struct net_route *route = &f->listener->route;
	struct stock *stock = f->listener->stock;
	autoclose int fd = stock ? stock_take(stock) : -1;
	union node_address a;
	socklen_t size;

	if (fd < 0)
		return -EAGAIN;
	socket_bind(f, fd);
	size = node_address(&a, route->address, route->port);
	if (connect(fd, &a.any, size) < 0 && errno != EINPROGRESS)
		return -errno;
	f->fd[INSIDE] = fd_take(&fd);
	f->state = FLOW_CONNECTING;
	return side_watch(f, INSIDE);
}

static bool may_wait(const struct flow *f, uint64_t now)
{
	const struct listener *l = f->listener;

	if (!l->used)
		return false;
	return l->route.state == NET_ROUTE_HOLD ||
	       now - l->opened_ms < OPEN_GRACE_MS ||
	       now - f->refused_ms < REFUSED_GRACE_MS;
}

/* After `error` on the way inside; -EAGAIN: there was no socket, which is not
 * the container's fault and takes as long as it takes. */
static void flow_wait(struct flow *f, int error)
{
	uint64_t now = clock_ms();
	unsigned int delay_ms = RETRY_FIRST_MS << f->tries;

	side_reset(f, INSIDE);
	if (!f->refused_ms && error != -EAGAIN)
		f->refused_ms = now;
	if (error != -EAGAIN && !may_wait(f, now)) {
		counts.refused++;
		listener_tried(f->listener, true);
		flow_reset(f);
		return;
	}
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

static void flow_try(struct flow *f)
{
	int error = flow_dial(f);

	if (port_is_taken(error) && !f->any_port) {
		f->any_port = true;
		error = flow_dial(f);
	}
	if (error < 0)
		flow_wait(f, error);
}

static void connected(struct flow *f, uint32_t events)
{
	socklen_t size = sizeof(int);
	int error = 0;

	if (!(events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
		return;
	if (getsockopt(f->fd[INSIDE], SOL_SOCKET, SO_ERROR, &error, &size) < 0)
		error = errno;
	if (error) {
		flow_wait(f, -error);
		return;
	}
	f->state = FLOW_OPEN;
	listener_tried(f->listener, true);
	/* Mostly the request is there already. */
	if (carry(f, CLIENT) < 0)
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
		bool held = f->listener->route.state == NET_ROUTE_HOLD;

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

static void client_address_set(struct flow *f, const union node_address *from)
{
	struct sockaddr_in6 in6;
	struct sockaddr_in in;

	f->client = (struct in6_addr){ 0 };
	if (from->any.sa_family == AF_INET) {
		memcpy(&in, &from->room, sizeof(in));
		f->client.s6_addr[10] = f->client.s6_addr[11] = 0xff;
		memcpy(f->client.s6_addr + 12, &in.sin_addr, 4);
		f->client_port = in.sin_port;
	} else {
		memcpy(&in6, &from->room, sizeof(in6));
		f->client = in6.sin6_addr;
		f->client_port = in6.sin6_port;
	}
}

void flow_begin(struct listener *l, int client, const union node_address *from)
{
	struct flow *f = flow_take();

	*f = (struct flow){
		.state = FLOW_WAITING,
		.fd = { client, -1 },
		.watch = {
			[CLIENT] = { .fd = -1, .ready = client_ready },
			[INSIDE] = { .fd = -1, .ready = inside_ready },
		},
		.listener = l,
	};
	counts.accepted++;
	client_address_set(f, from);
	/* Registered for nothing, that is for resets. */
	if (watch_add(loop, &f->watch[CLIENT], client, 0) < 0)
		flow_reset(f);
	else
		flow_try(f);
}

void flow_init(struct loop *on, unsigned int fds)
{
	loop = on;
	retry.fire = retry_fire;
	n_max = fds / 2 < FLOW_MAX ? fds / 2 : FLOW_MAX;
}

void flow_counts(struct znet_counts *out)
{
	*out = counts;
	out->open = n_open;
	out->open_max = n_max;
	out->pipes = pipe_used();
	out->pipes_max = pipe_max();
}
