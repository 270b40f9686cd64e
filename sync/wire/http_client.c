/* The client's connection: resolve, connect, TLS, then HTTP/2, each state
 * driven by the one watch.
 *
 * Callbacks may free the client. Inside nghttp2 that only marks it (`busy`);
 * who set busy looks at `freed` when it is done. closed() is the last thing
 * done with a client, for it usually ends with http_client_free(). */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fd.h"
#include "http_client_conn.h"

enum {
	OPEN_MS = 15000,
	CONNECT_MS = 4000, /* before the next address is tried */
	WINDOW_BYTES = 1 << 20,
	CONNECTION_WINDOWS = 4,
	TURNS = 16,
};

static uint8_t scratch[TRANSPORT_READ_SIZE];

static void destroy(struct http_client *client)
{
	calls_bury(client);
	timer_cancel(&client->work_timer);
	timer_cancel(&client->connect_timer);
	timer_cancel(&client->limit_timer);
	nghttp2_session_del(client->session);
	free(client->session_offer);
	free(client);
}

/* What holds descriptors; the rest lives until it is freed. */
static void hang_up(struct http_client *client)
{
	client->state = CLIENT_CLOSED;
	watch_del(client->loop, &client->watch);
	timer_cancel(&client->work_timer);
	timer_cancel(&client->connect_timer);
	timer_cancel(&client->limit_timer);
	resolve_stop(&client->dial.resolve);
	transport_close(&client->transport);
}

bool client_enter(struct http_client *client)
{
	bool was_busy = client->busy;

	client->busy = true;
	return was_busy;
}

bool client_leave(struct http_client *client, bool was_busy)
{
	client->busy = was_busy;
	if (was_busy || !client->freed)
		return false;
	destroy(client);
	return true;
}

/* The end, told once; the client may be gone when this returns. */
static void finish(struct http_client *client, int error, const char *why)
{
	bool busy;

	if (client->state == CLIENT_CLOSED)
		return;
	snprintf(client->why, sizeof(client->why), "%s:%u: %s",
		 client->dial.host, client->dial.port, why);
	hang_up(client);
	busy = client_enter(client);
	while (client->calls)
		call_over(client->calls, error ? error : -ECONNRESET);
	if (!client_leave(client, busy))
		client->on->closed(client, error, client->why);
}

static void finish_tls(struct http_client *client, int error)
{
	char why[CLIENT_WHY_SIZE];

	text_copy(why, sizeof(why), transport_error(&client->transport));
	finish(client, error, why);
}

void client_work(struct http_client *client)
{
	if (client->busy || client->work_timer.deadline_ms ||
	    (client->state != CLIENT_OPEN && !client->closing) ||
	    client->state == CLIENT_CLOSED)
		return;
	timer_set(client->loop, &client->work_timer, 0);
}

/* ---- open: bytes both ways ---- */

static void give_session(struct http_client *client)
{
	char buf[TLS_SESSION_MAX];
	size_t n = tls_session_take(client->transport.tls, buf);

	if (n && client->on->session && !client->freed)
		client->on->session(client, (struct span){ buf, n });
	explicit_bzero(buf, sizeof(buf));
}

/* 0, -EAGAIN, or -errno; always reads, since the other side may not while its
 * own output is blocked. */
static int input(struct http_client *client)
{
	for (int i = 0; i < TURNS; i++) {
		ssize_t n = transport_read(&client->transport, scratch,
					   sizeof(scratch));

		give_session(client);
		if (n <= 0)
			return n ? (int)n : -ECONNRESET;
		client->heard_ms = clock_ms();
		if (nghttp2_session_mem_recv2(client->session, scratch,
					      (size_t)n) < 0)
			return -EPROTO;
		if (client->freed)
			return 0;
	}
	return 0;
}

