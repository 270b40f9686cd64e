/* Calls: one HTTP/2 stream each. A call that is over waits on
 * client->dead_calls until no code can hold it any more. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fd.h"
#include "http_client_conn.h"

enum { CALL_HEADERS_MAX = 24, FRAME_HEAD_SIZE = 9 };

struct fetch {
	char *data;
	size_t size, room, max;
	bool too_big;
	void (*reply)(void *user, int error, int status, struct span body);
	void *user;
};

static struct http_call *call_at(nghttp2_session *session, int32_t id)
{
	return nghttp2_session_get_stream_user_data(session, id);
}

static void link_to(struct http_call **list, struct http_call *call)
{
	call->next = *list;
	call->prevp = list;
	if (call->next)
		call->next->prevp = &call->next;
	*list = call;
}

static void unlink_from(struct http_call *call)
{
	*call->prevp = call->next;
	if (call->next)
		call->next->prevp = call->prevp;
}

/* ---- the end ---- */

static void call_free(struct http_call *call)
{
	timer_cancel(&call->timer);
	source_close(&call->source);
	fields_free(&call->request);
	fields_free(&call->reply);
	if (call->fetch)
		free(call->fetch->data);
	free(call->fetch);
	free(call);
}

void calls_bury(struct http_client *client)
{
	while (client->dead_calls) {
		struct http_call *call = client->dead_calls;

		unlink_from(call);
		call_free(call);
	}
}

static void fetch_over(struct fetch *fetch, int error, int status)
{
	struct span body = { fetch->data ? fetch->data : "", fetch->size };

	if (fetch->too_big)
		error = -EFBIG;
	if (error)
		body.size = 0;
	fetch->reply(fetch->user, error, status, body);
}

void call_over(struct http_call *call, int error)
{
	struct http_client *client = call->client;

	if (call->over)
		return;
	call->over = true;
	timer_cancel(&call->timer);
	if (call->id >= 0 && client->session) {
		nghttp2_session_set_stream_user_data(client->session, call->id,
						     NULL);
		nghttp2_session_consume_connection(client->session,
						   call->unconsumed);
	}
	call->unconsumed = 0;
	source_close(&call->source);
	unlink_from(call);
	link_to(&client->dead_calls, call);
	if (call->fetch)
		fetch_over(call->fetch, error, call->status);
	else if (call->on->done)
		call->on->done(call, error, call->status);
}

/* Over by our own wish: the server is told. */
static void break_off(struct http_call *call, int error)
{
	struct http_client *client = call->client;
	bool busy;

	if (call->over)
		return;
	busy = client_enter(client);
	if (call->id >= 0 && client->session)
		nghttp2_submit_rst_stream(client->session, NGHTTP2_FLAG_NONE,
					  call->id, NGHTTP2_CANCEL);
	call_over(call, error);
	if (!client_leave(client, busy))
		client_work(client);
}

static void on_timeout(struct timer *t)
{
	break_off(container_of(t, struct http_call, timer), -ETIMEDOUT);
}

/* ---- what comes ---- */

static int on_header(nghttp2_session *session, const nghttp2_frame *frame,
		     const uint8_t *name, size_t name_size,
		     const uint8_t *value, size_t value_size, uint8_t flags,
		     void *user)
{
	struct http_call *call = call_at(session, frame->hd.stream_id);
	struct span key = { (const char *)name, name_size };
	struct span text = { (const char *)value, value_size };
	uint64_t status;

	if (!call || call->head_done) /* trailers */
		return 0;
	if (span_is(key, ":status")) {
		/* Of an interim reply nothing is kept. */
		fields_free(&call->reply);
		call->status = span_u64(text, 999, &status) ? 0 : (int)status;
		return 0;
	}
	return fields_add(&call->reply, key, text, CLIENT_HEADER_BYTES)
		       ? NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE
		       : 0;
}

static void on_ping_back(struct http_client *client)
{
	timer_cancel(&client->limit_timer);
	if (client->on->pong && !client->freed)
		client->on->pong(client,
				 (uint32_t)(clock_ms() - client->pinged_ms));
}

static void on_goaway(struct http_client *client)
{
	if (client->going_away)
		return;
	client->going_away = true;
	if (client->on->goaway && !client->freed)
		client->on->goaway(client);
}

