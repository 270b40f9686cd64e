/* A server that keeps account of what it was asked, for the tests of what may
 * not lose a request nor deliver one twice.
 *
 *	audited PORT | -
 *
 * "-": its standard input is a socket that listens.
 *
 * A request and its answer are one struct message each. One thread serves one
 * connection, in order. At SIGTERM it says how many requests it has counted,
 * of all numbers together.
 *
 * With WARM_MS in its environment it takes so long before it listens, says
 * "warmed", and leaves a line in /warmed, which it keeps open. */
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum op {
	COUNT = 1, /* notes `number`, after `arg` us; the same comes back */
	AUDIT,	   /* of the numbers below `number`: how many came once, and
		    * in arg how many came more than once */
	BURN,	   /* computes for `arg` ms, after the answer */
	FILL,	   /* makes `arg` MB of memory its own */
};

struct message {
	uint32_t op, arg;
	uint64_t number;
};

enum { NUMBERS = 4 << 20 };

static _Atomic uint8_t seen[NUMBERS];
static _Atomic unsigned long counted;

static void *burn(void *ms)
{
	struct timespec now, end;

	clock_gettime(CLOCK_MONOTONIC, &end);
	end.tv_sec += (time_t)((uintptr_t)ms / 1000);
	do
		clock_gettime(CLOCK_MONOTONIC, &now);
	while (now.tv_sec <= end.tv_sec);
	return NULL;
}

static void audit(struct message *m)
{
	uint64_t n = m->number, once = 0;

	m->arg = 0;
	for (uint64_t i = 0; i < n && i < NUMBERS; i++) {
		once += seen[i] == 1;
		m->arg += seen[i] > 1;
	}
	m->number = once;
}

static void fill(uint32_t mb)
{
	char *p = malloc((size_t)mb << 20);

	for (size_t i = 0; p && i < (size_t)mb << 20; i += 64)
		memset(p + i, (int)(i >> 6) * 31, 64);
}

static void answer(struct message *m)
{
	pthread_t thread;

	switch ((enum op)m->op) {
	case COUNT:
		if (m->arg)
			usleep(m->arg);
		if (m->number < NUMBERS)
			seen[m->number]++;
		counted++;
		break;
	case AUDIT:
		audit(m);
		break;
	case BURN:
		pthread_create(&thread, NULL, burn, (void *)(uintptr_t)m->arg);
		break;
	case FILL:
		fill(m->arg);
		break;
	}
}

/* The freezer ends a recv() that waits with a part of it, as a signal would. */
static int take(int fd, struct message *m)
{
	char *to = (char *)m;
	ssize_t n;

	for (size_t had = 0; had < sizeof(*m); had += (size_t)n) {
		n = recv(fd, to + had, sizeof(*m) - had, MSG_WAITALL);
		if (n <= 0)
			return 0;
	}
	return 1;
}

static void *serve(void *arg)
{
	int fd = (int)(intptr_t)arg;
	struct message m;

	while (take(fd, &m)) {
		answer(&m);
		if (send(fd, &m, sizeof(m), MSG_NOSIGNAL) != sizeof(m))
			break;
	}
	close(fd);
	return NULL;
}

/* As the first process of a container it would not be ended by a signal that
 * it does not take. */
static void *end(void *signals)
{
	int number;

	sigwait(signals, &number);
	printf("counted %lu\n", counted);
	exit(0);
}

static void warm(void)
{
	const char *ms = getenv("WARM_MS");

	if (!ms)
		return;
	usleep((useconds_t)atoi(ms) * 1000);
	FILE *file = fopen("/warmed", "a");

	if (!file || fprintf(file, "warmed\n") < 0 || fflush(file) != 0)
		exit(1);
	printf("warmed\n");
	fflush(stdout);
}

int main(int argc, char **argv)
{
	struct sockaddr_in a = { .sin_family = AF_INET };
	int on = 1, fd;
	static sigset_t signals;
	pthread_attr_t small;
	pthread_t thread;

	if (argc != 2)
		return 2;
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	pthread_sigmask(SIG_BLOCK, &signals, NULL);
	pthread_create(&thread, NULL, end, &signals);
	a.sin_port = htons((uint16_t)atoi(argv[1]));
	fd = strcmp(argv[1], "-") ? socket(AF_INET, SOCK_STREAM, 0) : 0;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (fd && bind(fd, (struct sockaddr *)&a, sizeof(a)) < 0)
		return 1;
	warm();
	if (listen(fd, 4096) < 0)
		return 1;
	pthread_attr_init(&small);
	pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);
	for (;;) {
		int client = accept(fd, NULL, NULL);

		if (client < 0)
			continue;
		setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
		if (pthread_create(&thread, &small, serve,
				   (void *)(intptr_t)client) != 0)
			close(client);
	}
}
