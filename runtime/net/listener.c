#define _GNU_SOURCE
#include "listener.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>

#include "base/fd.h"
#include "base/init_watch.h"
#include "base/log.h"
#include "fds.h"
#include "flow.h"
#include "in_datagram.h"
#include "key.h"
#include "out_tcp.h"
#include "traffic.h"

/* #syscalls: socket connect setsockopt accept4 */

enum {
	ACCEPT_BATCH = 16,
	PAUSE_MS = 100, /* when the kernel has no memory for a connection */
};

/* A client that died without a word is noticed after a quarter of an hour;
 * otherwise its flow would stay for ever. */
enum { KEEPALIVE_IDLE_S = 600, KEEPALIVE_STEP_S = 60, KEEPALIVE_COUNT = 5 };

static struct loop *loop;
static struct listener listeners[LISTENER_MAX];
static struct listener *listeners_end = listeners; /* never used from here on */
static bool was_full; /* some listener waits for a free flow */
static struct timer pause_timer;

/* The listener after l that is in use, the first one after NULL; NULL at the
 * end. */
static struct listener *listener_next(struct listener *l)
{
	for (l = l ? l + 1 : listeners; l < listeners_end; l++) {
		if (l->used)
			return l;
	}
	return NULL;
}

static bool is_udp(const struct listener *l)
{
	return l->key.n & INIT_LISTEN_UDP;
}

/* For messages. */
static unsigned int port_of(const struct listener *l)
{
	return l->key.n & 0xffff;
}

/* Accepts from l exactly while all it takes is there. */
static void listener_update(struct listener *l)
{
	bool knocks = l->route.state == NET_ROUTE_KNOCK && !l->knocked;
	bool want = is_udp(l) ? in_datagram_open(l)
			      : targets_ready(&l->targets);

	if (want && !is_udp(l) && !flow_room(l)) {
		was_full = true;
		want = false;
	}
	if (want && pause_timer.deadline_ms)
		want = false;
	if (l->fd < 0)
		return;
	if (watch_events(loop, &l->watch, want || knocks ? EPOLLIN : 0) < 0)
		log_error(l->key.container, "cannot watch port %u: %m",
			  port_of(l));
}

void listeners_update(void)
{
	was_full = false;
	for (struct listener *l = NULL; (l = listener_next(l));)
		listener_update(l);
}

/* Once: the client waits for its container in the kernel's queue, or, where it
 * was accepted for one that has gone, here. */
static void knock(struct listener *l)
{
	l->knocked = true;
	listener_update(l);
	traffic_knock(l->key.container);
}

void listeners_knock_again(void)
{
	for (struct listener *l = NULL; (l = listener_next(l));) {
		l->knocked = l->crowded = false;
		listener_update(l);
		listener_asked(l);
		if (l->route.state == NET_ROUTE_KNOCK && flow_waits(l))
			knock(l);
	}
}

static void pause_over(struct timer *t)
{
	(void)t;
	listeners_update();
}

/* For the lingering see flow.c. */
static void options_set(int fd)
{
	const struct linger reset = { .l_onoff = 1, .l_linger = 0 };
	static const struct {
		int level, name, value;
	} option[] = {
		{ IPPROTO_TCP, TCP_NODELAY, 1 },
		{ SOL_SOCKET, SO_KEEPALIVE, 1 },
		{ IPPROTO_TCP, TCP_KEEPIDLE, KEEPALIVE_IDLE_S },
		{ IPPROTO_TCP, TCP_KEEPINTVL, KEEPALIVE_STEP_S },
		{ IPPROTO_TCP, TCP_KEEPCNT, KEEPALIVE_COUNT },
	};

	for (size_t i = 0; i < sizeof(option) / sizeof(option[0]); i++)
		setsockopt(fd, option[i].level, option[i].name,
			   &option[i].value, sizeof(option[i].value));
	setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
}

/* The connection is gone again (the client did not wait), or for later. */
static bool accept_again(int error)
{
	return error == EINTR || error == ECONNABORTED || error == EPROTO;
}

