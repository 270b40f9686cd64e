/* One connection of the server without a descriptor, fed the fuzzer's bytes in
 * pieces; its handlers reply in every way there is. */
#ifndef FUZZ_HTTP_FEED_H
#define FUZZ_HTTP_FEED_H

#include <errno.h>
#include <stdlib.h>

#include "wire/http_conn.h"

static struct http_request *feed_paused;

static ssize_t feed_pull(void *user, void *buf, size_t size)
{
	static unsigned turn;

	turn++;
	if (turn % 3 == 0)
		return -EAGAIN;
	if (turn % 7 == 0)
		return 0;
	memset(buf, 'x', size < 100 ? size : 100);
	return size < 100 ? (ssize_t)size : 100;
}

static void feed_body(struct http_request *request, struct span bytes)
{
	http_consumed(request, bytes.size);
}

static void feed_end(struct http_request *request)
{
	http_reply_bytes(request, 200, "text/plain", span_of("done"));
}

static void feed_gone(struct http_request *request, bool complete)
{
	if (feed_paused == request)
		feed_paused = NULL;
}

static void feed_request(struct http_request *request, void *user)
{
	static const struct http_request_on on = { feed_body, feed_end,
						   feed_gone };
	char value[32];

	(void)http_header(request, "host");
	(void)http_query(request, "a", value, sizeof(value));
	switch (strlen(request->path) % 6) {
	case 0:
		request->on = &on;
		break;
	case 1:
		http_reply_bytes(request, 404, NULL, span_of("no"));
		break;
	case 2:
		request->on = &on;
		feed_paused = request;
		http_reply(request, 200, NULL, 0, http_pull(-1, feed_pull));
		break;
	case 3:
		http_abort(request);
		break;
	case 4:
		request->on = &on;
		http_reply(request, 200, NULL, 0, http_pull(1000, feed_pull));
		break;
	default:
		break;
	}
}

/* Feeds data in pieces whose sizes its first byte decides, and takes what is to
 * be sent. */
static void feed(const struct protocol *protocol,
		 int (*start)(struct conn *conn), const uint8_t *data,
		 size_t size)
{
	static struct loop loop;
	struct http_server_config config = { .loop = &loop,
					     .request = feed_request };
	size_t piece = size ? 1 + data[0] * 8 : 1, off = 0;
	uint8_t out[TRANSPORT_WRITE_SIZE];
	struct http_server *server;
	struct conn *conn;
	int err = 0;

	if (http_server_new(&config, &server) < 0)
		return;
	conn = conn_new(server, -1);
	if (!conn || start(conn) < 0)
		abort();
	conn->protocol = protocol;
	while (!err && !conn->dead && off < size) {
		size_t n = size - off < piece ? size - off : piece;
		ssize_t sent = 1;

		conn->busy = true;
		if (protocol->wants_read(conn))
			err = protocol->feed(conn, data + off, n);
		off += n;
		for (int i = 0; i < 50 && sent > 0 && !conn->dead; i++)
			sent = protocol->produce(conn, out, sizeof(out));
		if (sent < 0)
			err = (int)sent;
		if (feed_paused)
			http_resume(feed_paused);
		streams_bury(conn);
		conn->busy = false;
		if (protocol->finished(conn))
			break;
	}
	feed_paused = NULL;
	http_server_free(server);
}

#endif
