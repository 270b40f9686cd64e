/* znode top and znode logs: what applications do now. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/loop.h"

#include "app.h"
#include "client.h"

enum { PERIOD_MS = 2000, LOGS_ARGUMENTS = 8 };

static const struct znode_app *row_of(const struct client_rows *rows,
				      const char *container)
{
	for (unsigned i = 0; i < rows->n; i++)
		if (strcmp(rows->app[i].container, container) == 0)
			return &rows->app[i];
	return NULL;
}

/* In per cent of one processor, since the sample before. */
static double share(const struct znode_app *app,
		    const struct client_rows *before, uint64_t elapsed_ms)
{
	const struct znode_app *was = row_of(before, app->container);

	if (!was || !elapsed_ms || app->cpu_ms < was->cpu_ms)
		return 0;
	return 100.0 * (double)(app->cpu_ms - was->cpu_ms) / (double)elapsed_ms;
}

static void print(const struct client_rows *rows,
		  const struct client_rows *before, uint64_t elapsed_ms)
{
	if (isatty(STDOUT_FILENO))
		fputs("\033[H\033[J", stdout);
	printf("%-16s %-9s %6s %9s %9s %8s  %s\n", "NAME", "STATE", "CPU%",
	       "MB", "LIMIT", "RESTARTS", "CONTAINER");
	for (unsigned i = 0; i < rows->n; i++) {
		const struct znode_app *app = &rows->app[i];
		char limit[16] = "-";

		if (app->memory_bytes)
			snprintf(limit, sizeof(limit), "%.1f",
				 (double)app->memory_bytes / 1e6);
		printf("%-16s %-9s %6.1f %9.1f %9s %8u  %s\n", app->name,
		       znode_state_name(app->state),
		       share(app, before, elapsed_ms),
		       (double)app->memory_used / 1e6, limit, app->restarts,
		       app->container);
	}
	fflush(stdout);
}

/* True at q, at the end of the input, and where nobody could press one. */
static bool is_over(void)
{
	struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };
	char c = 'q';

	if (poll(&input, 1, PERIOD_MS) <= 0)
		return false;
	return read(STDIN_FILENO, &c, 1) <= 0 || c == 'q';
}

int client_top(int argc, char **argv)
{
	struct client_rows now = { 0 }, before = { 0 };
	uint64_t at = 0;
	int r;

	(void)argv;
	if (argc != 1)
		return 2;
	do {
		uint64_t last = at;

		free(before.app);
		before = now;
		now = (struct client_rows){ 0 };
		r = client_rows(&now);
		at = clock_boot_ms();
		if (r == 0)
			print(&now, &before, last ? at - last : 0);
	} while (r == 0 && !ferror(stdout) && !is_over());
	free(before.app);
	free(now.app);
	return r ? 1 : 0;
}

/* zlog has them, and takes the same options. */
int client_logs(int argc, char **argv)
{
	char *tail[LOGS_ARGUMENTS + 2] = { "zlog", "tail" };

	if (argc < 2 || argc > LOGS_ARGUMENTS)
		return 2;
	for (int i = 1; i < argc; i++)
		tail[i + 1] = argv[i];
	execvp("zlog", tail);
	return client_complain("zlog", strerror(errno));
}
