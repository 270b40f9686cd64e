/* HTTP/1.1 of the server, on http-parser (RFC 9112): one request at a time on a
 * connection, in order.
 *
 * The parser is stopped at the end of each request; what came behind it waits
 * in `pending`, and nothing more is read, until the reply has left. A reply
 * that is sent before the body of its request came keeps the connection when
 * no more than DISCARD_MAX of that follows.
 *
 * What decides where a message ends (lengths, chunks) is left to the parser in
 * its strict mode; it refuses a message that says both. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <http_parser.h>

#include "base/fd.h"
#include "http_conn.h"

enum {
	DISCARD_MAX = 1 << 20,
	CHUNK_HEAD_SIZE = 6, /* four digits and CRLF */
	CHUNK_TAIL_SIZE = 7, /* CRLF, and the last chunk "0\r\n\r\n" less 2 */
	FRAME_SIZE = CHUNK_HEAD_SIZE + CHUNK_TAIL_SIZE,
};

/* Text that comes in pieces. */
struct text {
	char *data;
	size_t size, room;
};

struct h1 {
	http_parser parser;
	struct stream *stream; /* in hand, or NULL */
	struct text target, name, value;
	bool in_value; /* the last piece of a field was its value */
	bool waiting;  /* parser stopped until the reply has left */
	bool closing;  /* after what is still to send */
	int fault;     /* status of a request that cannot be read */
	bool expects;  /* 100 (Continue), not yet said */
	bool chunked;  /* this reply */
	size_t head_sent;
	uint64_t discarded;
	char *pending;
	size_t pending_size;
};

static struct h1 *h1_of(const struct conn *conn)
{
	return conn->engine;
}

static struct conn *conn_of(http_parser *parser)
{
	return parser->data;
}

/* ---- in: head ---- */

static int text_add(struct text *t, const char *piece, size_t n, size_t max)
{
	if (t->size + n > max)
		return -E2BIG;
	if (t->size + n + 1 > t->room) {
		size_t room = 2 * (t->size + n) + 64;
		char *data = realloc(t->data, room);

		if (!data)
			return -ENOMEM;
		t->data = data;
		t->room = room;
	}
	memcpy(t->data + t->size, piece, n);
	t->size += n;
	t->data[t->size] = '\0';
	return 0;
}

static struct span text_span(const struct text *t)
{
	return (struct span){ t->data ? t->data : "", t->size };
}

/* Makes the parser stop with an error that h1_feed() turns into a reply. */
static int fault(struct conn *conn, int err)
{
	if (!h1_of(conn)->fault)
		h1_of(conn)->fault = err == -E2BIG ? 431 : 400;
	return -1;
}

static int take_piece(struct conn *conn, struct text *t, const char *piece,
		      size_t n)
{
	int err = text_add(t, piece, n, conn->server->limits.header_bytes);

	return err ? fault(conn, err) : 0;
}

static int on_begin(http_parser *parser)
{
	struct conn *conn = conn_of(parser);
	struct h1 *h1 = conn->engine;

	conn->head_ms = clock_ms();
	h1->target.size = h1->name.size = h1->value.size = 0;
	h1->in_value = h1->expects = false;
	h1->discarded = 0;
	h1->stream = stream_new(conn, 0);
	return h1->stream ? 0 : fault(conn, -ENOMEM);
}

static int on_target(http_parser *parser, const char *piece, size_t n)
{
	struct conn *conn = conn_of(parser);

	return take_piece(conn, &h1_of(conn)->target, piece, n);
}

static int keep_field(struct conn *conn)
{
	struct h1 *h1 = conn->engine;
	int err = 0;

	if (h1->name.size)
		err = fields_add(&h1->stream->fields, text_span(&h1->name),
				 text_span(&h1->value),
				 conn->server->limits.header_bytes);
	h1->name.size = h1->value.size = 0;
	h1->in_value = false;
	return err ? fault(conn, err) : 0;
}

/* Trailers come through here too, when the head was long handed over. */
static bool in_head(const struct conn *conn)
{
	return conn->head_ms != 0;
}

