/* init: PID 1 of a node, and the small commands that belong to it. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <unistd.h>

#include "base/log.h"
#include "base/loop.h"
#include "client.h"
#include "console.h"
#include "early.h"
#include "node.h"

struct command {
	const char *name;
	int (*main)(int argc, char **argv);
	const char *help;
};

static const struct command commands[] = {
	{ "status", status_main, "services of the running init" },
	{ "poweroff", poweroff_main, "orderly end of the node" },
	{ "reboot", reboot_main, "orderly end and new start" },
	{ "console", console_main, "N: the commands of console N (0, 1, ...)" },
	{ "--supervise", supervise_main,
	  "[--services FILE] DIR...: services without a node" },
};

static int usage(FILE *out)
{
	fprintf(out, "usage: init COMMAND [ARGUMENT...]\n\n");
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		fprintf(out, "  %-12s %s\n", commands[i].name,
			commands[i].help);
	fprintf(out, "\nAs PID 1 it starts the node. See init(8).\n");
	return out == stdout ? EXIT_SUCCESS : 2;
}

/* The kernel appends to our arguments what it does not know of its command
 * line; PID 1 looks at none of them. */
__attribute__((noreturn)) static void pid1(void)
{
	uint64_t started_ms = clock_boot_ms();
	int err;

	log_open("init");
	err = early_boot();
	if (err == 0)
		node_run(started_ms);
	log_error("root file system", "%s; restart in 10 s", strerror(-err));
	sleep(10);
	reboot(RB_AUTOBOOT);
	for (;;)
		pause();
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "";

	if (getpid() == 1 && strcmp(name, "--supervise") != 0)
		pid1();
	log_open("init");
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		if (strcmp(commands[i].name, name) == 0)
			return commands[i].main(argc - 1, argv + 1);
	return usage(strcmp(name, "--help") == 0 ? stdout : stderr);
}
