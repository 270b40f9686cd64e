/* Clients that mean harm, against the server over loopback: each loses its
 * connection or its stream within bounds, and another client is served all the
 * while. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/log.h"
#include "tap.h"
#include "wire/http.h"
#include "wire_server.h"

/* The server's limits are far below its defaults, and so are its sweeps: the
 * tests wait for real time-outs. */
enum {
	WAIT_MS = 20000,
	ATTACK_BYTES = 30 << 20,
	HEADER_MS = 300,
	STALL_MS = 500,
	HANDSHAKE_MS = 700,
	BLOCKED_MS = 300, /* nothing was taken: no more will be */
};

static struct pki pki;
static struct loop loop;
static struct tls *server_tls, *client_tls;
static struct http_server *server, *plain;
static uint16_t port, plain_port;
static size_t held; /* body bytes that a handler keeps */
static int gone;

static void hold_body(struct http_request *request, struct span bytes)
{
	held += bytes.size;
}

static void hold_gone(struct http_request *request, bool complete)
{
	gone++;
}

static ssize_t endless(void *user, void *buf, size_t size)
{
	memset(buf, 'x', size);
	return (ssize_t)size;
}

static void on_request(struct http_request *request, void *user)
{
	static const struct http_request_on hold = { hold_body, NULL,
						     hold_gone };

	if (strcmp(request->path, "/hold") == 0) {
		request->on = &hold;
	} else if (strcmp(request->path, "/patient") == 0) {
		request->on = &hold;
		http_patient(request);
	} else if (strcmp(request->path, "/endless") == 0) {
		request->on = &hold;
		http_reply(request, 200, NULL, 0, http_pull(-1, endless));
	} else
		http_reply_bytes(request, 200, NULL, span_of("served"));
}

/* ---- the attacker ---- */

struct attacker {
	int fd;
	struct tls_conn *tls;
	bool reads; /* takes what is sent to it while it pushes */
	bool over;
	size_t sent, got;
	char reply[4096]; /* the first of what came */
};

