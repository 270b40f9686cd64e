/* Connections of a server: accepting, moving bytes between their protocol and
 * their descriptor, keeping time.
 *
 * What a client may cost is bounded here:
 *	handshakes	two a round of the loop (each up to 3 ms of CPU), so
 *			others wait for at most that. A connection costs no more
 *			than its descriptor before its first bytes come and it
 *			is among `handshakes` that may have begun; while others
 *			wait for that, those that have must hurry
 *	time		a sweep, once in a tenth of the shortest limit (in all
 *			of it when nothing hurries), compares every connection
 *			with the limits
 *	output		a connection whose output is blocked is not read from,
 *			so what it asks for cannot pile up
 *	turns		64 KB in and 128 KB out, then it is another's turn
 *
 * A connection is freed only from the work list, never under a callback.
 *
 * #syscalls: setsockopt */
#define _GNU_SOURCE /* accept4 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "http_conn.h"

enum {
	SHAKES_A_ROUND = 2,
	LINGER_MS = 2000,
	READS_A_TURN = 4,
	WRITES_A_TURN = 16,
	ACCEPTS_A_TURN = 32,
	LOG_EVERY_MS = 60000,
	CROWDED_MS = 3000,
	HELLO_TIMES = 3, /* handshake_ms until the first byte: costs little */
};

/* ---- life of a connection ---- */

void conn_work(struct conn *conn)
{
	struct http_server *server = conn->server;

	if (conn->on_work || (conn->busy && !conn->dead))
		return;
	conn->on_work = true;
	conn->work_next = NULL;
	*server->work_end = conn;
	server->work_end = &conn->work_next;
	server->n_work++;
	if (!server->work_timer.deadline_ms)
		timer_set(server->loop, &server->work_timer, 0);
}

void conn_kill(struct conn *conn)
{
	conn->dead = true;
	conn_work(conn);
}

static bool shaking(const struct conn *conn)
{
	return !conn->protocol;
}

static void leave_shake(struct conn *conn)
{
	struct http_server *server = conn->server;
	struct conn **p = &server->shake;

	if (!conn->on_shake)
		return;
	while (*p != conn)
		p = &(*p)->shake_next;
	*p = conn->shake_next;
	if (!*p)
		server->shake_end = p;
	conn->on_shake = false;
}

static void leave_work(struct conn *conn)
{
	struct http_server *server = conn->server;
	struct conn **p = &server->work;

	if (!conn->on_work)
		return;
	while (*p != conn)
		p = &(*p)->work_next;
	*p = conn->work_next;
	if (!*p)
		server->work_end = p;
	server->n_work--;
	conn->on_work = false;
}

void conn_free(struct conn *conn)
{
	struct http_server *server = conn->server;

	conn->dead = true;
	conn->busy = true; /* no more work for it */
	leave_work(conn);
	conn->on_work = true;
	while (conn->streams)
		stream_gone(conn->streams, false);
	streams_bury(conn);
	leave_shake(conn);
	watch_del(server->loop, &conn->watch);
	if (shaking(conn) && conn->transport.tls)
		server->n_shaking--;
	if (!shaking(conn))
		conn->protocol->free(conn);
	transport_close(&conn->transport);
	*conn->prevp = conn->next;
	if (conn->next)
		conn->next->prevp = conn->prevp;
	server->stats.connections--;
	free(conn);
	if (server->draining && !server->conns)
		timer_set(server->loop, &server->drain_timer, 0);
}

bool conn_flood(struct conn *conn)
{
	const struct http_limits *limits = &conn->server->limits;
	uint64_t now = clock_ms();
	uint64_t more = (now - conn->refill_ms) / 50; /* 20 a second */

	if (more) {
		conn->refill_ms = now;
		conn->flood += more < limits->floods ? (uint32_t)more
						     : limits->floods;
		if (conn->flood > limits->floods)
			conn->flood = limits->floods;
	}
	if (conn->flood == 0) {
		conn->server->stats.refused_floods++;
		return false;
	}
	conn->flood--;
	return true;
}

/* ---- bytes ---- */

static uint8_t scratch[TRANSPORT_READ_SIZE];

static bool can_read(const struct conn *conn)
{
	return conn->protocol->wants_read(conn) &&
	       transport_flush(&((struct conn *)(uintptr_t)conn)->transport) ==
		       0;
}