static ssize_t produce(struct http_client *client, uint8_t *buf, size_t size)
{
	size_t used = 0;

	while (used < size) {
		size_t n;

		if (client->out_size == 0) {
			nghttp2_ssize rc = nghttp2_session_mem_send2(
				client->session, &client->out);

			if (rc < 0)
				return -EPROTO;
			if (rc == 0)
				break;
			client->out_size = (size_t)rc;
		}
		n = client->out_size < size - used ? client->out_size
						   : size - used;
		memcpy(buf + used, client->out, n);
		client->out += n;
		client->out_size -= n;
		used += n;
	}
	return (ssize_t)used;
}

/* 0: all sent; -EAGAIN: blocked; 1: more; -errno. */
static int output(struct http_client *client)
{
	for (int i = 0; i < TURNS; i++) {
		ssize_t n;
		int err = transport_flush(&client->transport);

		if (err)
			return err;
		n = produce(client, scratch, TRANSPORT_WRITE_SIZE);
		if (n <= 0)
			return (int)n;
		err = transport_write(&client->transport, scratch, (size_t)n);
		if (err)
			return err;
	}
	return 1;
}

static bool is_fatal(int result)
{
	return result < 0 && result != -EAGAIN;
}

/* Whether both sides have nothing more to say. */
static bool said_all(struct http_client *client, int out)
{
	if (out != 0 || client->calls)
		return false;
	return client->closing || client->going_away ||
	       (!nghttp2_session_want_read(client->session) &&
		!nghttp2_session_want_write(client->session));
}

static void serve(struct http_client *client, bool readable)
{
	bool busy = client_enter(client);
	int in = 0, out = 0;

	if (readable && !client->freed)
		in = input(client);
	if (!client->freed && (!is_fatal(in) || in == -EPROTO))
		out = output(client);
	calls_bury(client);
	if (client_leave(client, busy))
		return;
	if (said_all(client, out)) {
		finish(client, 0, "closed");
	} else if (in == -EPROTO || out == -EPROTO) {
		finish_tls(client, -EPROTO);
	} else if (is_fatal(in) || is_fatal(out)) {
		finish_tls(client, is_fatal(in) ? in : out);
	} else {
		watch_events(client->loop, &client->watch,
			     EPOLLIN | (out == -EAGAIN ? EPOLLOUT : 0));
		if (out == 0)
			transport_idle(&client->transport);
		if (out == 1)
			client_work(client);
	}
}

/* ---- on the way there ---- */

static int start_http2(struct http_client *client)
{
	nghttp2_settings_entry entries[] = {
		{ NGHTTP2_SETTINGS_ENABLE_PUSH, 0 },
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, client->window_bytes },
		{ NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, 0 },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, CLIENT_HEADER_BYTES },
	};
	nghttp2_option *option;
	int rc;

	if (nghttp2_option_new(&option) != 0)
		return -ENOMEM;
	nghttp2_option_set_no_auto_window_update(option, 1);
	nghttp2_option_set_no_closed_streams(option, 1);
	nghttp2_option_set_max_deflate_dynamic_table_size(option, 0);
	rc = call_callbacks() ? nghttp2_session_client_new2(&client->session,
							    call_callbacks(),
							    client, option)
			      : -1;
	nghttp2_option_del(option);
	if (rc != 0 ||
	    nghttp2_submit_settings(client->session, NGHTTP2_FLAG_NONE, entries,
				    sizeof(entries) / sizeof(entries[0])) !=
		    0 ||
	    nghttp2_session_set_local_window_size(
		    client->session, NGHTTP2_FLAG_NONE, 0,
		    (int32_t)(CONNECTION_WINDOWS * client->window_bytes)) != 0)
		return -ENOMEM;
	return 0;
}

static struct http_call *waiting_call(const struct http_client *client)
{
	struct http_call *call = client->calls;

	while (call && call->id >= 0)
		call = call->next;
	return call;
}