static int on_name(http_parser *parser, const char *piece, size_t n)
{
	struct conn *conn = conn_of(parser);
	struct h1 *h1 = conn->engine;

	if (!in_head(conn))
		return 0;
	if (h1->in_value && keep_field(conn))
		return -1;
	return take_piece(conn, &h1->name, piece, n);
}

static int on_value(http_parser *parser, const char *piece, size_t n)
{
	struct conn *conn = conn_of(parser);
	struct h1 *h1 = conn->engine;

	if (!in_head(conn))
		return 0;
	h1->in_value = true;
	return take_piece(conn, &h1->value, piece, n);
}

static int on_head(http_parser *parser)
{
	struct conn *conn = conn_of(parser);
	struct h1 *h1 = conn->engine;
	const char *expect;

	if (keep_field(conn))
		return -1;
	conn->head_ms = 0;
	fields_trim(&h1->stream->fields);
	expect = fields_get(&h1->stream->fields, "expect");
	h1->expects = expect && strcasecmp(expect, "100-continue") == 0;
	/* An upgrade is not taken: what follows would not be HTTP. */
	if (!http_should_keep_alive(parser) || parser->upgrade)
		h1->closing = true;
	h1->head_sent = 0;
	stream_dispatch(h1->stream,
			http_method_str((enum http_method)parser->method),
			h1->target.size ? h1->target.data : "");
	return 0;
}

/* ---- in: body ---- */

static int on_body(http_parser *parser, const char *bytes, size_t n)
{
	struct conn *conn = conn_of(parser);
	struct h1 *h1 = conn->engine;

	h1->expects = false;
	if (h1->stream) {
		stream_body(h1->stream, (const uint8_t *)bytes, n);
		return 0;
	}
	h1->discarded += n;
	if (h1->discarded > DISCARD_MAX)
		h1->closing = true;
	return 0;
}

static int on_complete(http_parser *parser)
{
	struct conn *conn = conn_of(parser);
	struct h1 *h1 = conn->engine;

	h1->expects = false;
	if (!h1->stream) /* its reply left before its end came */
		return 0;
	h1->waiting = true;
	http_parser_pause(parser, 1);
	stream_end(h1->stream);
	return 0;
}

static const http_parser_settings settings = {
	.on_message_begin = on_begin,
	.on_url = on_target,
	.on_header_field = on_name,
	.on_header_value = on_value,
	.on_headers_complete = on_head,
	.on_body = on_body,
	.on_message_complete = on_complete,
};

static int keep_pending(struct h1 *h1, const uint8_t *bytes, size_t n)
{
	char *all = realloc(h1->pending, h1->pending_size + n);

	if (!all)
		return -ENOMEM;
	memcpy(all + h1->pending_size, bytes, n);
	h1->pending = all;
	h1->pending_size += n;
	return 0;
}

static int h1_feed(struct conn *conn, const uint8_t *bytes, size_t n)
{
	struct h1 *h1 = conn->engine;
	enum http_errno error;
	size_t used;

	if (h1->fault || (h1->closing && !h1->stream))
		return 0;
	if (h1->waiting)
		return keep_pending(h1, bytes, n);
	used = http_parser_execute(&h1->parser, &settings, (const char *)bytes,
				   n);
	error = HTTP_PARSER_ERRNO(&h1->parser);
	if (error == HPE_PAUSED && h1->waiting)
		return used < n ? keep_pending(h1, bytes + used, n - used) : 0;
	if (error == HPE_OK)
		return 0;
	if (!h1->fault)
		h1->fault = error == HPE_HEADER_OVERFLOW ? 431 : 400;
	conn->head_ms = 0;
	if (h1->fault == 431)
		conn->server->stats.refused_limits++;
	return 0;
}

/* ---- out ---- */

static const char *reason(int status)
{
	static const struct {
		int status;
		const char *reason;
	} reasons[] = {
		{ 200, "OK" },
		{ 201, "Created" },
		{ 202, "Accepted" },
		{ 204, "No Content" },
		{ 206, "Partial Content" },
		{ 304, "Not Modified" },
		{ 307, "Temporary Redirect" },
		{ 400, "Bad Request" },
		{ 401, "Unauthorized" },
		{ 403, "Forbidden" },
		{ 404, "Not Found" },
		{ 405, "Method Not Allowed" },
		{ 409, "Conflict" },
		{ 413, "Content Too Large" },
		{ 416, "Range Not Satisfiable" },
		{ 429, "Too Many Requests" },
		{ 431, "Request Header Fields Too Large" },
		{ 500, "Internal Server Error" },
		{ 503, "Service Unavailable" },
		{ 507, "Insufficient Storage" },
	};

	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (reasons[i].status == status)
			return reasons[i].reason;
	return "Status";
}