/* 0, -EAGAIN (nothing more came), or -errno: it is over. */
static int conn_input(struct conn *conn)
{
	for (int i = 0; i < READS_A_TURN && can_read(conn); i++) {
		ssize_t n = transport_read(&conn->transport, scratch,
					   sizeof(scratch));
		int err;

		if (n <= 0)
			return n ? (int)n : -ECONNRESET;
		conn->heard_ms = clock_ms();
		conn->server->stats.bytes_in += (uint64_t)n;
		err = conn->protocol->feed(conn, scratch, (size_t)n);
		if (err || conn->dead)
			return err ? err : -ECONNRESET;
	}
	return 0;
}

/* 0, -EAGAIN (blocked), 1 (more to do), or -errno. */
static int conn_output(struct conn *conn)
{
	for (int i = 0; i < WRITES_A_TURN; i++) {
		ssize_t n;
		int err = transport_flush(&conn->transport);

		if (err)
			return err;
		n = conn->protocol->produce(conn, scratch,
					    TRANSPORT_WRITE_SIZE);
		if (n <= 0 || conn->dead)
			return n < 0 ? (int)n : 0;
		conn->server->stats.bytes_out += (uint64_t)n;
		err = transport_write(&conn->transport, scratch, (size_t)n);
		if (err)
			return err;
	}
	return 1;
}

static void conn_await(struct conn *conn, bool blocked)
{
	uint32_t events = EPOLLRDHUP;

	if (blocked)
		events |= EPOLLOUT;
	else if (conn->protocol->wants_read(conn))
		events |= EPOLLIN;
	if (!blocked)
		transport_idle(&conn->transport);
	watch_events(conn->server->loop, &conn->watch, events);
}

static bool is_fatal(int result)
{
	return result < 0 && result != -EAGAIN;
}

/* Everything that can be done now, both ways. */
static void conn_serve(struct conn *conn, bool readable)
{
	int in, out = 0;

	conn->busy = true;
	in = readable ? conn_input(conn) : 0;
	/* One who broke the protocol is still told so. */
	if (!is_fatal(in) || in == -EPROTO)
		out = conn_output(conn);
	streams_bury(conn);
	conn->busy = false;
	if (conn->dead || is_fatal(in) || is_fatal(out) ||
	    (out == 0 && conn->protocol->finished(conn))) {
		conn_kill(conn);
		return;
	}
	conn_await(conn, out == -EAGAIN);
	if (out == 1)
		conn_work(conn);
}

/* ---- handshakes ---- */

static int start_protocol(struct conn *conn);

/* Until the peer closes as well, or has sent enough. */
static void conn_linger(struct conn *conn)
{
	ssize_t n = 0;

	for (int i = 0; i < READS_A_TURN; i++) {
		n = recv(conn->transport.fd, scratch, sizeof(scratch), 0);
		if (n <= 0)
			break;
	}
	if (n < 0 && errno == EAGAIN)
		watch_events(conn->server->loop, &conn->watch, EPOLLIN);
	else
		conn_kill(conn);
}

/* A close with bytes unread would reset the connection, and take the alert with
 * it that tells why: whoever showed a certificate has sent a request by now. */
static void handshake_failed(struct conn *conn)
{
	struct http_server *server = conn->server;

	server->stats.handshakes_failed++;
	if (conn->transport.tls)
		server->n_shaking--;
	tls_conn_free(conn->transport.tls);
	conn->transport.tls = NULL;
	shutdown(conn->transport.fd, SHUT_WR);
	conn->lingers = true;
	conn->idle_ms = clock_ms();
	conn_linger(conn);
}

static void handshake_done(struct conn *conn)
{
	struct http_server *server = conn->server;

	if (tls_peer(conn->transport.tls)->resumed)
		server->stats.handshakes_resumed++;
	else
		server->stats.handshakes_full++;
	if (start_protocol(conn) < 0)
		conn_kill(conn);
	else
		conn_serve(conn, true);
}

/* Its first bytes are there. */
static int begin_shake(struct conn *conn)
{
	struct http_server *server = conn->server;
	int err = tls_open(server->tls, conn->transport.fd, NULL,
			   &conn->transport.tls);

	if (err)
		return err;
	server->n_shaking++;
	conn->idle_ms = clock_ms();
	return 0;
}

static void conn_shake(struct conn *conn)
{
	int n = 0;

	if (!conn->transport.tls)
		n = begin_shake(conn);
	conn->heard_ms = clock_ms();
	while (n == 0)
		n = tls_handshake(conn->transport.tls);
	if (n == 1)
		handshake_done(conn);
	else if (n == -EAGAIN)
		watch_events(conn->server->loop, &conn->watch,
			     tls_events(conn->transport.tls));
	else
		handshake_failed(conn);
}