static void accept_ready(struct watch *w, uint32_t events)
{
	struct listener *l = container_of(w, struct listener, watch);

	(void)events;
	if (l->route.state == NET_ROUTE_KNOCK) {
		knock(l);
		return;
	}
	if (is_udp(l)) {
		in_datagram_ready(l);
		return;
	}
	/* Others may have taken the last room meanwhile. */
	listener_update(l);
	for (int i = 0; i < ACCEPT_BATCH && w->events; i++) {
		union node_address from;
		socklen_t size = sizeof(from);
		int fd = accept4(l->fd, &from.any, &size,
				 SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			if (!l->inherits)
				options_set(fd);
			l->open++;
			flow_begin(l, fd, &from);
			listener_update(l);
		} else if (errno == EAGAIN) {
			l->inherits = true;
			return;
		} else if (!accept_again(errno)) {
			log_warning(l->key.container, "accept on port %u: %m",
				    port_of(l));
			timer_set(loop, &pause_timer, PAUSE_MS);
			listeners_update();
			return;
		}
	}
}

void listener_tried(struct listener *l, uint32_t target, bool known)
{
	target_tried(&l->targets, target, known);
	listener_update(l);
}

void listener_asked(struct listener *l)
{
	int excess = l->route.grows ? targets_excess(&l->targets) : 0;

	if (excess > 0 && !l->crowded) {
		l->crowded = true;
		traffic_crowd(l->key.container);
	} else if (excess < 0) {
		l->crowded = false;
	}
}

void listeners_room(void)
{
	if (was_full)
		listeners_update();
}

static void stock_answered(struct stock *s)
{
	for (struct listener *l = NULL; (l = listener_next(l));) {
		struct target *t = NULL;

		while ((t = target_next(&l->targets, t)) && t->stock != s &&
		       strcmp(t->container, s->container) != 0)
			;
		if (t) {
			flow_retry(l);
			listener_update(l);
		}
	}
	out_tcp_retry();
	in_datagram_retry();
}

static struct listener *listener_find(const struct init_key *key)
{
	for (struct listener *l = NULL; (l = listener_next(l));) {
		if (l->key.n == key->n &&
		    !strcmp(l->key.container, key->container))
			return l;
	}
	return NULL;
}

/* A slot is free again only when its last flow has ended, for flows count in
 * their listener. */
static struct listener *listener_new(const struct init_key *key)
{
	struct listener *l = listeners;

	while (l < listeners_end && (l->used || l->open))
		l++;
	if (l == listeners + LISTENER_MAX)
		return NULL;
	if (l == listeners_end)
		listeners_end++;
	*l = (struct listener){
		.used = true,
		.fd = -1,
		.watch = { .fd = -1, .ready = accept_ready },
		.key = *key,
	};
	if (!is_udp(l))
		fds_enter(&l->fds);
	return l;
}

static void listener_fd_set(struct listener *l, int fd)
{
	int error;

	watch_del(loop, &l->watch);
	if (l->fd >= 0)
		fds_give(FDS_HELD, 1, NULL);
	fd_close(&l->fd);
	l->fd = fd;
	if (fd < 0)
		return;
	fds_take(FDS_HELD, 1, NULL);
	/* Connections inherit them, but for those that were there before. */
	if (is_udp(l))
		in_datagram_options(fd);
	else
		options_set(fd);
	l->inherits = false;
	fcntl(fd, F_SETFL, O_NONBLOCK);
	error = watch_add(loop, &l->watch, fd, 0);
	if (error < 0) {
		log_error(l->key.container, "cannot watch port %u: %s",
			  port_of(l), strerror(-error));
		listener_fd_set(l, -1);
	}
}

/* Who chose the note: znode. A broken one closes the route, no more. */
static void route_check(struct net_route *r, const char *app)
{
	if (r->magic == NET_ROUTE_MAGIC && r->state <= NET_ROUTE_KNOCK &&
	    (!r->proxy_protocol || r->proxy_protocol == 2) &&
	    memchr(r->container, '\0', sizeof(r->container)) &&
	    (r->state != NET_ROUTE_OPEN || (r->container[0] && r->port)))
		return;
	log_error(app, "bad route in the note of its listener: kept closed");
	*r = (struct net_route){ .state = NET_ROUTE_HOLD };
}

