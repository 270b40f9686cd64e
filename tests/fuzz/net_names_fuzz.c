/* Any bytes as what a container asks the resolver, by datagram or by TCP, and
 * as what a name server answers. The connections to name servers lead here:
 * the first byte says how well what comes back fits what was asked, so that
 * the rest of an answer is read too. */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/name_stream.h"
#include "net/policy.h"
#include "net/resolver.h"
#include "net/traffic.h"
#include "net/tun.h"
#include "net/upstream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum {
	BY_STREAM = 1,
	RAW_STREAM = 2, /* its sizes are the fuzzer's */
	TRUE_ID = 4,
	TRUE_QUESTION = 8,
	RAW_ANSWER = 16,
	ROUNDS = 4,
};

static struct loop loop;
static struct tun tun;
static int server = -1; /* the end of a name server */

const struct upstream *upstream_get(void)
{
	static const struct upstream u = {
		.n = 1, .address[0] = { [10] = 0xff, 0xff, 192, 0, 2, 1 }
	};

	return &u;
}

int connect(int fd, const struct sockaddr *address, socklen_t size)
{
	socklen_t n = sizeof(int);
	int type, pair[2];

	(void)address;
	(void)size;
	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &n) < 0 ||
	    socketpair(AF_UNIX, type | SOCK_NONBLOCK, 0, pair) < 0 ||
	    dup2(pair[1], fd) < 0)
		abort();
	close(pair[1]);
	if (server >= 0)
		close(server);
	server = pair[0];
	return 0;
}

static void setup(void)
{
	static struct policy policy = {
		.rules = { .magic = NET_POLICY_MAGIC, .n_rules = 2 },
	};
	static const char *const names[] = { "*.a", "example.com" };

	for (int i = 0; i < 2; i++) {
		policy.rules.rule[i].by = NET_RULE_NAME;
		text_copy(policy.rules.rule[i].name, NET_RULE_NAME_SIZE,
			  names[i]);
	}
	if (loop_init(&loop) < 0)
		abort();
	resolver_init(&loop);
	tun.fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
	tun.traffic = traffic_get("c-1");
	tun.policy = &policy;
}

static int ask(const uint8_t *query, size_t size, uint8_t choice)
{
	const struct asker asker = { .tun = &tun,
				     .key = { .outside_port = 53 } };
	uint8_t prefix[2] = { (uint8_t)(size >> 8), (uint8_t)size };
	int fd;

	if (!(choice & BY_STREAM)) {
		(void)resolver_ask(&asker, query, size);
		return -1;
	}
	fd = name_stream_open(&tun);
	if (fd < 0)
		abort();
	if (!(choice & RAW_STREAM))
		(void)!write(fd, prefix, sizeof(prefix));
	(void)!write(fd, query, size);
	return fd;
}

/* One message of the name server, if it was asked. */
static void answer(const uint8_t *data, size_t size, uint8_t choice)
{
	uint8_t got[2 + RESOLVER_QUERY_MAX], out[2 + 4096];
	ssize_t n = server < 0 ? -1 : read(server, got, sizeof(got));
	socklen_t length = sizeof(int);
	size_t at = 2, question;
	int type = 0;

	if (n < 14)
		return;
	getsockopt(server, SOL_SOCKET, SO_TYPE, &type, &length);
	size = size > 2048 ? 2048 : size;
	if (choice & RAW_ANSWER) {
		(void)!write(server, data, size);
		return;
	}
	const uint8_t *query = got + (type == SOCK_STREAM ? 2 : 0);

	n -= query - got;
	/* What the fuzzer says for the header, then the question, the rest. */
	memset(out, 0, sizeof(out));
	memcpy(out + at, data, size < 12 ? size : 12);
	if (choice & TRUE_ID)
		memcpy(out + at, query, 2);
	if (choice & TRUE_QUESTION) {
		out[at + 2] |= 0x80;
		memcpy(out + at + 4, query + 4, 2);
	}
	data += size < 12 ? size : 12;
	size -= size < 12 ? size : 12;
	at += 12;
	question = choice & TRUE_QUESTION ? (size_t)n - 12 : 0;
	memcpy(out + at, query + 12, question);
	memcpy(out + at + question, data, size);
	at += question + size;
	out[0] = (uint8_t)((at - 2) >> 8);
	out[1] = (uint8_t)(at - 2);
	if (type == SOCK_STREAM)
		(void)!write(server, out, at);
	else
		(void)!write(server, out + 2, at - 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char taken[65536];
	size_t n;
	int fd;

	if (tun.fd <= 0)
		setup();
	if (size < 2)
		return 0;
	n = data[1] < size - 2 ? data[1] : size - 2;
	fd = ask(data + 2, n, data[0]);
	for (int round = 0; round < ROUNDS; round++) {
		/* Connected, asked, answered. */
		for (int i = 0; i < 3; i++)
			loop_once(&loop, 0);
		answer(data + 2 + n, size - 2 - n, data[0]);
	}
	loop_once(&loop, 0);
	while (fd >= 0 && recv(fd, taken, sizeof(taken), MSG_DONTWAIT) > 0)
		loop_once(&loop, 0);
	if (fd >= 0)
		close(fd);
	resolver_end(&tun);
	if (tun.queries || tun.name_streams)
		abort();
	if (server >= 0)
		close(server);
	server = -1;
	return 0;
}