static void on_head(struct http_call *call)
{
	if (call->head_done || call->status / 100 == 1)
		return;
	call->head_done = true;
	if (!call->fetch && call->on->head)
		call->on->head(call, call->status);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame,
		    void *user)
{
	struct http_client *client = user;
	struct http_call *call = call_at(session, frame->hd.stream_id);

	if (frame->hd.type == NGHTTP2_PING &&
	    frame->hd.flags & NGHTTP2_FLAG_ACK)
		on_ping_back(client);
	if (frame->hd.type == NGHTTP2_GOAWAY)
		on_goaway(client);
	if (!call)
		return 0;
	if (frame->hd.type == NGHTTP2_HEADERS)
		on_head(call);
	if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM &&
	    (frame->hd.type == NGHTTP2_HEADERS ||
	     frame->hd.type == NGHTTP2_DATA))
		call->ended = true;
	return 0;
}

static int fetch_grow(struct fetch *fetch, size_t need)
{
	size_t room = fetch->room ? fetch->room : 1024;
	char *data;

	while (room < need)
		room *= 2;
	if (room == fetch->room)
		return 0;
	data = realloc(fetch->data, room);
	if (!data)
		return -ENOMEM;
	fetch->data = data;
	fetch->room = room;
	return 0;
}

static void fetch_body(struct http_call *call, const uint8_t *bytes, size_t n)
{
	struct fetch *fetch = call->fetch;

	http_call_consumed(call, n);
	if (fetch->size + n > fetch->max) {
		fetch->too_big = true;
		break_off(call, -EFBIG);
		return;
	}
	if (fetch_grow(fetch, fetch->size + n + 1) < 0) {
		break_off(call, -ENOMEM);
		return;
	}
	memcpy(fetch->data + fetch->size, bytes, n);
	fetch->size += n;
	fetch->data[fetch->size] = '\0';
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id,
		   const uint8_t *bytes, size_t n, void *user)
{
	struct http_call *call = call_at(session, id);

	if (!call) {
		nghttp2_session_consume_connection(session, n);
		return 0;
	}
	call->unconsumed += n;
	if (call->fetch)
		fetch_body(call, bytes, n);
	else if (call->on->body)
		call->on->body(call, (struct span){ (const char *)bytes, n });
	else
		http_call_consumed(call, n);
	return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t error,
		    void *user)
{
	struct http_call *call = call_at(session, id);

	if (call)
		call_over(call,
			  call->ended && call->head_done ? 0 : -ECONNRESET);
	return 0;
}

