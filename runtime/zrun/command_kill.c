/* zrun kill, delete, pause, resume */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "cli.h"
#include "kernel.h"
#include "oci/signal_name.h"
#include "option.h"

static int not_possible(const char *verb, enum status status)
{
	char text[100];

	snprintf(text, sizeof(text), "cannot %s a container that is %s", verb,
		 status_name(status));
	cli_error(text);
	return -EINVAL;
}

static int report(const char *what, int error)
{
	struct fault fault = { "" };

	fault_set(&fault, error, "%s", what);
	cli_error(fault.text);
	return error;
}

static int kill_container(struct container *c, int signal, bool all)
{
	enum status status = state_status(c->dir, &c->state);

	if (all) {
		int r = container_signal(c, signal);

		return r < 0 ? report("kill --all", r) : 0;
	}
	/* containerd knows that it has ended by "container not running". */
	if (status == STATUS_STOPPED || status == STATUS_CREATING) {
		cli_error("cannot kill: container not running");
		return -EINVAL;
	}
	autoclose int pidfd = state_pidfd(&c->state);
	int r = pidfd < 0 ? pidfd : kernel_pidfd_signal(pidfd, signal);

	return r < 0 ? report("kill", r) : 0;
}

int command_kill(int argc, char **argv)
{
	static const struct option options[] = {
		{ "all", no_argument, NULL, 'a' },
		{ NULL, 0, NULL, 0 },
	};
	struct container c;
	bool all = false;
	int option;

	while ((option = option_next(argc, argv, "a", options, NULL)) >= 0) {
		if (option != 'a')
			return 1;
		all = true;
	}
	if (argc - optind < 1 || argc - optind > 2) {
		cli_error("want a container id and a signal; see --help");
		return 1;
	}
	const char *name = argc - optind == 2 ? argv[optind + 1] : "TERM";
	int signal = signal_number(name);

	cli.container = argv[optind];
	if (signal < 0) {
		cli_error("no such signal");
		return 1;
	}
	if (container_open(&c, argv[optind]) < 0)
		return 1;
	int r = kill_container(&c, signal, all);

	container_close(&c);
	return r < 0;
}

static int delete_container(struct container *c, bool force)
{
	enum status status = state_status(c->dir, &c->state);
	struct runtime_config config;
	struct fault fault = { "" };
	char text[100];

	/* Only what is stopped may be deleted (runtime specification), created
	 * ones included. */
	if (status != STATUS_STOPPED && !force) {
		snprintf(text, sizeof(text),
			 "cannot delete a container that is not stopped: %s",
			 status_name(status));
		cli_error(text);
		return -EINVAL;
	}
	if (container_config(c->dir, &config, &fault) < 0)
		memset(&config, 0, sizeof(config)); /* half made */
	container_kill(c);
	int r = container_destroy(c, &config, &fault);

	runtime_config_free(&config);
	if (r < 0)
		cli_error(fault.text);
	return r;
}

int command_delete(int argc, char **argv)
{
	static const struct option options[] = {
		{ "force", no_argument, NULL, 'f' },
		{ NULL, 0, NULL, 0 },
	};
	struct container c;
	struct fault fault = { "" };
	bool force = false;
	int option;

	while ((option = option_next(argc, argv, "f", options, NULL)) >= 0) {
		if (option != 'f')
			return 1;
		force = true;
	}
	if (argc - optind != 1) {
		cli_error("want one container id; see --help");
		return 1;
	}
	if (!state_id_valid(argv[optind])) {
		cli.container = argv[optind];
		cli_error("invalid id: no container has it");
		return 1;
	}
	/* Forcing away what is not there succeeds, as with rm -f. */
	if (force) {
		autoclose int root = state_root(cli.root, false, &fault);
		autoclose int dir = root < 0 ? root
					     : state_open(root, argv[optind],
							  &fault);

		if (dir == -ENOENT)
			return 0;
	}
	int r = force ? container_open_damaged(&c, argv[optind])
		      : container_open(&c, argv[optind]);

	if (r < 0)
		return 1;
	r = delete_container(&c, force);

	container_close(&c);
	return r < 0;
}

static int change(int argc, char **argv, bool pause)
{
	struct container c;

	if (container_only(&c, argc, argv) < 0)
		return 1;
	enum status status = state_status(c.dir, &c.state);
	bool may = pause ? status == STATUS_RUNNING || status == STATUS_CREATED
			 : status == STATUS_PAUSED;
	int r = !may	? not_possible(argv[0], status)
		: pause ? cgroup_pause(&c.cgroup)
			: cgroup_freeze(&c.cgroup, false);

	if (may && r < 0)
		report(argv[0], r);
	container_close(&c);
	return r < 0;
}

int command_pause(int argc, char **argv)
{
	return change(argc, argv, true);
}

int command_resume(int argc, char **argv)
{
	return change(argc, argv, false);
}