static void route_set(struct listener *l, const uint8_t *note)
{
	struct net_route route;

	memcpy(&route, note, sizeof(route));
	route_check(&route, l->key.container);
	if (!memcmp(&route, &l->route, sizeof(route)))
		return;
	if (route.port != l->route.port)
		in_datagram_forget(l);
	targets_set(&l->targets, &route, l->key.container);
	in_datagram_moved(l);
	l->route = route;
	l->opened_ms = clock_ms();
	l->knocked = l->crowded = false;
	listener_asked(l);
	if (route.state == NET_ROUTE_OPEN)
		flow_retry(l);
	else if (route.state == NET_ROUTE_KNOCK && flow_waits(l))
		knock(l);
}

static void listener_gone(struct listener *l)
{
	listener_fd_set(l, -1);
	l->route.state = NET_ROUTE_HOLD;
	targets_set(&l->targets, &l->route, l->key.container);
	l->used = false;
	fds_leave(&l->fds);
	flow_forget(l);
	in_datagram_forget(l);
}

static void event_added(const struct init_event *e, struct ipc_fds *fds)
{
	struct listener *l = listener_find(&e->key);

	if (!l)
		l = listener_new(&e->key);
	if (!l) {
		log_error(e->key.container,
			  "more than %d published ports: "
			  "port %u is not served",
			  LISTENER_MAX, e->key.n);
		return;
	}
	l->stale = false;
	if (fds->n)
		listener_fd_set(l, ipc_fds_take(fds, 0));
	route_set(l, e->note);
	listener_update(l);
}

static void event_synced(void)
{
	for (struct listener *l = NULL; (l = listener_next(l));) {
		if (l->stale)
			listener_gone(l);
	}
}

static void event_take(struct init_watch *w, struct init_event *e,
		       struct ipc_fds *fds)
{
	struct listener *l;

	(void)w;
	switch (e->head.verb) {
	case INIT_EVENT_ADDED:
		event_added(e, fds);
		break;
	case INIT_EVENT_GONE:
		l = listener_find(&e->key);
		if (l)
			listener_gone(l);
		break;
	case INIT_EVENT_SYNCED:
		event_synced();
		break;
	}
}

/* What is not told again is gone; until then it is served. */
static void init_lost(struct init_watch *w)
{
	for (struct listener *l = NULL; (l = listener_next(l));)
		l->stale = true;
	init_watch_again(w);
}

static struct init_watch published = {
	.kind = INIT_KIND_LISTEN,
	.event = event_take,
	.lost = init_lost,
};

int listener_init(struct loop *on)
{
	int error;

	loop = on;
	pause_timer.fire = pause_over;
	stock_init(on, stock_answered);
	in_datagram_init(on);
	error = init_watch_open(&published, on);
	if (error < 0)
		log_error("init.sock",
			  "%s: znet runs under init, or "
			  "init --supervise",
			  strerror(-error));
	return error;
}

void listener_describe(uint32_t row, struct znet_listener *out)
{
	memset(out, 0, sizeof(*out));
	out->error = -ENOENT;
	for (struct listener *l = NULL; (l = listener_next(l));) {
		if (row--)
			continue;
		out->error = 0;
		out->state = l->route.state;
		out->port = port_of(l);
		out->protocol = is_udp(l) ? IPPROTO_UDP : IPPROTO_TCP;
		out->datagrams = l->datagrams;
		out->open = l->open;
		for (struct target *t = NULL;
		     (t = target_next(&l->targets, t));)
			out->stock += t->stock ? t->stock->n : 0;
		out->target_port = l->route.port;
		memcpy(out->target, l->route.address, sizeof(out->target));
		memcpy(out->app, l->key.container, sizeof(out->app));
		memcpy(out->container, l->route.container,
		       sizeof(out->container));
		return;
	}
}