static void conn_ready(struct watch *w, uint32_t events)
{
	struct conn *conn = container_of(w, struct conn, watch);
	struct http_server *server = conn->server;

	if (conn->dead || conn->on_shake)
		return;
	if (conn->lingers) {
		conn_linger(conn);
		return;
	}
	if (shaking(conn)) {
		watch_events(server->loop, &conn->watch, 0);
		conn->on_shake = true;
		conn->shake_next = NULL;
		*server->shake_end = conn;
		server->shake_end = &conn->shake_next;
		if (!server->work_timer.deadline_ms)
			timer_set(server->loop, &server->work_timer, 0);
		return;
	}
	/* It went away while there was no reading from it. */
	if (events & (EPOLLERR | EPOLLHUP | EPOLLRDHUP) &&
	    !(conn->watch.events & EPOLLIN)) {
		conn_kill(conn);
		return;
	}
	conn_serve(conn, events & EPOLLIN);
}

/* Who goes on: rather one that has begun, so that few are under way at once and
 * each is quick when all come together; else one more. */
static struct conn *next_shake(struct http_server *server)
{
	struct conn *conn = server->shake;

	while (conn && !conn->transport.tls)
		conn = conn->shake_next;
	if (conn || server->n_shaking >= server->limits.handshakes)
		return conn;
	return server->shake;
}

static void shake_some(struct http_server *server)
{
	struct conn *conn;

	for (int i = 0; i < SHAKES_A_ROUND && (conn = next_shake(server));
	     i++) {
		leave_shake(conn);
		if (!conn->dead)
			conn_shake(conn);
	}
	server->crowded = server->shake && !next_shake(server);
}

static void on_work(struct timer *t)
{
	struct http_server *server = container_of(t, struct http_server,
						  work_timer);

	/* What is put there meanwhile is for the next round. */
	for (uint32_t n = server->n_work; n > 0 && server->work; n--) {
		struct conn *conn = server->work;

		leave_work(conn);
		if (conn->dead)
			conn_free(conn);
		else if (!shaking(conn))
			conn_serve(conn, false);
	}
	shake_some(server);
	if ((server->work || (server->shake && !server->crowded)) &&
	    !server->work_timer.deadline_ms)
		timer_set(server->loop, &server->work_timer, 0);
}

/* ---- accepting ---- */

static void remote_text(const struct sockaddr_storage *a, char text[48])
{
	const struct sockaddr_in6 *v6 = (const void *)a;
	const struct sockaddr_in *v4 = (const void *)a;

	text_copy(text, 48, "local");
	if (a->ss_family == AF_INET)
		inet_ntop(AF_INET, &v4->sin_addr, text, 48);
	else if (a->ss_family == AF_INET6 &&
		 IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr))
		inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], text, 48);
	else if (a->ss_family == AF_INET6)
		inet_ntop(AF_INET6, &v6->sin6_addr, text, 48);
}

static int start_protocol(struct conn *conn)
{
	bool h2 = conn->transport.tls &&
		  strcmp(tls_alpn(conn->transport.tls), "h2") == 0;
	int err = h2 ? http2_start(conn) : http1_start(conn);

	if (err)
		return err;
	conn->protocol = h2 ? &http2 : &http1;
	if (conn->transport.tls)
		conn->server->n_shaking--;
	conn->idle_ms = clock_ms();
	return 0;
}

struct conn *conn_new(struct http_server *server, int fd)
{
	struct conn *conn = calloc(1, sizeof(*conn));

	if (!conn)
		return NULL;
	conn->server = server;
	conn->watch.ready = conn_ready;
	conn->watch.fd = -1;
	conn->transport.fd = fd;
	conn->idle_ms = conn->heard_ms = conn->refill_ms = clock_ms();
	conn->flood = server->limits.floods;
	conn->next = server->conns;
	conn->prevp = &server->conns;
	if (conn->next)
		conn->next->prevp = &conn->next;
	server->conns = conn;
	server->stats.connections++;
	return conn;
}

/* Whom a new connection may push out where there are too many: one without
 * requests, rather one that showed no certificate; the oldest, since the list
 * has the newest first. */
static struct conn *find_victim(struct http_server *server)
{
	struct conn *named = NULL, *other = NULL;