static void opened(struct http_client *client)
{
	struct http_call *call;
	bool busy;

	if (strcmp(tls_alpn(client->transport.tls), "h2") != 0) {
		finish(client, -EPROTO, "does not speak HTTP/2");
		return;
	}
	if (start_http2(client) < 0) {
		finish(client, -ENOMEM, "out of memory");
		return;
	}
	timer_cancel(&client->limit_timer);
	client->state = CLIENT_OPEN;
	client->heard_ms = clock_ms();
	busy = client_enter(client);
	client->on->open(client);
	while ((call = waiting_call(client)))
		if (call_submit(call) < 0)
			call_over(call, -ENOMEM);
	if (!client_leave(client, busy))
		serve(client, true);
}

static void shake(struct http_client *client)
{
	int n;

	do
		n = tls_handshake(client->transport.tls);
	while (n == 0);
	if (n == 1)
		opened(client);
	else if (n == -EAGAIN)
		watch_events(client->loop, &client->watch,
			     tls_events(client->transport.tls));
	else
		finish_tls(client, n);
}

static void start_tls(struct http_client *client)
{
	int err = tls_open(client->tls, client->transport.fd, client->dial.host,
			   &client->transport.tls);

	if (err) {
		finish(client, err, "out of memory");
		return;
	}
	tls_session_offer(client->transport.tls,
			  (struct span){ client->session_offer,
					 client->session_offer_size });
	client->state = CLIENT_SHAKING;
	shake(client);
}

/* Tries the addresses in turn; the last one's error is told. */
static void connect_next(struct http_client *client, int error)
{
	int fd;

	watch_del(client->loop, &client->watch);
	fd_close(&client->transport.fd);
	client->state = CLIENT_CONNECTING;
	while ((fd = dial_connect(&client->dial)) < 0) {
		if (fd == -ENOENT) {
			finish(client, error ? error : -EHOSTUNREACH,
			       strerror(error ? -error : EHOSTUNREACH));
			return;
		}
		error = fd;
	}
	client->transport.fd = fd;
	if (watch_add(client->loop, &client->watch, fd, EPOLLOUT) < 0)
		finish(client, -ENOMEM, "cannot watch it");
	else if (client->dial.next < client->dial.resolve.n)
		timer_set(client->loop, &client->connect_timer, CONNECT_MS);
}

static void connected(struct http_client *client)
{
	socklen_t size = sizeof(int);
	int error = 0;

	timer_cancel(&client->connect_timer);
	if (getsockopt(client->transport.fd, SOL_SOCKET, SO_ERROR, &error,
		       &size) < 0)
		error = errno;
	if (error)
		connect_next(client, -error);
	else
		start_tls(client);
}

static void resolved(struct http_client *client)
{
	/* The watch first: the descriptor is closed with the answer. */
	int pipe = client->dial.resolve.pipe;

	watch_del(client->loop, &client->watch);
	if (resolve_answer(&client->dial.resolve) == -EAGAIN) {
		if (watch_add(client->loop, &client->watch, pipe, EPOLLIN) < 0)
			finish(client, -ENOMEM, "cannot watch it");
		return;
	}
	if (client->dial.resolve.n == 0)
		finish(client, -EHOSTUNREACH, "its name is not known here");
	else
		connect_next(client, 0);
}

static void start(struct http_client *client)
{
	int err;

	if (client->dial.resolve.n > 0) {
		connect_next(client, 0);
		return;
	}
	client->state = CLIENT_RESOLVING;
	err = dial_resolve(&client->dial);
	if (!err)
		err = watch_add(client->loop, &client->watch,
				client->dial.resolve.pipe, EPOLLIN);
	if (err)
		finish(client, err, "cannot resolve its name");
}

static void on_ready(struct watch *w, uint32_t events)
{
	struct http_client *client = container_of(w, struct http_client, watch);

	switch (client->state) {
	case CLIENT_RESOLVING:
		resolved(client);
		break;
	case CLIENT_CONNECTING:
		connected(client);
		break;
	case CLIENT_SHAKING:
		shake(client);
		break;
	case CLIENT_OPEN:
		serve(client, events & (EPOLLIN | EPOLLHUP | EPOLLERR));
		break;
	case CLIENT_NEW:
	case CLIENT_CLOSED:
		break;
	}
}

