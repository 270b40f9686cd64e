/* zrun mounts: mounts added to a running container and taken away again. What
 * is bound is opened out here; a child goes in and attaches it there. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "cli.h"
#include "join.h"
#include "mount_source.h"
#include "option.h"

struct mounts {
	struct container container;
	struct runtime_config config;
	struct launch launch;
	struct join join;
	bool remove;
};

static int read_mounts(struct mounts *m, const char *path, struct fault *fault)
{
	autofree char *text = NULL;
	char error[RUNTIME_ERROR_SIZE];
	size_t size;
	int r = file_read(AT_FDCWD, path, RUNTIME_CONFIG_SIZE_MAX, &text,
			  &size);

	if (r < 0)
		return fault_set(fault, r, "%.200s", path);
	r = runtime_mounts_parse(&m->config, text, size, error);
	return r < 0 ? fault_set(fault, 0, "%.100s: %s", path, error) : 0;
}

static int bind_source(const struct runtime_mount *mount, size_t index,
		       struct fault *fault)
{
	if (!mount->bind)
		return -1;
	int fd = mount_source_tree(mount);

	return fd < 0 ? fault_set(fault, fd,
				  "mounts[%zu] (%.80s): source %.80s", index,
				  mount->destination, mount->source)
		      : fd;
}

static int make_plan(struct mounts *m, struct fault *fault)
{
	struct plan *plan = &m->launch.plan;

	plan->op = calloc(m->config.n_mount + 3, sizeof(*plan->op));
	if (!plan->op)
		return fault_set(fault, -ENOMEM, "mounts");
	plan->op[plan->n++] = (struct op){ .code = OP_JOIN,
					   .index = -1,
					   .fd = m->join.fd[RUNTIME_NS_MOUNT],
					   .number = CLONE_NEWNS };
	plan->op[plan->n++] =
		(struct op){ .code = OP_ROOT_HERE, .index = -1, .fd = -1 };
	for (size_t i = 0; i < m->config.n_mount; i++) {
		const struct runtime_mount *mount = &m->config.mount[i];
		int fd = m->remove ? -1 : bind_source(mount, i, fault);

		if (fd < -1)
			return fd;
		plan->op[plan->n++] = (struct op){
			.code = m->remove ? OP_UNMOUNT : OP_MOUNT,
			.index = (int)i,
			.fd = fd,
			.path = mount->destination,
			.object = mount,
		};
	}
	plan->op[plan->n++] =
		(struct op){ .code = OP_READY, .index = -1, .fd = -1 };
	return 0;
}

static int change(struct mounts *m, const char *path, struct fault *fault)
{
	const struct container *c = &m->container;
	enum status status = state_status(c->dir, &c->state);

	if (status == STATUS_STOPPED || status == STATUS_CREATING)
		return fault_set(fault, 0,
				 "cannot change the mounts of a container that "
				 "is %s",
				 status_name(status));
	int r = read_mounts(m, path, fault);

	if (r == 0)
		r = join_open(&m->join, c->state.pid, NULL, fault);
	if (r == 0)
		r = make_plan(m, fault);
	if (r == 0)
		r = launch_clone(&m->launch, fault);
	if (r < 0)
		return r;
	r = launch_receive(&m->launch, fault);
	launch_kill(&m->launch); /* it has no program to go on to */
	if (r == 0)
		return fault_set(fault, -ECHILD, "the process was killed");
	return r < 0 ? r : 0;
}

int command_mounts(int argc, char **argv)
{
	static const struct option none[] = { { NULL, 0, NULL, 0 } };
	struct mounts m = { 0 };
	struct fault fault = { "" };

	if (option_next(argc, argv, "", none, NULL) != -1)
		return 1;
	if (argc - optind != 3 || (strcmp(argv[optind], "add") != 0 &&
				   strcmp(argv[optind], "remove") != 0)) {
		cli_error("want add or remove, a container id and a file with "
			  "mounts; see --help");
		return 1;
	}
	m.remove = strcmp(argv[optind], "remove") == 0;
	if (container_open(&m.container, argv[optind + 1]) < 0)
		return 1;
	launch_init(&m.launch, NULL, &m.config);
	m.launch.exec = true;
	join_init(&m.join);
	int r = change(&m, argv[optind + 2], &fault);

	if (r < 0)
		cli_error(fault.text);
	/* The process ends; the kernel frees all else. */
	return r < 0;
}