	for (struct conn *c = server->conns; c; c = c->next) {
		if (c->dead || c->n_streams > 0)
			continue;
		if (!shaking(c) && c->transport.tls &&
		    tls_peer(c->transport.tls)->present)
			named = c;
		else
			other = c;
	}
	return other ? other : named;
}

static void refused(struct http_server *server)
{
	uint64_t now = clock_ms(), n;

	server->stats.refused_limits++;
	if (server->logged_ms && now - server->logged_ms < LOG_EVERY_MS)
		return;
	n = server->stats.refused_limits - server->logged;
	server->logged = server->stats.refused_limits;
	server->logged_ms = now;
	log_warning("server",
		    "at its limits: %llu connections or requests refused",
		    (unsigned long long)n);
}

/* False when there is nobody who could go. */
static bool push_out(struct http_server *server)
{
	struct conn *victim = find_victim(server);

	refused(server);
	if (victim)
		conn_kill(victim);
	return victim;
}

static void conn_begin(struct http_server *server, int fd,
		       const struct sockaddr_storage *from)
{
	bool full = server->stats.connections >= server->limits.connections;
	struct conn *conn = NULL;
	int one = 1, err = 0;

	if (!full || push_out(server))
		conn = conn_new(server, fd);
	if (!conn) {
		close(fd);
		return;
	}
	server->stats.accepted++;
	remote_text(from, conn->remote);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (!server->tls)
		err = start_protocol(conn);
	if (!err)
		err = watch_add(server->loop, &conn->watch, fd, EPOLLIN);
	if (err)
		conn_kill(conn);
}

static void on_accept(struct watch *w, uint32_t events)
{
	struct listener *listener = container_of(w, struct listener, watch);
	struct http_server *server = listener->server;

	for (int i = 0; i < ACCEPTS_A_TURN; i++) {
		struct sockaddr_storage from = { 0 };
		socklen_t size = sizeof(from);
		int fd = accept4(w->fd, (struct sockaddr *)&from, &size,
				 SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd >= 0) {
			conn_begin(server, fd, &from);
			continue;
		}
		/* Out of descriptors: the sweep opens the door again. */
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM ||
		    errno == ENOBUFS) {
			push_out(server);
			watch_events(server->loop, w, 0);
		}
		if (errno != ECONNABORTED && errno != EINTR)
			return;
	}
}

/* ---- time ---- */

static uint64_t since(uint64_t then, uint64_t now)
{
	return now > then ? now - then : 0;
}

/* The client owes bytes of its body, or does not take those of the reply. */
static bool owing(const struct stream *s)
{
	return (!s->ended && s->unconsumed == 0 && !s->patient) ||
	       (s->status && !s->paused && !s->source.ended);
}

static bool overdue(struct conn *conn, uint64_t now)
{
	const struct http_limits *limits = &conn->server->limits;

	if (conn->on_shake) /* it waits for us */
		return false;
	if (conn->lingers)
		return since(conn->idle_ms, now) > LINGER_MS;
	if (shaking(conn))
		return since(conn->idle_ms, now) >
			       (conn->transport.tls ? 1 : HELLO_TIMES) *
				       limits->handshake_ms ||
		       (conn->server->crowded && conn->transport.tls &&
			since(conn->heard_ms, now) > CROWDED_MS);
	return (conn->head_ms &&
		since(conn->head_ms, now) > limits->header_ms) ||
	       since(conn->heard_ms, now) > limits->silent_ms ||
	       (conn->n_streams == 0 &&
		since(conn->idle_ms, now) > limits->idle_ms);
}

/* Whether any stream needs a look again soon. A handler that hears that its
 * stream is gone may break off others: from the start again then. */
static bool reset_stalled(struct conn *conn, uint64_t now)
{
	uint32_t stall_ms = conn->server->limits.stall_ms;
	bool some = false;

	for (struct stream *s = conn->streams; s;) {
		if (!owing(s) || since(s->progress_ms, now) <= stall_ms) {
			some = some || owing(s);
			s = s->next;
			continue;
		}
		conn->server->stats.timed_out++;
		http_abort(&s->request);
		s = conn->streams;
	}
	return some;
}

/* How often when nothing hurries. */
static uint32_t sweep_ms(const struct http_server *server)
{
	const struct http_limits *l = &server->limits;
	uint32_t ms = l->handshake_ms;

	if (ms > l->header_ms)
		ms = l->header_ms;
	return ms > l->stall_ms ? l->stall_ms : ms;
}