nghttp2_session_callbacks *call_callbacks(void)
{
	static nghttp2_session_callbacks *c;

	if (c || nghttp2_session_callbacks_new(&c) != 0)
		return c;
	nghttp2_session_callbacks_set_on_header_callback(c, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(c, on_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(c, on_close);
	return c;
}

/* ---- what goes ---- */

static nghttp2_ssize read_body(nghttp2_session *session, int32_t id,
			       uint8_t *buf, size_t size, uint32_t *flags,
			       nghttp2_data_source *source, void *user)
{
	struct http_call *call = call_at(session, id);
	ssize_t n;

	if (!call)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	if (size > TRANSPORT_WRITE_SIZE - FRAME_HEAD_SIZE)
		size = TRANSPORT_WRITE_SIZE - FRAME_HEAD_SIZE;
	n = source_read(&call->source, buf, size);
	if (n == -EAGAIN)
		return NGHTTP2_ERR_DEFERRED;
	if (n < 0)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	if (call->source.ended)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return n;
}

int call_submit(struct http_call *call)
{
	nghttp2_data_provider2 body = { .read_callback = read_body };
	nghttp2_nv nv[CALL_HEADERS_MAX];
	const char *p = call->request.text;
	size_t n = 0;

	while (p < call->request.text + call->request.used) {
		const char *value = p + strlen(p) + 1;

		nv[n++] = (nghttp2_nv){
			.name = (uint8_t *)(uintptr_t)p,
			.namelen = strlen(p),
			.value = (uint8_t *)(uintptr_t)value,
			.valuelen = strlen(value),
		};
		p = value + strlen(value) + 1;
	}
	call->id = nghttp2_submit_request2(call->client->session, NULL, nv, n,
					   call->has_body ? &body : NULL, call);
	fields_free(&call->request);
	return call->id < 0 ? -ENOMEM : 0;
}

static int add(struct http_call *call, const char *name, const char *value)
{
	if (call->request.n == CALL_HEADERS_MAX)
		return -E2BIG;
	return fields_add(&call->request, span_of(name), span_of(value),
			  CLIENT_HEADER_BYTES);
}

static int add_all(struct http_call *call,
		   const struct http_call_config *config)
{
	const struct dial *dial = &call->client->dial;
	char authority[DIAL_HOST_SIZE + 10], length[24];
	int64_t size = source_length(&call->source);
	int err;

	snprintf(authority, sizeof(authority),
		 strchr(dial->host, ':') ? "[%s]:%u" : "%s:%u", dial->host,
		 dial->port);
	snprintf(length, sizeof(length), "%lld", (long long)size);
	err = add(call, ":method", config->method);
	err = err ? err : add(call, ":scheme", "https");
	err = err ? err : add(call, ":authority", authority);
	err = err ? err : add(call, ":path", config->path);
	if (!err && call->has_body && size >= 0)
		err = add(call, "content-length", length);
	for (size_t i = 0; i < config->n_headers && !err; i++)
		err = add(call, config->headers[i].name,
			  config->headers[i].value);
	return err;
}

static int start(struct http_call *call, const struct http_call_config *config)
{
	struct http_client *client = call->client;
	int err = add_all(call, config);

	if (!err && client->state == CLIENT_OPEN)
		err = call_submit(call);
	if (err)
		return err;
	if (config->timeout_ms)
		timer_set(client->loop, &call->timer, config->timeout_ms);
	link_to(&client->calls, call);
	client_work(client);
	return 0;
}

static bool takes_calls(const struct http_client *client)
{
	return !client->going_away && !client->closing && !client->freed &&
	       client->state != CLIENT_CLOSED;
}

static int call_new(struct http_client *client,
		    const struct http_call_config *config, void *pull_user,
		    struct http_call **out)
{
	struct http_call *call = calloc(1, sizeof(*call));
	struct source source;
	int err = source_open(&source, config->body, pull_user);

	*out = NULL;
	if (!call)
		err = -ENOMEM;
	if (!err && !takes_calls(client))
		err = -ESHUTDOWN;
	if (err) {
		source_close(&source);
		free(call);
		return err;
	}
	call->client = client;
	call->id = -1;
	call->on = config->on;
	call->user = config->user;
	call->timer.fire = on_timeout;
	call->source = source;
	call->has_body = config->body.kind != HTTP_BODY_NONE;
	err = start(call, config);
	if (err)
		call_free(call);
	else
		*out = call;
	return err;
}

/* ---- public ---- */

int http_call(struct http_client *client, const struct http_call_config *config,
	      struct http_call **call)
{
	struct http_call *unused;

	return call_new(client, config, config->user, call ? call : &unused);
}

int http_fetch(struct http_client *client,
	       const struct http_call_config *config, size_t max_bytes,
	       void (*reply)(void *user, int error, int status,
			     struct span body),
	       void *user)
{
	struct fetch *fetch = calloc(1, sizeof(*fetch));
	struct http_call *call;
	int err;

	if (!fetch)
		return -ENOMEM;
	*fetch = (struct fetch){ .max = max_bytes,
				 .reply = reply,
				 .user = user };
	err = call_new(client, config, user, &call);
	if (err)
		free(fetch);
	else
		call->fetch = fetch;
	return err;
}

void *http_call_user(const struct http_call *call)
{
	return call->user;
}

struct http_client *http_call_client(const struct http_call *call)
{
	return call->client;
}

const char *http_call_header(const struct http_call *call, const char *name)
{
	return fields_get(&call->reply, name);
}

void http_call_consumed(struct http_call *call, size_t n)
{
	if (n > call->unconsumed)
		n = call->unconsumed;
	call->unconsumed -= n;
	if (n == 0 || call->over)
		return;
	nghttp2_session_consume(call->client->session, call->id, n);
	client_work(call->client);
}

void http_call_resume(struct http_call *call)
{
	if (call->over || call->id < 0 || !call->client->session)
		return;
	nghttp2_session_resume_data(call->client->session, call->id);
	client_work(call->client);
}

void http_call_cancel(struct http_call *call)
{
	break_off(call, -ECANCELED);
}
