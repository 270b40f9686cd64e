/* Requests as handlers see them, whichever protocol carried them.
 *
 * A stream lives until its handler was told that it is gone and the connection
 * has left all code that may still hold it: gone streams wait on
 * conn->dead_streams for streams_bury(). */
#include <errno.h>
#include <stdlib.h>

#include "base/fd.h"
#include "http_conn.h"

static struct stream *stream_of(const struct http_request *request)
{
	return container_of(request, struct stream, request);
}

/* ---- from the protocols ---- */

static void link_to(struct stream **list, struct stream *stream)
{
	stream->next = *list;
	stream->prevp = list;
	if (stream->next)
		stream->next->prevp = &stream->next;
	*list = stream;
}

static void unlink_from(struct stream *stream)
{
	*stream->prevp = stream->next;
	if (stream->next)
		stream->next->prevp = stream->prevp;
}

static const struct tls_peer *peer_of(const struct conn *conn)
{
	static const struct tls_peer nobody;

	return conn->transport.tls ? tls_peer(conn->transport.tls) : &nobody;
}

struct stream *stream_new(struct conn *conn, int32_t id)
{
	struct stream *stream = calloc(1, sizeof(*stream));

	if (!stream)
		return NULL;
	stream->conn = conn;
	stream->id = id;
	stream->source.body.fd = -1;
	stream->progress_ms = clock_ms();
	stream->request = (struct http_request){
		.method = "",
		.path = "",
		.query = "",
		.peer = peer_of(conn),
		.remote = conn->remote,
		.content_length = -1,
		.http2 = conn->protocol == &http2,
	};
	link_to(&conn->streams, stream);
	conn->n_streams++;
	conn->server->stats.requests++;
	return stream;
}

static void dispatch(struct stream *stream)
{
	struct http_server *server = stream->conn->server;

	stream->dispatched = true;
	server->request(&stream->request, server->user);
	if (!stream->request.on && !stream->status && !stream->gone)
		http_reply_bytes(&stream->request, 404, "text/plain",
				 span_of("not found\n"));
}

/* Of several lengths that differ the message is malformed; the protocols'
 * libraries refuse those. */
static void read_length(struct stream *stream)
{
	const char *text = fields_get(&stream->fields, "content-length");
	uint64_t length;

	if (text && span_u64(span_of(text), INT64_MAX, &length) == 0)
		stream->request.content_length = (int64_t)length;
}

void stream_dispatch(struct stream *stream, const char *method,
		     const char *target)
{
	struct http_request *request = &stream->request;

	request->method = method;
	stream->head = strcmp(method, "HEAD") == 0;
	read_length(stream);
	if (stream->too_large) {
		stream->conn->server->stats.refused_limits++;
		http_reply_bytes(request, 431, "text/plain",
				 span_of("header fields too large\n"));
		return;
	}
	stream->target = target_parse(target, &request->query);
	if (!stream->target) {
		http_reply_bytes(request, 400, "text/plain",
				 span_of("no such path can be\n"));
		return;
	}
	request->path = stream->target;
	dispatch(stream);
}

void stream_body(struct stream *stream, const uint8_t *bytes, size_t n)
{
	struct http_request *request = &stream->request;

	stream->progress_ms = clock_ms();
	stream->unconsumed += n;
	if (!stream->gone && request->on && request->on->body)
		request->on->body(request,
				  (struct span){ (const char *)bytes, n });
	else
		http_consumed(request, n);
}

void stream_end(struct stream *stream)
{
	struct http_request *request = &stream->request;

	if (stream->ended)
		return;
	stream->ended = true;
	if (!stream->gone && request->on && request->on->end)
		request->on->end(request);
}

void stream_gone(struct stream *stream, bool complete)
{
	struct http_request *request = &stream->request;
	struct conn *conn = stream->conn;

	if (stream->gone)
		return;
	stream->gone = true;
	source_close(&stream->source);
	unlink_from(stream);
	link_to(&conn->dead_streams, stream);
	conn->n_streams--;
	conn->server->stats.requests--;
	conn->server->stats.requests_done++;
	if (conn->n_streams == 0)
		conn->idle_ms = clock_ms();
	if (request->on && request->on->gone)
		request->on->gone(request, complete);
	conn_work(conn);
}

void streams_bury(struct conn *conn)
{
	while (conn->dead_streams) {
		struct stream *stream = conn->dead_streams;

		unlink_from(stream);
		fields_free(&stream->fields);
		free(stream->target);
		free(stream->reply_head);
		free(stream);
	}
}

ssize_t stream_read(struct stream *stream, uint8_t *buf, size_t size)
{
	ssize_t n = source_read(&stream->source, buf, size);

	stream->progress_ms = clock_ms();
	if (n == -EAGAIN)
		stream->paused = true;
	return n;
}

/* ---- for handlers ---- */

const char *http_header(const struct http_request *request, const char *name)
{
	return fields_get(&stream_of(request)->fields, name);
}

int http_query(const struct http_request *request, const char *name, char *out,
	       size_t size)
{
	struct span rest = span_of(request->query), pair, key;

	while (span_cut(&rest, '&', &pair))
		if (span_cut(&pair, '=', &key) && span_is(key, name))
			return percent_decode(pair, out, size);
	return -ENOENT;
}

void http_consumed(struct http_request *request, size_t n)
{
	struct stream *stream = stream_of(request);

	if (n > stream->unconsumed)
		n = stream->unconsumed;
	stream->unconsumed -= n;
	if (n > 0 && !stream->conn->dead)
		stream->conn->protocol->consumed(stream, n);
}

static bool replyable(const struct stream *stream)
{
	return !stream->gone && !stream->status && !stream->conn->dead;
}

int http_reply(struct http_request *request, int status,
	       const struct http_header *headers, size_t n,
	       struct http_body body)
{
	struct stream *stream = stream_of(request);
	struct source source;
	int err = source_open(&source, body, request->user);

	if (!err && !replyable(stream))
		err = -EALREADY;
	if (!err && n > HTTP_REPLY_HEADERS_MAX)
		err = -E2BIG;
	if (!err) {
		stream->source = source;
		stream->status = status;
		stream->progress_ms = clock_ms();
		err = stream->conn->protocol->reply(stream, headers, n);
		if (err)
			conn_kill(stream->conn);
		conn_work(stream->conn);
		return err;
	}
	source_close(&source);
	return err;
}

int http_reply_bytes(struct http_request *request, int status, const char *type,
		     struct span bytes)
{
	struct http_header header = { "content-type", type };

	return http_reply(request, status, &header, type ? 1 : 0,
			  http_bytes(bytes));
}

void http_resume(struct http_request *request)
{
	struct stream *stream = stream_of(request);

	if (!stream->paused || stream->gone)
		return;
	stream->paused = false;
	stream->progress_ms = clock_ms();
	stream->conn->protocol->resume(stream);
	conn_work(stream->conn);
}

void http_patient(struct http_request *request)
{
	stream_of(request)->patient = true;
}

void http_abort(struct http_request *request)
{
	struct stream *stream = stream_of(request);

	if (stream->gone)
		return;
	if (!stream->conn->dead)
		stream->conn->protocol->abort(stream);
	stream_gone(stream, false);
}

void http_disconnect(struct http_request *request)
{
	conn_kill(stream_of(request)->conn);
}

uint64_t http_heard_ms(const struct http_request *request)
{
	return stream_of(request)->conn->heard_ms;
}
