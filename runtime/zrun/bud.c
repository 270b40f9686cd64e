#define _GNU_SOURCE
#include "bud.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "kernel.h"
#include "launch.h"
#include "policy.h"
#include "seccomp_filter.h"
#include "serve.h"
#include "shape.h"
#include "zrun/netlink.h"

int bud_plan(struct plan *plan, struct runtime_config *config,
	     const struct bud_given *given, struct fault *fault)
{
	struct plan_setting setting = {
		.address = given->address,
		.seccomp = true,
		.user_name = true,
		.mount_fd = given->mount_fd,
	};

	for (int i = 0; i < RUNTIME_NS_COUNT; i++)
		setting.join_fd[i] = -1;
	int r = plan_container(plan, config, &setting, fault);

	if (r < 0)
		return r;
	r = plan_behind(plan, config, given->root);
	return r < 0 ? fault_set(fault, r, "plan") : 0;
}

/* That of the shape, then that of the container. */
static struct runtime_config config;

/* Bytes that serve has read and found allowed. It lets nothing run that it has
 * not. */
static int read_config(int fd)
{
	char error[RUNTIME_ERROR_SIZE];
	autofree char *text = NULL;
	size_t size;
	int r = memfd_read(fd, ZRUN_CONFIG_MAX, &text, &size);

	runtime_config_free(&config);
	memset(&config, 0, sizeof(config));
	if (r == 0)
		r = runtime_config_parse(&config, text, size, error);
	return r == 0 ? policy_complete(&config, false) : r;
}

int bud_shape(int shape)
{
	return read_config(shape);
}

/* The empty root is the same file system for all buds: nobody writes to it
 * once it is a container's. */
static int mount_ahead(struct child *c)
{
	struct mount_attr readonly = { .attr_set = MOUNT_ATTR_RDONLY };
	struct plan_setting setting = { .root_path = NULL };
	struct fault fault = { "" };
	struct plan plan = { 0 };

	for (int i = 0; i < RUNTIME_NS_COUNT; i++)
		setting.join_fd[i] = -1;
	int r = plan_container(&plan, &config, &setting, &fault);

	if (r < 0)
		return child_detail(c, r, "%.100s", fault.text);
	plan_ahead(&plan, &config);
	c->plan = &plan;
	size_t n = plan.n;

	r = child_run_some(c, &n);
	if (r < 0)
		child_fail(c, (int)n, r);
	plan_free(&plan);
	c->plan = NULL;
	fd_close(&c->mask);
	return kernel_mount_setattr(c->stage, 0, &readonly);
}

static int prepare_network(const struct child *c)
{
	if (unshare(CLONE_NEWNET) < 0)
		return -errno;
	return shape_has_address(&config) ? network_ahead(c->host_proc)
					  : network_prepare(c->host_proc, 0);
}

static void make_ahead(struct child *c)
{
	c->config = &config;
	c->process = &config.process;
	c->root = c->stage = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r = c->stage < 0 ? -errno : prepare_network(c);

	if (r < 0)
		child_fail(c, -1, child_detail(c, r, "network namespace"));
	/* Serve's, far below 0, is inherited. */
	r = file_put(c->host_proc, "self/oom_score_adj", "0");
	if (r == 0)
		r = mount_ahead(c);
	if (r < 0)
		child_fail(c, -1, r);
	setsid();
	c->filter = seccomp_default();
	c->grantable = launch_grantable(false);
}

static void tell_ready(struct child *c)
{
	struct bud_ready ready = { { sizeof(ready), 0 } };
	autoclose int mounts = openat(c->host_proc, "self/ns/mnt",
				      O_RDONLY | O_CLOEXEC);
	int r = mounts < 0 ? -errno
			   : ipc_send(c->channel, &ready, sizeof(ready),
				      &mounts, 1);

	if (r < 0)
		child_fail(c, -1, child_detail(c, r, "mount namespace"));
}

/* The bind mounts' sources come in the order of the mounts. */
static int take_mounts(const struct ipc_fds *fds, int **mount_fd)
{
	int *all = malloc((config.n_mount + 1) * sizeof(*all));
	int next = BUD_FD_MOUNT;

	if (!all)
		return -ENOMEM;
	for (size_t i = 0; i < config.n_mount; i++) {
		all[i] = -1;
		if (config.mount[i].bind && next < fds->n)
			all[i] = fds->fd[next++];
	}
	*mount_fd = all;
	return 0;
}

/* From here on it is a child like any other. */
_Noreturn static void become(struct child *c, const struct bud_start *start,
			     const struct ipc_fds *fds)
{
	static struct plan plan;
	struct bud_given given = { .address = start->address,
				   .root = fds->fd[BUD_FD_ROOT] };
	struct fault fault = { "" };
	int *mount_fd = NULL;
	int r = take_mounts(fds, &mount_fd);

	for (int i = 0; i < 3; i++)
		c->stdio[i] = fds->fd[BUD_FD_STDIO + i];
	given.mount_fd = mount_fd;
	if (r == 0)
		r = bud_plan(&plan, &config, &given, &fault);
	if (r < 0)
		child_fail(c, -1,
			   child_detail(c, r, "config %.90s", fault.text));
	c->plan = &plan;
	c->root = -1;
	child_finish(c);
}

_Noreturn void bud_live(struct child *child)
{
	struct bud_config told;
	struct bud_start start;
	struct ipc_fds fds = { 0 };

	child_reset(child);
	make_ahead(child);
	tell_ready(child);
	/* Serve went away, or took none of this shape any more. */
	if (ipc_recv(child->channel, &told, sizeof(told), &fds) != 1 ||
	    fds.n != 1)
		_exit(0);
	int r = read_config(fds.fd[0]);

	ipc_fds_close(&fds);
	if (ipc_recv(child->channel, &start, sizeof(start), &fds) != 1 ||
	    fds.n < BUD_FD_MOUNT)
		_exit(0);
	if (r < 0)
		child_fail(child, -1, child_detail(child, r, "config"));
	become(child, &start, &fds);
}
