/* Starts containers through `zrun serve` and prints, as one JSON object, how
 * long each took in microseconds, the least and the median of all:
 *
 *	exec	from the request until the reply, which says execve was reached
 *	exit	until init has told that the program ended
 *
 * serve_start COUNT PAUSE_MS DIGEST CONFIG: one after the other, with a pause
 * in between in which serve may make ready what the next one takes.
 * serve_start COUNT burst DIGEST CONFIG: all at once; "all" is the time until
 * the last one has been reported running.
 *
 * The program of CONFIG ends by itself in the first form. What was started is
 * deleted, outside of what is timed. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/span.h"
#include "init/init.h"
#include "zrun/serve.h"

enum { COUNT_MAX = 1000, CONNECTIONS = 60 };

static int config_fd;
static const char *digest;
static int events = -1;

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

_Noreturn static void fail(const char *what, int error, const char *text)
{
	fprintf(stderr, "serve_start: %s: %s %s\n", what, strerror(-error),
		text);
	exit(1);
}

static int connected(const char *name)
{
	int fd = ipc_connect(name);

	if (fd < 0)
		fail(name, fd, "");
	return fd;
}

static void ask(int sock, enum zrun_verb verb, int number)
{
	struct zrun_request request = {
		.head = { sizeof(request), verb },
		.arg = verb == ZRUN_KILL ? 9 : 0,
	};

	snprintf(request.id, sizeof(request.id), "bench-%d", number);
	text_copy(request.digest, sizeof(request.digest), digest);
	int r = ipc_send(sock, &request, sizeof(request), &config_fd,
			 verb == ZRUN_START);

	if (r < 0)
		fail("send", r, "");
}

static void answer(int sock, const char *what)
{
	struct zrun_reply reply;
	struct ipc_fds none = { 0 };
	int r = ipc_recv(sock, &reply, sizeof(reply), &none);

	if (r != 1)
		fail(what, r, "");
	if (reply.error)
		fail(what, reply.error, reply.text);
}

/* init's stream is read until it tells of the end of `number`. */
static void wait_exit(int number)
{
	struct init_event event;
	char id[INIT_NAME_SIZE];

	snprintf(id, sizeof(id), "bench-%d", number);
	do {
		struct ipc_fds fds = { 0 };
		int r = ipc_recv(events, &event, sizeof(event), &fds);

		if (r != 1)
			fail("init", r, "");
		ipc_fds_close(&fds);
	} while (event.head.verb != INIT_EVENT_EXITED || event.key.n != 0 ||
		 strcmp(event.key.container, id) != 0);
	if (event.exit_status != 0)
		fail(id, -EPROTO, "did not exit with 0");
}

/* -EBUSY while serve has not seen the end yet. */
static void delete (int sock, int number)
{
	struct zrun_reply reply;
	struct ipc_fds none = { 0 };

	do {
		ask(sock, ZRUN_DELETE, number);
		if (ipc_recv(sock, &reply, sizeof(reply), &none) != 1)
			fail("delete", -EPIPE, "");
	} while (reply.error == -EBUSY);
	if (reply.error)
		fail("delete", reply.error, reply.text);
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void print(const char *name, double *us, int n)
{
	qsort(us, (size_t)n, sizeof(*us), by_value);
	printf("\"%s\": {\"min\": %.1f, \"median\": %.1f}", name, us[0],
	       us[n / 2]);
}

static void in_turn(int count, int pause_ms)
{
	static double exec_us[COUNT_MAX], exit_us[COUNT_MAX];
	int sock = connected("zrun");

	for (int i = 0; i < count; i++) {
		double start = now_us();

		ask(sock, ZRUN_START, i);
		answer(sock, "start");
		exec_us[i] = now_us() - start;
		wait_exit(i);
		exit_us[i] = now_us() - start;
		delete (sock, i);
		poll(NULL, 0, pause_ms);
	}
	printf("{");
	print("exec", exec_us, count);
	printf(", ");
	print("exit", exit_us, count);
	printf("}\n");
}

static void burst(int count)
{
	int sock[CONNECTIONS];
	int sent = 0, got = 0;

	for (int i = 0; i < CONNECTIONS; i++)
		sock[i] = connected("zrun");
	double start = now_us();

	while (sent < count && sent < CONNECTIONS) {
		ask(sock[sent], ZRUN_START, sent);
		sent++;
	}
	while (got < count) {
		struct pollfd p[CONNECTIONS];

		for (int i = 0; i < CONNECTIONS; i++)
			p[i] = (struct pollfd){ sock[i], POLLIN, 0 };
		poll(p, CONNECTIONS, -1);
		for (int i = 0; i < CONNECTIONS; i++) {
			if (!p[i].revents)
				continue;
			answer(sock[i], "start");
			got++;
			if (sent < count)
				ask(sock[i], ZRUN_START, sent++);
		}
	}
	printf("{\"all\": %.1f}\n", now_us() - start);
	for (int i = 0; i < count; i++) {
		ask(sock[0], ZRUN_KILL, i);
		answer(sock[0], "kill");
		delete (sock[0], i);
	}
}

int main(int argc, char **argv)
{
	struct init_request watch = {
		.head = { sizeof(watch), INIT_WATCH },
		.key = { .kind = INIT_KIND_PIDFD },
	};
	autofree char *text = NULL;
	size_t size;
	int count = argc == 5 ? atoi(argv[1]) : 0;

	if (count < 1 || count > COUNT_MAX) {
		fprintf(stderr, "usage: serve_start COUNT PAUSE_MS|burst "
				"DIGEST CONFIG\n");
		return 2;
	}
	digest = argv[3];
	int r = file_read(AT_FDCWD, argv[4], ZRUN_CONFIG_MAX, &text, &size);

	if (r < 0)
		fail(argv[4], r, "");
	config_fd = memfd_sealed("config", text, size);
	events = connected("init");
	r = ipc_send(events, &watch, sizeof(watch), NULL, 0);
	if (config_fd < 0 || r < 0)
		fail("begin", r, "");
	if (strcmp(argv[2], "burst") == 0)
		burst(count);
	else
		in_turn(count, atoi(argv[2]));
	return 0;
}