static bool may_have_body(const struct stream *stream)
{
	return stream->status != 204 && stream->status != 304;
}

/* A value that could end its line would let its author write the rest. */
static bool is_line(const char *text)
{
	return !text[strcspn(text, "\r\n")];
}

static int write_head(FILE *f, struct h1 *h1, struct stream *stream,
		      const struct http_header *headers, size_t n)
{
	int64_t length = source_length(&stream->source);

	fprintf(f, "HTTP/1.1 %d %s\r\n", stream->status,
		reason(stream->status));
	for (size_t i = 0; i < n; i++) {
		if (!is_line(headers[i].name) || !is_line(headers[i].value))
			return -EINVAL;
		fprintf(f, "%s: %s\r\n", headers[i].name, headers[i].value);
	}
	if (h1->chunked)
		fputs("transfer-encoding: chunked\r\n", f);
	else if (length >= 0 && may_have_body(stream))
		fprintf(f, "content-length: %lld\r\n", (long long)length);
	fputs(h1->closing ? "connection: close\r\n\r\n" : "\r\n", f);
	return 0;
}

static int h1_reply(struct stream *stream, const struct http_header *headers,
		    size_t n)
{
	struct h1 *h1 = h1_of(stream->conn);
	bool unknown = source_length(&stream->source) < 0;
	bool http10 = h1->parser.http_major == 1 && h1->parser.http_minor == 0;
	size_t size;
	FILE *f = open_memstream(&stream->reply_head, &size);
	int err;

	if (!f)
		return -ENOMEM;
	if (stream->conn->draining || (unknown && http10))
		h1->closing = true;
	h1->chunked = unknown && !http10 && may_have_body(stream);
	err = write_head(f, h1, stream, headers, n);
	if (fclose(f) != 0)
		err = -ENOMEM;
	if (stream->head || !may_have_body(stream)) {
		source_close(&stream->source);
		h1->chunked = false;
	}
	return err;
}

/* With a NUL that does not count, for which there is always room. */
static ssize_t put(uint8_t *buf, const char *text)
{
	return stpcpy((char *)buf, text) - (char *)buf;
}

/* Bytes of the body, in a chunk if need be; what -EAGAIN and 0 mean as in
 * source_read(). */
static ssize_t produce_body(struct h1 *h1, uint8_t *buf, size_t size)
{
	struct stream *stream = h1->stream;
	char head[CHUNK_HEAD_SIZE + 1];
	ssize_t n;

	if (!h1->chunked)
		return stream_read(stream, buf, size);
	n = stream_read(stream, buf + CHUNK_HEAD_SIZE, size - FRAME_SIZE);
	if (n == 0)
		return put(buf, "0\r\n\r\n");
	if (n < 0)
		return n;
	snprintf(head, sizeof(head), "%04X\r\n", (unsigned)n & 0xffff);
	memcpy(buf, head, CHUNK_HEAD_SIZE);
	n += CHUNK_HEAD_SIZE;
	n += put(buf + n, "\r\n");
	return n;
}

static size_t produce_head(struct h1 *h1, uint8_t *buf, size_t size)
{
	const char *rest = h1->stream->reply_head + h1->head_sent;
	size_t n = 0;

	for (; n < size && rest[n]; n++)
		buf[n] = (uint8_t)rest[n];
	h1->head_sent += n;
	return n;
}

/* The reply has left: what waited behind the request comes next. */
static int next_request(struct conn *conn)
{
	struct h1 *h1 = conn->engine;
	autofree char *bytes = ptr_take(&h1->pending);
	size_t n = h1->pending_size;
	struct stream *stream = h1->stream;

	h1->stream = NULL;
	h1->pending_size = 0;
	if (h1->waiting)
		http_parser_pause(&h1->parser, 0);
	h1->waiting = false;
	stream_gone(stream, true);
	return n ? h1_feed(conn, (uint8_t *)bytes, n) : 0;
}

