/* HTTP of server and client against each other over loopback, in one loop. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "tap.h"
#include "wire/http.h"
#include "wire_server.h"

enum { BIG = 2 << 20, WAIT_MS = 20000 };

static struct pki pki;
static struct loop loop;
static struct tls *server_tls, *client_tls;
static struct http_server *server;
static char address[32];
static uint8_t *big;
static int big_fd;

/* ---- the server's handlers ---- */

struct echo {
	struct http_request *request;
	char *data;
	size_t n, off;
	bool ended;
};

static int gone_count, gone_complete;
static struct http_request *watcher;
static const char *watch_news;

static ssize_t echo_pull(void *user, void *buf, size_t size)
{
	struct echo *e = user;
	size_t n = e->n - e->off;

	if (n == 0)
		return e->ended ? 0 : -EAGAIN;
	if (n > size)
		n = size;
	memcpy(buf, e->data + e->off, n);
	e->off += n;
	if (e->off == e->n)
		e->off = e->n = 0;
	http_consumed(e->request, n);
	return (ssize_t)n;
}

static void echo_body(struct http_request *request, struct span bytes)
{
	struct echo *e = request->user;

	e->data = realloc(e->data, e->n + bytes.size);
	memcpy(e->data + e->n, bytes.data, bytes.size);
	e->n += bytes.size;
	http_resume(request);
}

static void echo_end(struct http_request *request)
{
	struct echo *e = request->user;

	e->ended = true;
	http_resume(request);
}

static void echo_gone(struct http_request *request, bool complete)
{
	struct echo *e = request->user;

	gone_count++;
	gone_complete += complete;
	free(e->data);
	free(e);
}

static const struct http_request_on echo_on = { echo_body, echo_end,
						echo_gone };

static ssize_t watch_pull(void *user, void *buf, size_t size)
{
	size_t n;

	if (!watch_news)
		return -EAGAIN;
	if (strcmp(watch_news, "end") == 0)
		return 0;
	n = strlen(watch_news);
	memcpy(buf, watch_news, n);
	watch_news = NULL;
	return (ssize_t)n;
}

static void watch_gone(struct http_request *request, bool complete)
{
	gone_count++;
	gone_complete += complete;
	watcher = NULL;
}

static const struct http_request_on watch_on = { NULL, NULL, watch_gone };

static void on_request(struct http_request *request, void *user)
{
	struct http_header headers[] = { { "x-path", request->path },
					 { "x-peer", request->peer->name } };
	char query[20], text[200];

	if (strcmp(request->path, "/echo") == 0) {
		struct echo *e = calloc(1, sizeof(*e));

		e->request = request;
		request->on = &echo_on;
		request->user = e;
		http_reply(request, 200, headers, 2, http_pull(-1, echo_pull));
	} else if (strcmp(request->path, "/file") == 0) {
		http_reply(request, 200, headers, 2,
			   http_file(dup(big_fd), 100, BIG - 100));
	} else if (strcmp(request->path, "/short") == 0) {
		http_reply(request, 200, NULL, 0,
			   http_file(dup(big_fd), BIG - 10, 100));
	} else if (strcmp(request->path, "/watch") == 0) {
		watcher = request;
		request->on = &watch_on;
		http_reply(request, 200, NULL, 0, http_pull(-1, watch_pull));
	} else if (strcmp(request->path, "/abort") == 0) {
		http_abort(request);
	} else if (strcmp(request->path, "/cut") == 0) {
		http_disconnect(request);
	} else if (strcmp(request->path, "/quiet") == 0) {
		request->on = &watch_on;
	} else if (strcmp(request->path, "/early") == 0) {
		http_reply_bytes(request, 413, NULL, span_of("no"));
	} else if (strcmp(request->path, "/none") != 0) {
		if (http_query(request, "q", query, sizeof(query)) < 0)
			query[0] = '\0';
		snprintf(text, sizeof(text), "%s %s q=%s resumed=%d h2=%d",
			 request->method, request->path, query,
			 request->peer->resumed, request->http2);
		http_reply_bytes(request, 200, "text/plain", span_of(text));
	}
}

/* ---- the client ---- */

struct result {
	bool done, opened, closed, pong, goaway;
	int error, status, closed_error;
	size_t size;
	bool differs; /* from big, after an offset */
	size_t offset;
	char text[300], why[300], peer[64];
	size_t slow; /* bytes not consumed at once */
};

static char session[TLS_SESSION_MAX];
static size_t session_size;

static void on_open(struct http_client *client)
{
	((struct result *)http_client_user(client))->opened = true;
}