static void on_work(struct timer *t)
{
	struct http_client *client = container_of(t, struct http_client,
						  work_timer);

	switch (client->state) {
	case CLIENT_NEW:
		start(client);
		break;
	case CLIENT_OPEN:
		serve(client, false);
		break;
	case CLIENT_RESOLVING:
	case CLIENT_CONNECTING:
	case CLIENT_SHAKING:
		if (client->closing)
			finish(client, 0, "closed");
		break;
	case CLIENT_CLOSED:
		break;
	}
}

static void on_connect_timeout(struct timer *t)
{
	connect_next(container_of(t, struct http_client, connect_timer),
		     -ETIMEDOUT);
}

/* Not open in time, or silent after a ping. */
static void on_limit(struct timer *t)
{
	struct http_client *client = container_of(t, struct http_client,
						  limit_timer);
	uint64_t silent = clock_ms() - client->heard_ms;

	if (client->state != CLIENT_OPEN)
		finish(client, -ETIMEDOUT, "did not answer in time");
	else if (client->heard_ms > client->pinged_ms &&
		 silent < client->ping_timeout_ms)
		timer_set(client->loop, t, client->ping_timeout_ms - silent);
	else
		finish(client, -ETIMEDOUT, "silent");
}

/* ---- public ---- */

int http_client_new(const struct http_client_config *config,
		    struct http_client **out)
{
	struct http_client *client = calloc(1, sizeof(*client));
	int err;

	*out = NULL;
	if (!client)
		return -ENOMEM;
	client->watch.ready = on_ready;
	client->watch.fd = -1;
	client->transport.fd = -1;
	client->work_timer.fire = on_work;
	client->connect_timer.fire = on_connect_timeout;
	client->limit_timer.fire = on_limit;
	client->loop = config->loop;
	client->tls = config->tls;
	client->on = config->on;
	client->user = config->user;
	client->window_bytes = config->window_bytes ? config->window_bytes
						    : WINDOW_BYTES;
	err = dial_parse(&client->dial, config->address);
	if (!err && config->session.size) {
		client->session_offer = malloc(config->session.size);
		if (!client->session_offer)
			err = -ENOMEM;
		else
			memcpy(client->session_offer, config->session.data,
			       config->session.size);
		client->session_offer_size = config->session.size;
	}
	if (err) {
		destroy(client);
		return err;
	}
	timer_set(client->loop, &client->work_timer, 0);
	timer_set(client->loop, &client->limit_timer,
		  config->open_ms ? config->open_ms : OPEN_MS);
	*out = client;
	return 0;
}

void *http_client_user(const struct http_client *client)
{
	return client->user;
}

const struct tls_peer *http_client_peer(const struct http_client *client)
{
	static const struct tls_peer nobody;

	return client->transport.tls ? tls_peer(client->transport.tls)
				     : &nobody;
}

void http_ping(struct http_client *client, uint32_t timeout_ms)
{
	if (client->state != CLIENT_OPEN)
		return;
	client->pinged_ms = clock_ms();
	client->ping_timeout_ms = timeout_ms;
	timer_set(client->loop, &client->limit_timer, timeout_ms);
	nghttp2_submit_ping(client->session, NGHTTP2_FLAG_NONE, NULL);
	client_work(client);
}

void http_client_close(struct http_client *client)
{
	client->closing = true;
	if (client->state == CLIENT_OPEN)
		nghttp2_submit_goaway(client->session, NGHTTP2_FLAG_NONE, 0,
				      NGHTTP2_NO_ERROR, NULL, 0);
	client_work(client);
}

void http_client_free(struct http_client *client)
{
	bool busy;

	if (!client || client->freed)
		return;
	client->freed = true;
	if (client->state != CLIENT_CLOSED)
		hang_up(client);
	busy = client_enter(client);
	while (client->calls)
		call_over(client->calls, -ECANCELED);
	client_leave(client, busy);
}