static void on_sweep(struct timer *t)
{
	struct http_server *server = container_of(t, struct http_server,
						  sweep_timer);
	uint64_t now = clock_ms();
	bool hurry = server->n_shaking > 0;

	for (struct conn *conn = server->conns; conn; conn = conn->next) {
		if (conn->dead)
			continue;
		if (reset_stalled(conn, now) || conn->head_ms)
			hurry = true;
		hurry |= conn->lingers;
		if (overdue(conn, now)) {
			server->stats.timed_out += !conn->lingers;
			conn_kill(conn);
		}
	}
	for (unsigned i = 0; i < server->n_listeners; i++)
		watch_events(server->loop, &server->listeners[i].watch,
			     EPOLLIN);
	timer_set(server->loop, t, sweep_ms(server) / (hurry ? 10 : 1));
}

/* ---- server ---- */

static uint32_t or_default(uint32_t value, uint32_t otherwise)
{
	return value ? value : otherwise;
}

static void set_limits(struct http_limits *l)
{
	l->connections = or_default(l->connections, 10000);
	l->handshakes = or_default(l->handshakes, 1024);
	l->streams = or_default(l->streams, 64);
	l->header_bytes = or_default(l->header_bytes, 16384);
	l->window_bytes = or_default(l->window_bytes, 262144);
	l->handshake_ms = or_default(l->handshake_ms, 10000);
	l->header_ms = or_default(l->header_ms, 10000);
	l->stall_ms = or_default(l->stall_ms, 60000);
	l->idle_ms = or_default(l->idle_ms, 120000);
	l->silent_ms = or_default(l->silent_ms, 800000);
	l->floods = or_default(l->floods, 200);
}

/* Nobody is left, or they had time enough: then once more when they are gone.
 * The last thing done with the server, which may be freed in it. */
static void on_drain_end(struct timer *t)
{
	struct http_server *server = container_of(t, struct http_server,
						  drain_timer);
	void (*tell)(void *) = server->drained;

	for (struct conn *conn = server->conns; conn; conn = conn->next)
		conn_kill(conn);
	if (server->conns || !tell)
		return;
	server->drained = NULL;
	tell(server->drained_user);
}

int http_server_new(const struct http_server_config *config,
		    struct http_server **out)
{
	struct http_server *server = calloc(1, sizeof(*server));

	*out = server;
	if (!server)
		return -ENOMEM;
	server->loop = config->loop;
	server->tls = config->tls;
	server->request = config->request;
	server->user = config->user;
	server->limits = config->limits;
	set_limits(&server->limits);
	server->shake_end = &server->shake;
	server->work_end = &server->work;
	server->work_timer.fire = on_work;
	server->sweep_timer.fire = on_sweep;
	server->drain_timer.fire = on_drain_end;
	timer_set(server->loop, &server->sweep_timer, sweep_ms(server) / 10);
	return 0;
}

int http_server_listen(struct http_server *server, int listen_fd)
{
	struct listener *listener = &server->listeners[server->n_listeners];
	int err;

	if (server->n_listeners == LISTENERS_MAX)
		return -EMFILE;
	listener->server = server;
	listener->watch.ready = on_accept;
	err = watch_add(server->loop, &listener->watch, listen_fd, EPOLLIN);
	if (!err)
		server->n_listeners++;
	return err;
}

const struct http_stats *http_server_stats(const struct http_server *server)
{
	return &server->stats;
}

static void stop_listening(struct http_server *server)
{
	for (unsigned i = 0; i < server->n_listeners; i++)
		watch_del(server->loop, &server->listeners[i].watch);
	server->n_listeners = 0;
}

void http_server_drain(struct http_server *server, uint32_t timeout_ms,
		       void (*tell)(void *user), void *user)
{
	stop_listening(server);
	server->draining = true;
	server->drained = tell;
	server->drained_user = user;
	/* With no connection there is nothing that would end it. */
	timer_set(server->loop, &server->drain_timer,
		  server->conns ? timeout_ms : 0);
	for (struct conn *conn = server->conns; conn; conn = conn->next) {
		conn->draining = true;
		if (shaking(conn))
			conn_kill(conn);
		else
			conn->protocol->drain(conn);
		conn_work(conn);
	}
}

void http_server_free(struct http_server *server)
{
	if (!server)
		return;
	stop_listening(server);
	server->draining = false;
	while (server->conns)
		conn_free(server->conns);
	timer_cancel(&server->work_timer);
	timer_cancel(&server->sweep_timer);
	timer_cancel(&server->drain_timer);
	free(server);
}
