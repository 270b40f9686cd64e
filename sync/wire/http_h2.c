/* HTTP/2 of the server, on nghttp2 (RFC 9113).
 *
 * Nothing is compressed with a table of its own: an idle connection then keeps
 * none, and requests are small. Flow control is by hand, so that a client sends
 * no more of a body than its handler has dealt with. One DATA frame fits one
 * TLS record, so a body passes through no further buffer.
 *
 * Floods: nghttp2 bounds what it keeps itself (acknowledgements in its queue,
 * CONTINUATION frames, settings, resets); conn_flood() bounds the rate of all
 * frames that make us work for nothing. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <nghttp2/nghttp2.h>

#include "http_conn.h"

enum {
	FRAME_HEAD_SIZE = 9,
	CONNECTION_WINDOWS = 4, /* windows of one stream in a connection's */
	ACKS_MAX = 100,
};

struct h2 {
	nghttp2_session *session;
	const uint8_t *out; /* of nghttp2, not yet taken */
	size_t out_size;
};

static nghttp2_session *session_of(const struct conn *conn)
{
	return ((struct h2 *)conn->engine)->session;
}

static struct stream *stream_at(nghttp2_session *session, int32_t id)
{
	return nghttp2_session_get_stream_user_data(session, id);
}

/* ---- in ---- */

/* Frames that carry nothing but make us look, whether or not their stream still
 * exists. */
static bool is_idle_talk(const nghttp2_frame_hd *head)
{
	switch (head->type) {
	case NGHTTP2_HEADERS:
	case NGHTTP2_CONTINUATION:
	case NGHTTP2_WINDOW_UPDATE:
		return false;
	case NGHTTP2_DATA:
		return head->length == 0 &&
		       !(head->flags & NGHTTP2_FLAG_END_STREAM);
	default:
		return true;
	}
}

static int on_begin_frame(nghttp2_session *session,
			  const nghttp2_frame_hd *head, void *user)
{
	return is_idle_talk(head) && !conn_flood(user)
		       ? NGHTTP2_ERR_CALLBACK_FAILURE
		       : 0;
}

static int on_begin_headers(nghttp2_session *session,
			    const nghttp2_frame *frame, void *user)
{
	struct conn *conn = user;
	struct stream *stream;

	if (!conn->head_ms)
		conn->head_ms = clock_ms();
	if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	stream = stream_new(conn, frame->hd.stream_id);
	if (!stream)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	nghttp2_session_set_stream_user_data(session, stream->id, stream);
	return 0;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame,
		     const uint8_t *name, size_t name_size,
		     const uint8_t *value, size_t value_size, uint8_t flags,
		     void *user)
{
	struct conn *conn = user;
	struct stream *stream = stream_at(session, frame->hd.stream_id);
	struct span key = { (const char *)name, name_size };
	int err;

	/* Trailers are not looked at. */
	if (!stream || frame->headers.cat != NGHTTP2_HCAT_REQUEST ||
	    stream->too_large)
		return 0;
	if (span_is(key, ":authority"))
		key = span_of("host");
	err = fields_add(&stream->fields, key,
			 (struct span){ (const char *)value, value_size },
			 conn->server->limits.header_bytes);
	if (err == -E2BIG)
		stream->too_large = true;
	else if (err)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	return 0;
}

