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
#include "flow.h"
#include "key.h"
#include "out_tcp.h"

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
static bool was_full; /* some listener waits for a free flow */
static struct timer pause_timer;

/* The listener after l that is in use, the first one after NULL; NULL at the
 * end. */
static struct listener *listener_next(struct listener *l)
{
	for (l = l ? l + 1 : listeners; l < listeners + LISTENER_MAX; l++) {
		if (l->used)
			return l;
	}
	return NULL;
}

/* Accepts from l exactly while all it takes is there. */
static void listener_update(struct listener *l)
{
	bool want = l->route.state == NET_ROUTE_OPEN && l->stock &&
		    l->stock->n && l->proof != LISTENER_TRYING;

	if (want && !flow_room()) {
		was_full = true;
		want = false;
	}
	if (want && pause_timer.deadline_ms)
		want = false;
	if (l->fd < 0)
		return;
	if (watch_events(loop, &l->watch, want ? EPOLLIN : 0) < 0)
		log_error(l->key.container, "cannot watch port %u: %m",
			  l->key.n);
}

static void listeners_update(void)
{
	was_full = false;
	for (struct listener *l = NULL; (l = listener_next(l));)
		listener_update(l);
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
	for (int i = 0; i < ACCEPT_BATCH && w->events; i++) {
		union node_address from;
		socklen_t size = sizeof(from);
		int fd = accept4(l->fd, &from.any, &size,
				 SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			if (!l->inherits)
				options_set(fd);
			if (l->proof == LISTENER_UNTRIED)
				l->proof = LISTENER_TRYING;
			l->open++;
			flow_begin(l, fd, &from);
			listener_update(l);
		} else if (errno == EAGAIN) {
			l->inherits = true;
			return;
		} else if (!accept_again(errno)) {
			log_warning(l->key.container, "accept on port %u: %m",
				    l->key.n);
			timer_set(loop, &pause_timer, PAUSE_MS);
			listeners_update();
			return;
		}
	}
}

void listener_tried(struct listener *l, bool known)
{
	if (known)
		l->proof = LISTENER_KNOWN;
	else if (l->proof == LISTENER_TRYING)
		l->proof = LISTENER_UNTRIED;
	listener_update(l);
}

void listener_flow_ended(struct listener *l)
{
	l->open--;
	if (was_full)
		listeners_update();
}

static void stock_filled(struct stock *s)
{
	for (struct listener *l = NULL; (l = listener_next(l));) {
		if (l->stock == s) {
			flow_retry(l);
			listener_update(l);
		}
	}
	out_tcp_retry();
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
	for (struct listener *l = listeners; l < listeners + LISTENER_MAX;
	     l++) {
		if (l->used || l->open)
			continue;
		*l = (struct listener){
			.used = true,
			.fd = -1,
			.watch = { .fd = -1, .ready = accept_ready },
			.key = *key,
		};
		return l;
	}
	return NULL;
}

static void listener_fd_set(struct listener *l, int fd)
{
	int error;

	watch_del(loop, &l->watch);
	fd_close(&l->fd);
	l->fd = fd;
	if (fd < 0)
		return;
	/* Connections inherit them, but for those that were there before. */
	options_set(fd);
	l->inherits = false;
	fcntl(fd, F_SETFL, O_NONBLOCK);
	error = watch_add(loop, &l->watch, fd, 0);
	if (error < 0) {
		log_error(l->key.container, "cannot watch port %u: %s",
			  l->key.n, strerror(-error));
		fd_close(&l->fd);
	}
}

/* Who chose the note: znode. A broken one closes the route, no more. */
static void route_check(struct net_route *r, const char *app)
{
	if (r->magic == NET_ROUTE_MAGIC && r->state <= NET_ROUTE_OPEN &&
	    memchr(r->container, '\0', sizeof(r->container)) &&
	    (r->state == NET_ROUTE_HOLD || (r->container[0] && r->port)))
		return;
	log_error(app, "bad route in the note of its listener: kept closed");
	*r = (struct net_route){ .state = NET_ROUTE_HOLD };
}

static void stock_change(struct listener *l, const struct net_route *route)
{
	struct stock *old = l->stock;

	l->stock = NULL;
	if (route->state == NET_ROUTE_OPEN) {
		l->stock = stock_get(route->container,
				     !address_is_mapped(route->address));
		if (!l->stock)
			log_error(l->key.container,
				  "more than %d containers "
				  "with ports: not served",
				  STOCK_COUNT_MAX);
	}
	if (old)
		stock_put(old);
}

static void route_set(struct listener *l, const uint8_t *note)
{
	struct net_route route;

	memcpy(&route, note, sizeof(route));
	route_check(&route, l->key.container);
	if (!memcmp(&route, &l->route, sizeof(route)))
		return;
	stock_change(l, &route);
	l->route = route;
	l->opened_ms = clock_ms();
	/* A trial under way goes on with the new route. */
	if (l->proof == LISTENER_KNOWN)
		l->proof = LISTENER_UNTRIED;
	if (route.state == NET_ROUTE_OPEN)
		flow_retry(l);
}

static void listener_gone(struct listener *l)
{
	listener_fd_set(l, -1);
	if (l->stock)
		stock_put(l->stock);
	l->stock = NULL;
	l->route.state = NET_ROUTE_HOLD;
	l->used = false;
	flow_forget(l);
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
	stock_init(on, stock_filled);
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
		out->port = l->key.n;
		out->open = l->open;
		out->stock = l->stock ? l->stock->n : 0;
		out->target_port = l->route.port;
		memcpy(out->target, l->route.address, sizeof(out->target));
		memcpy(out->app, l->key.container, sizeof(out->app));
		memcpy(out->container, l->route.container,
		       sizeof(out->container));
		return;
	}
}