/* Head and body of the reply in hand. 0: nothing now. */
static ssize_t produce_reply(struct conn *conn, uint8_t *buf, size_t size)
{
	struct h1 *h1 = conn->engine;
	struct stream *stream = h1->stream;
	size_t used = produce_head(h1, buf, size);
	ssize_t n = 0;

	if (!stream->source.ended && size - used > FRAME_SIZE)
		n = produce_body(h1, buf + used, size - used);
	if (n < 0 && n != -EAGAIN)
		return n;
	return (ssize_t)used + (n > 0 ? n : 0);
}

static bool reply_left(const struct h1 *h1)
{
	const struct stream *stream = h1->stream;

	return !stream->reply_head[h1->head_sent] && stream->source.ended;
}

static ssize_t produce_fault(struct conn *conn, uint8_t *buf)
{
	struct h1 *h1 = conn->engine;
	int status = h1->fault;

	if (h1->closing && h1->fault < 0)
		return 0;
	h1->fault = -1;
	h1->closing = true;
	if (h1->stream && h1->stream->status) /* amid another reply */
		return -EPROTO;
	return sprintf((char *)buf,
		       "HTTP/1.1 %d %s\r\ncontent-length: 0\r\n"
		       "connection: close\r\n\r\n",
		       status, reason(status));
}

static ssize_t h1_produce(struct conn *conn, uint8_t *buf, size_t size)
{
	struct h1 *h1 = conn->engine;

	if (h1->fault)
		return produce_fault(conn, buf);
	while (h1->stream) {
		ssize_t n;

		if (!h1->stream->status && h1->expects) {
			h1->expects = false;
			return put(buf, "HTTP/1.1 100 Continue\r\n\r\n");
		}
		if (!h1->stream->status)
			return 0;
		n = reply_left(h1) ? 0 : produce_reply(conn, buf, size);
		if (n < 0)
			return n;
		if (reply_left(h1)) {
			int err = next_request(conn);

			if (err)
				return err;
			if (h1->fault && n == 0)
				return produce_fault(conn, buf);
		} else if (n == 0) {
			return 0;
		}
		if (n > 0)
			return n;
	}
	return 0;
}

static void h1_resume(struct stream *stream)
{
}

/* HTTP/1.1 has no other way to break off a reply than to close. */
static void h1_abort(struct stream *stream)
{
	struct h1 *h1 = h1_of(stream->conn);

	h1->stream = NULL;
	conn_kill(stream->conn);
}

static void h1_consumed(struct stream *stream, size_t n)
{
	conn_work(stream->conn);
}

static bool h1_wants_read(const struct conn *conn)
{
	const struct h1 *h1 = conn->engine;

	if (h1->fault || h1->waiting || (h1->closing && !h1->stream))
		return false;
	return !h1->stream ||
	       h1->stream->unconsumed < conn->server->limits.window_bytes;
}

static bool h1_finished(const struct conn *conn)
{
	const struct h1 *h1 = conn->engine;

	return h1->closing && (!h1->stream || h1->fault);
}

static void h1_drain(struct conn *conn)
{
	struct h1 *h1 = conn->engine;

	if (!h1->stream || !h1->stream->status)
		h1->closing = true;
}

static void h1_free(struct conn *conn)
{
	struct h1 *h1 = conn->engine;

	free(h1->target.data);
	free(h1->name.data);
	free(h1->value.data);
	free(h1->pending);
	free(h1);
}

int http1_start(struct conn *conn)
{
	struct h1 *h1 = calloc(1, sizeof(*h1));

	if (!h1)
		return -ENOMEM;
	http_parser_init(&h1->parser, HTTP_REQUEST);
	h1->parser.data = conn;
	conn->engine = h1;
	return 0;
}

const struct protocol http1 = {
	.feed = h1_feed,
	.produce = h1_produce,
	.wants_read = h1_wants_read,
	.finished = h1_finished,
	.reply = h1_reply,
	.resume = h1_resume,
	.abort = h1_abort,
	.consumed = h1_consumed,
	.drain = h1_drain,
	.free = h1_free,
};
