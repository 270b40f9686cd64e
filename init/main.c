/* init: PID 1 of a node, and the small commands that belong to it. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <unistd.h>

#include "base/log.h"
#include "client.h"
#include "config.h"
#include "console.h"
#include "data.h"
#include "early.h"
#include "keep.h"
#include "net.h"
#include "node.h"

struct command {
	const char *name;
	int (*main)(int argc, char **argv);
	const char *help; /* NULL: only init itself calls it */
};

static const struct command commands[] = {
	{ "status", status_main, "services of the running init" },
	{ "poweroff", poweroff_main, "orderly end of the node" },
	{ "reboot", reboot_main, "orderly end and new start" },
	{ "console", console_main, "N: the commands of console N (0, 1, ...)" },
	{ "--supervise", supervise_main,
	  "[--services FILE] DIR...: services without a node" },
	{ "mount-zooid", zooid_main, NULL },
	{ "mount-data", data_main, NULL },
	{ "keep", keep_main, NULL },
	{ "net", net_main, NULL },
};

static int usage(FILE *out)
{
	fprintf(out, "usage: init COMMAND [ARGUMENT...]\n\n");
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		if (commands[i].help)
			fprintf(out, "  %-12s %s\n", commands[i].name,
				commands[i].help);
	fprintf(out, "\nAs PID 1 it starts the node. See init(8).\n");
	return out == stdout ? EXIT_SUCCESS : 2;
}

/* The kernel appends to our arguments what it does not know of its command
 * line, so PID 1 only looks at its own. */
static void pid1(int argc, char **argv)
{
	int err;

	if (argc > 1 && strncmp(argv[1], "--root=", 7) == 0)
		node_run(strtoull(argv[1] + 7, NULL, 10));
	log_open("init");
	err = early_boot();
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
		pid1(argc, argv);
	log_open("init");
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < sizeof(commands) / sizeof(*commands); i++)
		if (strcmp(commands[i].name, name) == 0)
			return commands[i].main(argc - 1, argv + 1);
	return usage(strcmp(name, "--help") == 0 ? stdout : stderr);
}
