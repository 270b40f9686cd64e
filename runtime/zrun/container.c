#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/span.h"
#include "cli.h"
#include "kernel.h"
#include "resctrl.h"
#include "root_mount.h"
#include "state_json.h"

#define KILL_WAIT_MS 10000

static int open_directories(struct container *c, const char *id)
{
	struct fault fault = { "" };

	*c = (struct container){ .root = -1, .dir = -1, .cgroup = CGROUP_NONE };
	cli.container = id;
	c->root = state_root(cli.root, false, &fault);
	if (c->root < 0) {
		cli_error("container does not exist");
		return c->root;
	}
	c->dir = state_open(c->root, id, &fault);
	if (c->dir < 0) {
		cli_error(fault.text);
		fd_close(&c->root);
	}
	return c->dir < 0 ? c->dir : 0;
}

static void open_cgroup(struct container *c)
{
	struct fault fault = { "" };

	if (c->state.cgroup[0] && cgroup_find(&c->cgroup, &fault) == 0)
		cgroup_open(&c->cgroup, c->state.cgroup);
}

int container_open(struct container *c, const char *id)
{
	struct fault fault = { "" };
	int r = open_directories(c, id);

	if (r < 0)
		return r;
	r = state_read(c->dir, &c->state, &fault);
	if (r < 0 && r != -ENOENT) {
		cli_error(fault.text);
		container_close(c);
		return r;
	}
	/* Half made: an empty state tells. */
	if (!c->state.id[0])
		state_empty(&c->state, id);
	open_cgroup(c);
	return 0;
}

/* What create would have written. */
static void guess_cgroup(struct container *c)
{
	struct runtime_config config = { 0 };
	struct fault fault = { "" };
	const char *path = NULL;

	if (container_config(c->dir, &config, &fault) == 0)
		path = config.cgroups_path;
	while (path && *path == '/')
		path++;
	if (path && *path)
		text_copy(c->state.cgroup, sizeof(c->state.cgroup), path);
	else
		snprintf(c->state.cgroup, sizeof(c->state.cgroup), "zrun/%s",
			 c->state.id);
	runtime_config_free(&config);
}

int container_open_damaged(struct container *c, const char *id)
{
	struct fault fault = { "" };
	int r = open_directories(c, id);

	if (r < 0)
		return r;
	c->damaged = state_read(c->dir, &c->state, &fault) < 0 &&
		     faccessat(c->dir, "state.json", F_OK, 0) == 0;
	if (c->damaged || !c->state.id[0])
		state_empty(&c->state, id);
	if (c->damaged)
		guess_cgroup(c);
	open_cgroup(c);
	return 0;
}

int cli_operand(int argc, char **argv)
{
	if (optind == argc - 1) {
		cli.container = argv[optind];
		return 0;
	}
	cli_error("want one container id; see --help");
	return -EINVAL;
}

int container_only(struct container *c, int argc, char **argv)
{
	if (argc != 2) {
		cli_error("want one container id; see --help");
		return -EINVAL;
	}
	return container_open(c, argv[1]);
}

void container_close(struct container *c)
{
	fd_close(&c->dir);
	fd_close(&c->root);
	cgroup_close(&c->cgroup);
}

void container_kill(const struct container *c)
{
	autoclose int pidfd = state_pidfd(&c->state);
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	if (pidfd < 0)
		return;
	kernel_pidfd_signal(pidfd, SIGKILL);
	/* A frozen process dies only when it may run. */
	cgroup_freeze(&c->cgroup, false);
	poll(&p, 1, KILL_WAIT_MS);
}

int container_config(int dir, struct runtime_config *config,
		     struct fault *fault)
{
	autofree char *text = NULL;
	char error[RUNTIME_ERROR_SIZE];
	size_t size;
	int r = file_read(dir, "config.json", RUNTIME_CONFIG_SIZE_MAX, &text,
			  &size);

	if (r < 0)
		return fault_set(fault, r, "config.json");
	r = runtime_config_parse(config, text, size, error);
	return r < 0 ? fault_set(fault, 0, "config.json: %s", error) : 0;
}

void container_poststop(const struct state *state,
			const struct runtime_config *config)
{
	const struct runtime_hooks *all = &config->hooks[RUNTIME_HOOK_POSTSTOP];

	for (size_t i = 0; i < all->n; i++) {
		struct runtime_config one = *config;
		struct fault fault = { "" };

		one.hooks[RUNTIME_HOOK_POSTSTOP] =
			(struct runtime_hooks){ &all->item[i], 1 };
		if (state_hooks(&one, RUNTIME_HOOK_POSTSTOP, state,
				STATUS_STOPPED, &fault) < 0)
			cli_warning(fault.text);
	}
}

int container_destroy(struct container *c, const struct runtime_config *config,
		      struct fault *fault)
{
	/* Half made: its child dies with zrun by itself, and what else may be
	 * in a cgroup that the config named is not ours to kill. */
	bool half = c->state.pid == 0 && !c->damaged;
	int r = half ? cgroup_remove_empty(&c->cgroup)
		     : cgroup_remove(&c->cgroup);

	if (r == -EBUSY && half)
		r = 0;
	if (r < 0)
		return fault_set(fault, r, "remove its cgroup");
	if (config->intel_rdt.set || c->damaged)
		resctrl_undo(c->dir);
	if (!config->namespace[RUNTIME_NS_MOUNT].set)
		root_mount_remove(c->dir);
	r = state_remove(c->root, c->state.id);
	if (r < 0)
		return fault_set(fault, r, "remove its state");
	container_poststop(&c->state, config);
	return 0;
}

int pid_file_write(const char *path, pid_t pid, struct fault *fault)
{
	char text[16], directory[4096];
	int n = snprintf(text, sizeof(text), "%d", (int)pid);
	const char *slash = strrchr(path, '/');

	snprintf(directory, sizeof(directory), "%.*s",
		 slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
	autoclose int dir = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = dir < 0 ? -errno
			: file_replace(dir, slash ? slash + 1 : path, 0644,
				       text, (size_t)n);

	return r < 0 ? fault_set(fault, r, "--pid-file %.200s", path) : 0;
}