static void on_request(struct stream *stream)
{
	const char *method, *path;

	fields_trim(&stream->fields);
	method = fields_get(&stream->fields, ":method");
	path = fields_get(&stream->fields, ":path");
	stream_dispatch(stream, method ? method : "", path ? path : "");
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame,
		    void *user)
{
	struct conn *conn = user;
	struct stream *stream = stream_at(session, frame->hd.stream_id);

	if (frame->hd.type == NGHTTP2_HEADERS) {
		conn->head_ms = 0;
		if (stream && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
			on_request(stream);
	}
	/* The handler may have broken it off meanwhile. */
	stream = stream_at(session, frame->hd.stream_id);
	if (stream && frame->hd.flags & NGHTTP2_FLAG_END_STREAM &&
	    (frame->hd.type == NGHTTP2_DATA ||
	     frame->hd.type == NGHTTP2_HEADERS))
		stream_end(stream);
	return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id,
		   const uint8_t *bytes, size_t n, void *user)
{
	struct stream *stream = stream_at(session, id);

	if (stream)
		stream_body(stream, bytes, n);
	else
		nghttp2_session_consume_connection(session, n);
	return 0;
}

/* Each costs us a frame in return. */
static int on_invalid_frame(nghttp2_session *session,
			    const nghttp2_frame *frame, int error, void *user)
{
	return conn_flood(user) ? 0 : NGHTTP2_ERR_CALLBACK_FAILURE;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t error,
		    void *user)
{
	struct stream *stream = stream_at(session, id);

	if (!stream)
		return 0;
	if (stream->unconsumed)
		nghttp2_session_consume_connection(session, stream->unconsumed);
	stream->unconsumed = 0;
	nghttp2_session_set_stream_user_data(session, id, NULL);
	stream_gone(stream, error == NGHTTP2_NO_ERROR && stream->status &&
				    stream->source.ended);
	return 0;
}

static int h2_feed(struct conn *conn, const uint8_t *bytes, size_t n)
{
	nghttp2_ssize rc = nghttp2_session_mem_recv2(session_of(conn), bytes,
						     n);

	if (rc == NGHTTP2_ERR_FLOODED)
		conn->server->stats.refused_floods++;
	return rc < 0 ? -EPROTO : 0;
}

/* ---- out ---- */

static nghttp2_ssize read_body(nghttp2_session *session, int32_t id,
			       uint8_t *buf, size_t size, uint32_t *flags,
			       nghttp2_data_source *source, void *user)
{
	struct stream *stream = stream_at(session, id);
	ssize_t n;

	if (!stream) /* broken off; its reset is on the way */
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	if (size > TRANSPORT_WRITE_SIZE - FRAME_HEAD_SIZE)
		size = TRANSPORT_WRITE_SIZE - FRAME_HEAD_SIZE;
	n = stream_read(stream, buf, size);
	if (n == -EAGAIN)
		return NGHTTP2_ERR_DEFERRED;
	if (n < 0)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	if (stream->source.ended)
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return n;
}

/* A reply that ends before the request does ends both (RFC 9113, 8.1). */
static int on_sent(nghttp2_session *session, const nghttp2_frame *frame,
		   void *user)
{
	struct stream *stream = stream_at(session, frame->hd.stream_id);

	if (stream && !stream->ended &&
	    frame->hd.flags & NGHTTP2_FLAG_END_STREAM &&
	    (frame->hd.type == NGHTTP2_DATA ||
	     frame->hd.type == NGHTTP2_HEADERS))
		nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE,
					  stream->id, NGHTTP2_NO_ERROR);
	return 0;
}

static ssize_t h2_produce(struct conn *conn, uint8_t *buf, size_t size)
{
	struct h2 *h2 = conn->engine;
	size_t used = 0;

	while (used < size) {
		size_t n;

		if (h2->out_size == 0) {
			nghttp2_ssize rc = nghttp2_session_mem_send2(
				h2->session, &h2->out);

			if (rc < 0)
				return -EPROTO;
			if (rc == 0)
				break;
			h2->out_size = (size_t)rc;
		}
		n = h2->out_size < size - used ? h2->out_size : size - used;
		memcpy(buf + used, h2->out, n);
		h2->out += n;
		h2->out_size -= n;
		used += n;
	}
	return (ssize_t)used;
}

static nghttp2_nv field(const char *name, const char *value)
{
	return (nghttp2_nv){
		.name = (uint8_t *)(uintptr_t)name,
		.namelen = strlen(name),
		.value = (uint8_t *)(uintptr_t)value,
		.valuelen = strlen(value),
	};
}

static int h2_reply(struct stream *stream, const struct http_header *headers,
		    size_t n)
{
	nghttp2_data_provider2 body = { .read_callback = read_body };
	nghttp2_nv nv[HTTP_REPLY_HEADERS_MAX + 2];
	int64_t length = source_length(&stream->source);
	bool no_body = stream->head || length == 0;
	char status[8], size[24];
	size_t used = 0;

	snprintf(status, sizeof(status), "%d", stream->status);
	nv[used++] = field(":status", status);
	for (size_t i = 0; i < n; i++)
		nv[used++] = field(headers[i].name, headers[i].value);
	if (length >= 0 && stream->status != 204 && stream->status != 304) {
		snprintf(size, sizeof(size), "%lld", (long long)length);
		nv[used++] = field("content-length", size);
	}
	if (no_body)
		source_close(&stream->source);
	return nghttp2_submit_response2(session_of(stream->conn), stream->id,
					nv, used, no_body ? NULL : &body)
		       ? -ENOMEM
		       : 0;
}

static void h2_resume(struct stream *stream)
{
	nghttp2_session_resume_data(session_of(stream->conn), stream->id);
}