static int dial(uint16_t to)
{
	struct sockaddr_in a = { .sin_family = AF_INET,
				 .sin_port = htons(to),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (connect(fd, (void *)&a, sizeof(a)) < 0)
		abort();
	fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

static void begin(struct attacker *a, bool tls)
{
	uint64_t end = clock_ms() + WAIT_MS;
	int n = 0;

	*a = (struct attacker){ .fd = dial(tls ? port : plain_port) };
	if (!tls)
		return;
	tls_open(client_tls, a->fd, "localhost", &a->tls);
	while (n != 1 && clock_ms() < end) {
		n = tls_handshake(a->tls);
		if (n == -EAGAIN)
			loop_once(&loop, 5);
	}
	if (n != 1)
		abort();
}

static void finish(struct attacker *a)
{
	tls_conn_free(a->tls);
	close(a->fd);
	loop_once(&loop, 0);
}

static bool lost(ssize_t n)
{
	return n < 0 && n != -EAGAIN;
}

static void drain_input(struct attacker *a)
{
	char buf[16384];
	ssize_t n;

	for (int i = 0; i < 50 && !a->over; i++) {
		n = a->tls ? tls_read(a->tls, buf, sizeof(buf))
			   : recv(a->fd, buf, sizeof(buf), 0);
		if (!a->tls && n < 0)
			n = -errno;
		if (n == -EAGAIN)
			return;
		a->over = n <= 0;
		if (n > 0 && a->got < sizeof(a->reply) - 1) {
			size_t room = sizeof(a->reply) - 1 - a->got;

			memcpy(a->reply + a->got, buf,
			       (size_t)n < room ? (size_t)n : room);
		}
		a->got += n > 0 ? (size_t)n : 0;
	}
}

/* Sends what can be sent; the bytes. */
static size_t push(struct attacker *a, const void *bytes, size_t size)
{
	ssize_t n = a->tls ? tls_write(a->tls, bytes, size)
			   : send(a->fd, bytes, size, MSG_NOSIGNAL);

	if (!a->tls && n < 0)
		n = -errno;
	if (lost(n))
		a->over = true;
	return n > 0 ? (size_t)n : 0;
}

/* Whether all was taken. */
static bool push_all(struct attacker *a, const void *bytes, size_t size)
{
	const char *p = bytes;
	uint64_t end = clock_ms() + BLOCKED_MS;

	while (size > 0 && !a->over && clock_ms() < end) {
		size_t n = push(a, p, size);

		p += n;
		size -= n;
		a->sent += n;
		if (n)
			end = clock_ms() + BLOCKED_MS;
		if (a->reads)
			drain_input(a);
		loop_once(&loop, n ? 0 : 5);
	}
	return !size;
}

/* Repeats the pattern until the server has had enough, or max bytes. */
static void flood(struct attacker *a, const void *pattern, size_t size,
		  size_t max)
{
	static char block[8191];
	size_t n = 0;
	uint64_t end = clock_ms() + WAIT_MS;

	while (n + size <= sizeof(block)) {
		memcpy(block + n, pattern, size);
		n += size;
	}
	while (!a->over && a->sent < max && clock_ms() < end &&
	       push_all(a, block, n))
		;
	for (int i = 0; i < 20 && !a->over; i++) {
		loop_once(&loop, 5);
		drain_input(a);
	}
}

/* ---- the other client ---- */

static int served, asked;
static struct http_client *good;
static bool good_open;

static void on_open(struct http_client *client)
{
	good_open = true;
}

static void on_closed(struct http_client *client, int error, const char *why)
{
	printf("# the good client lost its connection: %s\n", why);
	good = NULL;
	http_client_free(client);
}

static void on_served(void *user, int error, int status, struct span body)
{
	served += !error && status == 200 && span_is(body, "served");
}

static bool still_serves(void)
{
	struct http_call_config config = { .method = "GET", .path = "/" };
	uint64_t end = clock_ms() + WAIT_MS;

	asked++;
	if (!good || http_fetch(good, &config, 100, on_served, NULL) < 0)
		return false;
	while (served < asked && good && clock_ms() < end)
		loop_once(&loop, 100);
	return served == asked;
}

/* ---- HTTP/2 ---- */

#define PREFACE                            \
	"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" \
	"\0\0\0\4\0\0\0\0\0"
#define FIELDS "\x82\x84\x87\x41\x01x" /* GET / https, authority x */

static void test_h2_floods(void)
{
	static const struct {
		const char *what;
		const char *first;
		size_t first_size;
		const char *pattern;
		size_t size;
	} cases[] = {
		{ "pings", "", 0, "\0\0\x08\6\0\0\0\0\0abcdefgh", 17 },
		{ "settings", "", 0, "\0\0\0\4\0\0\0\0\0", 9 },
		{ "priorities", "", 0, "\0\0\5\2\0\0\0\0\x03\0\0\0\1\x10", 14 },
		{ "empty data",
		  "\0\0\6\1\4\0\0\0\1"
		  "\x83\x84\x87\x41\x01x",
		  15, "\0\0\0\0\0\0\0\0\1", 9 },
		{ "continuations", "\0\0\6\1\0\0\0\0\1" FIELDS, 15,
		  "\0\0\x04\x09\0\0\0\0\1"
		  "\0\1a\0",
		  13 },
		{ "unknown settings", "", 0,
		  "\0\0\x06\4\0\0\0\0\0\xff\0\0\0\0\1", 15 },
		{ "garbage", "", 0, "ghaeFohchoh4ahs1eishohPhiech8Ai", 31 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct attacker a;

		begin(&a, true);
		a.reads = true;
		push_all(&a, PREFACE, sizeof(PREFACE) - 1);
		push_all(&a, cases[i].first, cases[i].first_size);
		flood(&a, cases[i].pattern, cases[i].size, ATTACK_BYTES);
		ok(a.over && a.sent < ATTACK_BYTES / 4,
		   "%s: cut off after %zu bytes", cases[i].what, a.sent);
		finish(&a);
		ok(still_serves(), "%s: others are served", cases[i].what);
	}
}

static void test_rapid_reset(void)
{
	char frames[28] = "\0\0\6\1\5\0\0\0\0" FIELDS "\0\0\4\3\0\0\0\0\0"
			  "\0\0\0\x08";
	struct attacker a;
	uint32_t id = 1;

	begin(&a, true);
	push_all(&a, PREFACE, sizeof(PREFACE) - 1);
	for (; id < 200000 && !a.over; id += 2) {
		uint32_t wire = htonl(id);

		memcpy(frames + 5, &wire, 4);
		memcpy(frames + 20, &wire, 4);
		push_all(&a, frames, sizeof(frames));
		if (id % 64 == 1)
			drain_input(&a);
	}
	ok(a.over && id < 4000, "rapid reset: cut off after %u streams",
	   id / 2);
	finish(&a);
	ok(still_serves(), "rapid reset: others are served");
}

/* Fields of 100 MB cannot be, for their frames are bounded in size and number
 * (continuations, above); of those that can be, most is not kept. */
static void test_h2_headers(void)
{
	static char frame[9 + 6 + 16000];
	uint64_t before = http_server_stats(server)->refused_limits;
	struct attacker a;

	memcpy(frame, "\0\x3e\x86\1\5\0\0\0\1" FIELDS, 15);
	/* A literal field of 15994 bytes of value. */
	memcpy(frame + 15, "\0\1a\x7f\xfb\x7b", 6);
	memset(frame + 21, 'y', sizeof(frame) - 21);
	begin(&a, true);
	push_all(&a, PREFACE, sizeof(PREFACE) - 1);
	push_all(&a, frame, sizeof(frame));
	for (int i = 0; i < 50 && a.got < 100; i++) {
		loop_once(&loop, 20);
		drain_input(&a);
	}
	ok(http_server_stats(server)->refused_limits == before + 1,
	   "large fields are refused");
	finish(&a);
	ok(still_serves(), "large fields: others are served");
}

/* A body that its handler does not take stops at the window. */
static void test_window(void)
{
	static char data[9 + 8000] = "\0\x1f\x40\0\0\0\0\0\1";
	struct attacker a;

	held = 0;
	begin(&a, true);
	push_all(&a, PREFACE, sizeof(PREFACE) - 1);
	push_all(&a,
		 "\0\0\x0c\1\4\0\0\0\1"
		 "\x83\x87\x41\x01x\x04\x05/hold",
		 9 + 12);
	flood(&a, data, sizeof(data), ATTACK_BYTES);
	ok(held > 60000 && held <= 65536 + 16384,
	   "a body not taken stops at %zu bytes", held);
	finish(&a);
	ok(still_serves(), "others are served");
}

/* ---- HTTP/1.1 ---- */

static void test_h1_cases(void)
{
	static const struct {
		const char *what, *text, *starts, *has;
	} cases[] = {
		{ "plain", "GET / HTTP/1.1\r\nhost: x\r\n\r\n",
		  "HTTP/1.1 200 OK\r\n", "\r\n\r\nserved" },
		{ "two at once",
		  "GET / HTTP/1.1\r\n\r\nGET /a%20 HTTP/1.1\r\n"
		  "\r\n",
		  "HTTP/1.1 200", "servedHTTP/1.1 200" },
		{ "chunked",
		  "POST / HTTP/1.1\r\ntransfer-encoding: chunked"
		  "\r\n\r\n3\r\nabc\r\n0\r\n\r\nGET / HTTP/1.1\r\n"
		  "\r\n",
		  "HTTP/1.1 200", "servedHTTP/1.1 200" },
		{ "1.0 closes", "GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 200",
		  "connection: close" },
		{ "head", "HEAD / HTTP/1.1\r\n\r\nGET /../ HTTP/1.1\r\n\r\n",
		  "HTTP/1.1 200", "content-length: 6\r\n\r\nHTTP/1.1 400" },
		{ "continue",
		  "POST /hold HTTP/1.1\r\nexpect: 100-continue\r\n"
		  "content-length: 3\r\n\r\n",
		  "HTTP/1.1 100 Continue\r\n\r\n", "" },
		{ "garbage", "\x16\x03\x01\x02\r\n\r\n", "HTTP/1.1 400",
		  "connection: close" },
		{ "both lengths",
		  "POST / HTTP/1.1\r\ncontent-length: 3\r\n"
		  "transfer-encoding: chunked\r\n\r\nabc",
		  "HTTP/1.1 400", "close" },
		{ "two lengths",
		  "POST / HTTP/1.1\r\ncontent-length: 3\r\n"
		  "content-length: 4\r\n\r\nabc",
		  "HTTP/1.1 400", "close" },
		{ "space before colon", "GET / HTTP/1.1\r\nhost : x\r\n\r\n",
		  "HTTP/1.1 400", "close" },
		{ "no path", "OPTIONS * HTTP/1.1\r\n\r\n", "HTTP/1.1 400", "" },
		{ "proxy", "GET http://x/ HTTP/1.1\r\n\r\n", "HTTP/1.1 400",
		  "" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct attacker a;
		uint64_t end = clock_ms() + WAIT_MS;

		begin(&a, false);
		push_all(&a, cases[i].text, strlen(cases[i].text));
		while (!a.over && clock_ms() < end &&
		       !(a.got && strstr(a.reply, cases[i].has))) {
			loop_once(&loop, 5);
			drain_input(&a);
		}
		ok(strncmp(a.reply, cases[i].starts, strlen(cases[i].starts)) ==
				   0 &&
			   strstr(a.reply, cases[i].has),
		   "%s", cases[i].what);
		finish(&a);
	}
}

static void test_h1_floods(void)
{
	static const struct {
		const char *what, *first, *pattern, *status;
	} cases[] = {
		{ "endless field", "GET / HTTP/1.1\r\nx: ", "aaaaaaaaaaaaaaaa",
		  "431" },
		{ "endless fields", "GET / HTTP/1.1\r\n", "a: b\r\n", "431" },
		{ "endless path", "GET /", "aaaaaaaaaaaaaaaa", "431" },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct attacker a;

		begin(&a, false);
		push_all(&a, cases[i].first, strlen(cases[i].first));
		flood(&a, cases[i].pattern, strlen(cases[i].pattern),
		      100 << 20);
		drain_input(&a);
		/* What was sent too much may make the kernel drop the reply. */
		ok(a.over && a.sent < 20 << 20, "%s: cut off after %zu bytes",
		   cases[i].what, a.sent);
		finish(&a);
		ok(still_serves(), "%s: others are served", cases[i].what);
	}
}

/* ---- time ---- */

static bool is_cut(struct attacker *a)
{
	uint64_t end = clock_ms() + WAIT_MS;

	while (!a->over && clock_ms() < end) {
		loop_once(&loop, 50);
		drain_input(a);
	}
	return a->over;
}

static void test_slow(void)
{
	struct attacker a;

	begin(&a, false);
	push_all(&a, "GET / HTTP/1.1\r\nx: ", 19);
	ok(is_cut(&a), "half a head is not waited for");
	finish(&a);

	begin(&a, true);
	push_all(&a, PREFACE "\0\0\6\1\0\0\0\0\1" FIELDS,
		 sizeof(PREFACE) - 1 + 15);
	ok(is_cut(&a), "nor half of one in HTTP/2");
	finish(&a);

	a = (struct attacker){ .fd = dial(port) };
	ok(is_cut(&a), "nor a handshake that does not begin");
	finish(&a);

	a = (struct attacker){ .fd = dial(port) };
	push_all(&a, "\x16\3\1\2\0\1\0\1\xfc\3\3", 11);
	ok(is_cut(&a), "nor one that does not go on");
	finish(&a);

	gone = 0;
	begin(&a, false);
	push_all(&a, "POST /hold HTTP/1.1\r\ncontent-length: 9\r\n\r\nabc", 44);
	for (uint64_t end = clock_ms() + 3 * STALL_MS; clock_ms() < end;)
		loop_once(&loop, 50);
	ok(!gone, "a client whose bytes the handler keeps does not stall");
	finish(&a);
	for (uint64_t end = clock_ms() + WAIT_MS; !gone && clock_ms() < end;)
		loop_once(&loop, 50);
	ok(gone, "a request ends when its client goes");

	gone = 0;
	begin(&a, false);
	push_all(&a, "POST /patient HTTP/1.1\r\ncontent-length: 9\r\n\r\n", 45);
	for (uint64_t end = clock_ms() + 3 * STALL_MS; clock_ms() < end;)
		loop_once(&loop, 50);
	ok(!gone, "nor one whose body may rest");
	finish(&a);

	gone = 0;
	begin(&a, false);
	push_all(&a, "GET /endless HTTP/1.1\r\n\r\n", 25);
	for (uint64_t end = clock_ms() + WAIT_MS; !gone && clock_ms() < end;)
		loop_once(&loop, 50);
	ok(gone, "nor one who does not read the reply");
	finish(&a);
	ok(still_serves(), "others are served");
}

static struct http_client *late;
static bool late_open;

static void on_late_open(struct http_client *client)
{
	late_open = true;
}

static void on_late_closed(struct http_client *client, int error,
			   const char *why)
{
	late_open = true;
	late = NULL;
	http_client_free(client);
}

/* Those who begin a handshake and stop are in the way of others for a second or
 * so, no longer. */
static void test_many_handshakes(void)
{
	static const struct http_client_on on = { .open = on_late_open,
						  .closed = on_late_closed };
	char address[32];
	struct http_client_config config = {
		.loop = &loop, .tls = client_tls, .address = address, .on = &on
	};
	struct attacker a[40];
	uint64_t end = clock_ms() + WAIT_MS;

	for (int i = 0; i < 40; i++) {
		a[i] = (struct attacker){ .fd = dial(port) };
		push_all(&a[i], "\x16\3\1\2\0\1\0\1\xfc\3\3", 11);
	}
	ok(still_serves(), "40 handshakes begun: others are served");
	snprintf(address, sizeof(address), "localhost:%u", port);
	http_client_new(&config, &late);
	while (!late_open && clock_ms() < end)
		loop_once(&loop, 100);
	ok(late_open && late, "one who comes after them gets in");
	http_client_free(late);
	for (int i = 0; i < 40; i++)
		finish(&a[i]);
}

/* ---- set-up ---- */

static void set_up(int fd, int plain_fd)
{
	struct http_server_config config = {
		.loop = &loop,
		.request = on_request,
		.limits = { .handshakes = 16,
			    .window_bytes = 65536,
			    .header_bytes = 8192,
			    .header_ms = HEADER_MS,
			    .handshake_ms = HANDSHAKE_MS,
			    .stall_ms = STALL_MS },
	};

	tls_ends(&pki, &server_tls, &client_tls);
	http_server_new(&config, &plain);
	http_server_listen(plain, plain_fd);
	config.tls = server_tls;
	http_server_new(&config, &server);
	http_server_listen(server, fd);
}

static void start_good(void)
{
	static const struct http_client_on on = { .open = on_open,
						  .closed = on_closed };
	char address[32];
	struct http_client_config config = {
		.loop = &loop, .tls = client_tls, .address = address, .on = &on
	};

	snprintf(address, sizeof(address), "localhost:%u", port);
	http_client_new(&config, &good);
	while (!good_open && good)
		loop_once(&loop, 1000);
}

int main(void)
{
	int fd, plain_fd;

	log_open("wire_hostile_test");
	wire_init();
	pki_make(&pki);
	loop_init(&loop);
	fd = listen_loopback(&port);
	plain_fd = listen_loopback(&plain_port);
	set_up(fd, plain_fd);
	start_good();
	ok(still_serves(), "served");
	test_h2_floods();
	test_rapid_reset();
	test_h2_headers();
	test_window();
	test_h1_cases();
	test_h1_floods();
	test_slow();
	test_many_handshakes();
	http_client_free(good);
	http_server_free(server);
	http_server_free(plain);
	tls_free(server_tls);
	tls_free(client_tls);
	pki_free(&pki);
	close(fd);
	close(plain_fd);
	return tap_done();
}