static void on_session(struct http_client *client, struct span bytes)
{
	memcpy(session, bytes.data, bytes.size);
	session_size = bytes.size;
}

static void on_pong(struct http_client *client, uint32_t round_trip_ms)
{
	((struct result *)http_client_user(client))->pong = true;
}

static void on_goaway(struct http_client *client)
{
	((struct result *)http_client_user(client))->goaway = true;
}

static void on_closed(struct http_client *client, int error, const char *why)
{
	struct result *r = http_client_user(client);

	r->closed = true;
	r->closed_error = error;
	text_copy(r->why, sizeof(r->why), why);
	http_client_free(client);
}

static const struct http_client_on client_on = {
	.open = on_open,
	.session = on_session,
	.pong = on_pong,
	.goaway = on_goaway,
	.closed = on_closed,
};

static void on_head(struct http_call *call, int status)
{
	struct result *r = http_call_user(call);
	const char *peer = http_call_header(call, "x-peer");

	r->status = status;
	text_copy(r->peer, sizeof(r->peer), peer ? peer : "");
}

static void on_body(struct http_call *call, struct span bytes)
{
	struct result *r = http_call_user(call);

	if (r->size + r->offset + bytes.size <= BIG)
		r->differs |= memcmp(big + r->offset + r->size, bytes.data,
				     bytes.size) != 0;
	if (r->size + bytes.size < sizeof(r->text)) {
		memcpy(r->text + r->size, bytes.data, bytes.size);
		r->text[r->size + bytes.size] = '\0';
	}
	r->size += bytes.size;
	http_call_consumed(call, bytes.size);
}

static void on_done(struct http_call *call, int error, int status)
{
	struct result *r = http_call_user(call);

	r->done = true;
	r->error = error;
	r->status = status;
}

static const struct http_call_on call_on = { on_head, on_body, on_done };

static struct http_client *dial(struct result *r, struct tls *tls,
				const char *to, struct span resume)
{
	struct http_client_config config = {
		.loop = &loop,
		.tls = tls,
		.address = to,
		.session = resume,
		.open_ms = 5000,
		.on = &client_on,
		.user = r,
	};
	struct http_client *client;

	return http_client_new(&config, &client) ? NULL : client;
}

static struct http_call *call(struct http_client *client, struct result *r,
			      const char *method, const char *path,
			      struct http_body body)
{
	struct http_call_config config = { .method = method,
					   .path = path,
					   .body = body,
					   .on = &call_on,
					   .user = r };
	struct http_call *c;
	int err = http_call(client, &config, &c);

	if (err)
		printf("# http_call: %d\n", err);
	return err ? NULL : c;
}

/* Turns the loop until *what, or the deadline. */
static bool wait_for(const bool *what)
{
	uint64_t end = clock_ms() + WAIT_MS;

	while (!*what && clock_ms() < end)
		loop_once(&loop, 100);
	return *what;
}

static struct http_body none;

/* ---- cases ---- */