static void h2_abort(struct stream *stream)
{
	nghttp2_session *session = session_of(stream->conn);

	nghttp2_session_consume_connection(session, stream->unconsumed);
	stream->unconsumed = 0;
	nghttp2_session_set_stream_user_data(session, stream->id, NULL);
	nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, stream->id,
				  stream->status ? NGHTTP2_INTERNAL_ERROR
						 : NGHTTP2_CANCEL);
}

static void h2_consumed(struct stream *stream, size_t n)
{
	nghttp2_session *session = session_of(stream->conn);

	if (stream->gone)
		nghttp2_session_consume_connection(session, n);
	else
		nghttp2_session_consume(session, stream->id, n);
	conn_work(stream->conn);
}

static bool h2_wants_read(const struct conn *conn)
{
	return nghttp2_session_want_read(session_of(conn));
}

static bool h2_finished(const struct conn *conn)
{
	nghttp2_session *session = session_of(conn);

	if (nghttp2_session_want_write(session))
		return false;
	return !nghttp2_session_want_read(session) ||
	       (conn->draining && conn->n_streams == 0);
}

static void h2_drain(struct conn *conn)
{
	nghttp2_session *session = session_of(conn);

	nghttp2_submit_goaway(session, NGHTTP2_FLAG_NONE,
			      nghttp2_session_get_last_proc_stream_id(session),
			      NGHTTP2_NO_ERROR, NULL, 0);
}

static void h2_free(struct conn *conn)
{
	struct h2 *h2 = conn->engine;

	nghttp2_session_del(h2->session);
	free(h2);
}

/* ---- start ---- */

static nghttp2_session_callbacks *callbacks(void)
{
	static nghttp2_session_callbacks *c;

	if (c || nghttp2_session_callbacks_new(&c) != 0)
		return c;
	nghttp2_session_callbacks_set_on_begin_frame_callback(c,
							      on_begin_frame);
	nghttp2_session_callbacks_set_on_begin_headers_callback(
		c, on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(c, on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(c, on_frame);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(c, on_data);
	nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(
		c, on_invalid_frame);
	nghttp2_session_callbacks_set_on_stream_close_callback(c, on_close);
	nghttp2_session_callbacks_set_on_frame_send_callback(c, on_sent);
	return c;
}

static nghttp2_option *options(const struct http_limits *limits)
{
	static nghttp2_option *o;

	if (o || nghttp2_option_new(&o) != 0)
		return o;
	nghttp2_option_set_no_auto_window_update(o, 1);
	nghttp2_option_set_no_closed_streams(o, 1);
	nghttp2_option_set_max_deflate_dynamic_table_size(o, 0);
	nghttp2_option_set_max_outbound_ack(o, ACKS_MAX);
	nghttp2_option_set_max_continuations(o, 4);
	nghttp2_option_set_stream_reset_rate_limit(o, limits->floods, 20);
	return o;
}

static int submit_settings(nghttp2_session *session,
			   const struct http_limits *limits)
{
	nghttp2_settings_entry entries[] = {
		{ NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, limits->streams },
		{ NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, limits->window_bytes },
		{ NGHTTP2_SETTINGS_HEADER_TABLE_SIZE, 0 },
		{ NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, limits->header_bytes },
	};
	int32_t window = (int32_t)(CONNECTION_WINDOWS * limits->window_bytes);

	if (nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, entries,
				    sizeof(entries) / sizeof(entries[0])) !=
		    0 ||
	    nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0,
						  window) != 0)
		return -ENOMEM;
	return 0;
}

int http2_start(struct conn *conn)
{
	const struct http_limits *limits = &conn->server->limits;
	struct h2 *h2 = calloc(1, sizeof(*h2));

	if (!h2 || !callbacks() || !options(limits) ||
	    nghttp2_session_server_new2(&h2->session, callbacks(), conn,
					options(limits)) != 0) {
		free(h2);
		return -ENOMEM;
	}
	if (submit_settings(h2->session, limits) < 0) {
		nghttp2_session_del(h2->session);
		free(h2);
		return -ENOMEM;
	}
	conn->engine = h2;
	return 0;
}

const struct protocol http2 = {
	.feed = h2_feed,
	.produce = h2_produce,
	.wants_read = h2_wants_read,
	.finished = h2_finished,
	.reply = h2_reply,
	.resume = h2_resume,
	.abort = h2_abort,
	.consumed = h2_consumed,
	.drain = h2_drain,
	.free = h2_free,
};
