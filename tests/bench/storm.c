/* A storm: N clients with a certificate begin a full handshake with a hub at
 * once; how long does one who is connected already wait for its replies?
 *
 *	storm HOST:PORT FOLDER PIN N PID
 *
 * FOLDER is an operator's, as zhub init writes it; PID the hub's. The storm is
 * a process of its own. The wait is given as it was, and as the CPU that the
 * hub spent in it, which others on the machine do not inflate. Prints one JSON
 * object. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "wire/http.h"

enum { WAIT_MS = 120000, REQUESTS_MAX = 1 << 17, BEFORE = 500 };

static struct loop loop;
static struct tls *tls;
static const char *address;

static int opened, closed;

static void on_open(struct http_client *client)
{
	(void)client;
	opened++;
}

static void on_closed(struct http_client *client, int error, const char *why)
{
	if (!closed++)
		fprintf(stderr, "storm: %s (%d)\n", why, error);
	http_client_free(client);
}

static struct http_client *client_new(void)
{
	static const struct http_client_on on = { .open = on_open,
						  .closed = on_closed };
	struct http_client_config config = { .loop = &loop,
					     .tls = tls,
					     .address = address,
					     .open_ms = WAIT_MS,
					     .on = &on };
	struct http_client *client = NULL;

	if (http_client_new(&config, &client) < 0)
		abort();
	return client;
}

/* ---- the storm ---- */

static int storm(int n, int go, int report)
{
	char byte;

	if (loop_init(&loop) < 0 || read(go, &byte, 1) != 1)
		return 1;
	for (int i = 0; i < n; i++)
		client_new();
	while (opened + closed < n)
		loop_once(&loop, 1000);
	return write(report, &opened, sizeof(opened)) != sizeof(opened);
}

/* ---- the one who waits ---- */

static double wall_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

static int schedstat;

/* CPU of the hub so far. */
static double hub_ms(void)
{
	char text[128] = "";

	if (pread(schedstat, text, sizeof(text) - 1, 0) <= 0)
		abort();
	return (double)strtoull(text, NULL, 10) / 1e6;
}

static double wall[REQUESTS_MAX], cpu[REQUESTS_MAX];
static int served;

static void on_served(void *user, int error, int status, struct span body)
{
	(void)user;
	(void)body;
	if (error || status != 200)
		abort();
	served++;
}

static void ask(struct http_client *client, int i)
{
	struct http_call_config config = { .method = "GET", .path = "/v2/" };
	double start = wall_ms(), used = hub_ms();
	int before = served;

	if (http_fetch(client, &config, 1000, on_served, NULL) < 0)
		abort();
	while (served == before)
		loop_once(&loop, 1000);
	wall[i] = wall_ms() - start;
	cpu[i] = hub_ms() - used;
}

static int by_size(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static void show(const char *name, double *values, int n)
{
	qsort(values, (size_t)n, sizeof(*values), by_size);
	printf(",\"%s\":{\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"max_ms\":%.3f}",
	       name, values[n / 2], values[n * 99 / 100], values[n - 1]);
}

static int wait_through(int go, int report, int n)
{
	struct http_client *client = client_new();
	struct pollfd done = { .fd = report, .events = POLLIN };
	double start;
	int asked = 0, got;

	while (!opened && !closed)
		loop_once(&loop, 1000);
	if (!opened)
		return 1;
	while (asked < BEFORE)
		ask(client, asked++);
	printf("{\"requests\":%d", asked);
	show("before", wall, asked);
	start = wall_ms();
	if (write(go, "g", 1) != 1)
		return 1;
	for (asked = 0; asked < REQUESTS_MAX && !poll(&done, 1, 0); asked++)
		ask(client, asked);
	if (read(report, &got, sizeof(got)) != sizeof(got) || got != n)
		return 1;
	printf(",\"asked\":%d,\"seconds\":%.2f", asked,
	       (wall_ms() - start) / 1e3);
	show("wall", wall, asked);
	show("cpu", cpu, asked);
	puts("}");
	http_client_free(client);
	return 0;
}

/* ---- set-up ---- */

static char *file(const char *folder, const char *name)
{
	autoclose int dir = open(folder, O_DIRECTORY | O_CLOEXEC);
	char *text;
	size_t size;

	if (dir < 0 || file_read(dir, name, 1 << 16, &text, &size) < 0)
		abort();
	return text;
}

static void tls_start(const char *folder, const char *pin)
{
	autofree char *chain = file(folder, "client.cert");
	autofree char *pem = file(folder, "client.key");
	struct tls_client_config config = { .chain = span_of(chain),
					    .alpn = "h2" };
	struct cert_key *key;

	if (cert_key_read(span_of(pem), &key) < 0 ||
	    cert_pin_parse(span_of(pin), config.pin) < 0)
		abort();
	config.key = key;
	if (tls_client_new(&config, &tls) < 0)
		abort();
	cert_key_free(key);
}

int main(int argc, char **argv)
{
	int go[2], report[2], n, status;
	char path[64];
	pid_t pid;

	log_open("storm");
	if (argc != 6 || wire_init() < 0 || pipe2(go, O_CLOEXEC) < 0 ||
	    pipe2(report, O_CLOEXEC) < 0)
		return 2;
	address = argv[1];
	n = atoi(argv[4]);
	snprintf(path, sizeof(path), "/proc/%d/schedstat", atoi(argv[5]));
	schedstat = open(path, O_RDONLY | O_CLOEXEC);
	tls_start(argv[2], argv[3]);
	pid = fork();
	if (pid == 0)
		_exit(storm(n, go[0], report[1]));
	close(report[1]);
	loop_init(&loop);
	status = wait_through(go[1], report[0], n);
	waitpid(pid, NULL, 0);
	return status;
}