static void test_simple(struct http_client *client)
{
	static const struct {
		const char *method, *path;
		int status;
		const char *body;
	} cases[] = {
		{ "GET", "/", 200, "GET / q= resumed=0 h2=1" },
		{ "GET", "/a%20b?q=c%2fd&x=1", 200,
		  "GET /a b q=c/d resumed=0 h2=1" },
		{ "GET", "/v2/", 200, "GET /v2/ q= resumed=0 h2=1" },
		{ "DELETE", "/x?q=", 200, "DELETE /x q= resumed=0 h2=1" },
		{ "HEAD", "/x", 200, "" },
		{ "GET", "/none", 404, "not found\n" },
		{ "GET", "/a/../b", 400, "no such path can be\n" },
		{ "GET", "/a/./b", 400, "no such path can be\n" },
		{ "GET", "/a//b", 400, "no such path can be\n" },
		{ "GET", "/a%2fb", 400, "no such path can be\n" },
		{ "GET", "/a%00b", 400, "no such path can be\n" },
		{ "GET", "/a%0ab", 400, "no such path can be\n" },
		{ "GET", "/a%4", 400, "no such path can be\n" },
		{ "GET", "/%2e%2e", 400, "no such path can be\n" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct result r = { 0 };

		call(client, &r, cases[i].method, cases[i].path, none);
		wait_for(&r.done);
		ok(r.error == 0 && r.status == cases[i].status &&
			   strcmp(r.text, cases[i].body) == 0,
		   "%s %s: %d %d %s", cases[i].method, cases[i].path, r.error,
		   r.status, r.text);
	}
}

static size_t upload_off;

static ssize_t upload_pull(void *user, void *buf, size_t size)
{
	size_t n = BIG - upload_off;

	if (n > size)
		n = size;
	memcpy(buf, big + upload_off, n);
	upload_off += n;
	return (ssize_t)n;
}

static void test_bodies(struct http_client *client)
{
	struct result r = { .offset = 100 }, many[10];
	int before;

	call(client, &r, "GET", "/file", none);
	wait_for(&r.done);
	ok(r.status == 200 && r.error == 0 && r.size == BIG - 100 && !r.differs,
	   "a range of a file comes whole: %zu bytes", r.size);
	ok(strcmp(r.peer, "n-0123456789abcd") == 0, "headers: peer %s", r.peer);

	memset(&r, 0, sizeof(r));
	upload_off = 0;
	gone_count = gone_complete = 0;
	call(client, &r, "POST", "/echo", http_pull(-1, upload_pull));
	wait_for(&r.done);
	ok(r.error == 0 && r.size == BIG && !r.differs,
	   "2 MB there and back: %zu bytes", r.size);
	ok(gone_count == 1 && gone_complete == 1, "gone once, complete");

	memset(&r, 0, sizeof(r));
	call(client, &r, "PUT", "/echo",
	     http_bytes((struct span){ (char *)big, 100000 }));
	wait_for(&r.done);
	ok(r.error == 0 && r.size == 100000 && !r.differs, "bytes: %zu",
	   r.size);

	memset(&r, 0, sizeof(r));
	upload_off = 0;
	call(client, &r, "POST", "/early", http_pull(BIG, upload_pull));
	wait_for(&r.done);
	ok(r.error == 0 && r.status == 413, "a reply before the body: %d %d",
	   r.error, r.status);

	memset(&r, 0, sizeof(r));
	call(client, &r, "GET", "/short", none);
	wait_for(&r.done);
	ok(r.error == -ECONNRESET, "a file that is too short breaks off: %d",
	   r.error);

	memset(&r, 0, sizeof(r));
	call(client, &r, "GET", "/abort", none);
	wait_for(&r.done);
	ok(r.error == -ECONNRESET && r.status == 0, "aborted: %d %d", r.error,
	   r.status);

	memset(many, 0, sizeof(many));
	for (int i = 0; i < 10; i++) {
		many[i].offset = 100;
		call(client, &many[i], "GET", "/file", none);
	}
	for (int i = 0; i < 10; i++)
		wait_for(&many[i].done);
	before = 0;
	for (int i = 0; i < 10; i++)
		before += many[i].size == BIG - 100 && !many[i].differs;
	ok(before == 10, "ten at once: %d whole", before);
}

static bool news_came(struct result *r, const char *news)
{
	uint64_t end = clock_ms() + WAIT_MS;

	r->text[0] = '\0';
	r->size = 0;
	watch_news = news;
	if (watcher)
		http_resume(watcher);
	while (strcmp(r->text, news) != 0 && !r->done && clock_ms() < end)
		loop_once(&loop, 100);
	return strcmp(r->text, news) == 0;
}

static void test_watch(struct http_client *client, struct result *conn)
{
	struct result r = { 0 };
	struct http_call *c;

	gone_count = gone_complete = 0;
	call(client, &r, "GET", "/watch", none);
	ok(news_came(&r, "one") && news_came(&r, "two"), "news on a watch");
	conn->pong = false;
	http_ping(client, 5000);
	ok(wait_for(&conn->pong), "ping and pong meanwhile");
	ok(clock_ms() - http_heard_ms(watcher) < 5000, "the server heard it");
	watch_news = "end";
	http_resume(watcher);
	wait_for(&r.done);
	ok(r.error == 0 && gone_complete == 1, "and its orderly end");

	memset(&r, 0, sizeof(r));
	watch_news = NULL;
	c = call(client, &r, "GET", "/watch", none);
	news_came(&r, "three");
	http_call_cancel(c);
	ok(r.done && r.error == -ECANCELED, "cancelled");
	while (gone_count < 2)
		loop_once(&loop, 1000);
	ok(gone_complete == 1, "the server hears that it is gone");
}

static bool fetched;

static void on_fetch(void *user, int error, int status, struct span body)
{
	struct result *r = user;

	r->error = error;
	r->status = status;
	r->size = body.size;
	fetched = true;
}

static void test_fetch(struct http_client *client)
{
	struct http_call_config config = { .method = "GET", .path = "/file" };
	static struct result r;

	fetched = false;
	http_fetch(client, &config, BIG, on_fetch, &r);
	wait_for(&fetched);
	ok(r.error == 0 && r.status == 200 && r.size == BIG - 100,
	   "fetched whole");
	fetched = false;
	http_fetch(client, &config, 1000, on_fetch, &r);
	wait_for(&fetched);
	ok(r.error == -EFBIG, "but no more than wanted: %d", r.error);
	config.path = "/quiet";
	config.timeout_ms = 50;
	fetched = false;
	http_fetch(client, &config, 1000, on_fetch, &r);
	wait_for(&fetched);
	ok(r.error == -ETIMEDOUT, "nor longer: %d", r.error);
}

static void test_ends(void)
{
	struct result conn = { 0 }, r = { 0 }, w = { 0 };
	struct span resume = { session, session_size };
	struct http_client *client = dial(&conn, client_tls, address, resume);

	call(client, &r, "GET", "/", none); /* before it is open */
	wait_for(&r.done);
	ok(strcmp(r.text, "GET / q= resumed=1 h2=1") == 0, "resumed: %s",
	   r.text);
	http_client_close(client);
	wait_for(&conn.closed);
	ok(conn.closed_error == 0, "closed in order: %s", conn.why);

	memset(&conn, 0, sizeof(conn));
	memset(&r, 0, sizeof(r));
	client = dial(&conn, client_tls, address, resume);
	call(client, &r, "GET", "/cut", none);
	wait_for(&conn.closed);
	ok(conn.closed_error < 0 && r.done && r.error < 0, "cut off: %d, %s",
	   r.error, conn.why);

	memset(&conn, 0, sizeof(conn));
	memset(&r, 0, sizeof(r));
	client = dial(&conn, client_tls, address, resume);
	call(client, &r, "GET", "/quiet", none);
	wait_for(&conn.opened);
	http_client_free(client);
	ok(r.done && r.error == -ECANCELED && !conn.closed, "freed");

	memset(&conn, 0, sizeof(conn));
	client = dial(&conn, client_tls, "127.0.0.1:1", resume);
	wait_for(&conn.closed);
	ok(conn.closed_error == -ECONNREFUSED, "refused: %s", conn.why);

	memset(&conn, 0, sizeof(conn));
	client = dial(&conn, client_tls, "no-such-host.invalid:1", resume);
	wait_for(&conn.closed);
	ok(conn.closed_error == -EHOSTUNREACH, "unknown: %s", conn.why);

	memset(&conn, 0, sizeof(conn));
	memset(&w, 0, sizeof(w));
	watch_news = NULL;
	client = dial(&conn, client_tls, address, resume);
	call(client, &w, "GET", "/watch", none);
	news_came(&w, "x");
	http_server_drain(server, 2000, NULL, NULL);
	wait_for(&conn.goaway);
	ok(conn.goaway && !conn.closed, "draining: the client is told");
	watch_news = "end";
	http_resume(watcher);
	wait_for(&conn.closed);
	ok(w.done && w.error == 0 && conn.closed_error == 0,
	   "what was begun ends in order: %s", conn.why);
}

static void set_up(int listen_fd)
{
	struct http_server_config config = { .loop = &loop,
					     .request = on_request };

	tls_ends(&pki, &server_tls, &client_tls);
	config.tls = server_tls;
	http_server_new(&config, &server);
	http_server_listen(server, listen_fd);
}

int main(void)
{
	struct result conn = { 0 };
	struct http_client *client;
	uint16_t port;
	int listen_fd;

	log_open("wire_http_test");
	wire_init();
	pki_make(&pki);
	loop_init(&loop);
	big_fd = memfd_create("big", MFD_CLOEXEC);
	if (ftruncate(big_fd, BIG) < 0)
		return 1;
	big = mmap(NULL, BIG, PROT_READ | PROT_WRITE, MAP_SHARED, big_fd, 0);
	wire_random(big, BIG);
	listen_fd = listen_loopback(&port);
	snprintf(address, sizeof(address), "localhost:%u", port);
	set_up(listen_fd);

	client = dial(&conn, client_tls, address, (struct span){ NULL, 0 });
	wait_for(&conn.opened);
	ok(conn.opened, "open");
	test_simple(client);
	test_bodies(client);
	test_watch(client, &conn);
	test_fetch(client);
	ok(session_size > 0, "a session to resume");
	http_client_free(client);
	test_ends();

	http_server_free(server);
	tls_free(server_tls);
	tls_free(client_tls);
	pki_free(&pki);
	close(listen_fd);
	return tap_done();
}
