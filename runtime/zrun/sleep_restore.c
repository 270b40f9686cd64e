/* criu(8) restores a container: its processes become init's when it ends.
 *
 * It is given what the container's config means: a cgroup and its namespace, a
 * network namespace, the root, volumes, files, and output. Nobody else sees its
 * mounts. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "child.h"
#include "cli.h"
#include "criu_mount.h"
#include "criu_stdio.h"
#include "kernel.h"
#include "sleep.h"
#include "zrun/netlink.h"

enum { FD_NETWORK = 3, FD_FREE = 4 };

struct restored {
	struct start *start;
	struct criu_options options;
	char image_path[4096], work_path[4096];
	int stage; /* a tmpfs of ours, for places to mount on */
	int network;
	char stage_path[4096 + 64];
};

static int make_network(struct restored *r)
{
	autoclose int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (proc < 0 || unshare(CLONE_NEWNET) < 0)
		return -errno;
	int error = network_prepare(proc, r->start->container->address);

	if (error < 0)
		return error;
	r->network = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (r->network < 0 || setns(resident.own_netns, CLONE_NEWNET) < 0)
		return -errno;
	return 0;
}

static int enter_cgroup(const struct restored *r)
{
	int error = file_put(r->start->cgroup.dir, "cgroup.procs", "0");

	if (error == 0 && unshare(CLONE_NEWCGROUP) < 0)
		error = -errno;
	/* Serve's, far below 0, is inherited. */
	return error < 0 ? error
			 : file_put(AT_FDCWD, "/proc/self/oom_score_adj", "0");
}

static int open_stage(struct restored *r)
{
	int error = unshare(CLONE_NEWNS) < 0 ? -errno : 0;

	if (error == 0)
		error = kernel_mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL);
	if (error == 0)
		error = criu_mount_stage(r->image_path);
	if (error < 0)
		return error;
	r->stage = open(r->stage_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return r->stage < 0 ? -errno : 0;
}

/* Attaches a mount to a place of that name on the stage. */
static int stage_mount(const struct restored *r, const char *name, int mount)
{
	struct stat st;

	if (fstat(mount, &st) < 0)
		return -errno;
	int error = kernel_result(
		S_ISDIR(st.st_mode) ? mkdirat(r->stage, name, 0700)
				    : mknodat(r->stage, name, S_IFREG, 0));
	autoclose int onto =
		error < 0 ? error : openat(r->stage, name, O_PATH | O_CLOEXEC);

	return onto < 0 ? onto : kernel_attach(mount, onto);
}

/* As its config says: nothing of a volume is a device, or has a set-id. */
static int stage_volume(const struct restored *r, const char *name,
			const struct runtime_mount *m, int tree)
{
	struct mount_attr attr = { .attr_set = m->attr_set,
				   .attr_clr = m->attr_clear };
	int error = stage_mount(r, name, tree);

	return error < 0 ? error : kernel_mount_setattr(tree, 0, &attr);
}

/* Where criu finds the mounts that come from the config. */
static int stage_given(const struct restored *r)
{
	struct runtime_config *config = &r->start->config;
	const struct file_owner owner = { r->start->root,
					  &config->process.user };
	int error = 0;

	for (size_t i = 0; error == 0 && i < config->n_mount; i++) {
		struct runtime_mount *m = &config->mount[i];
		bool is_file = m->type && strcmp(m->type, "file") == 0;
		char name[32], *path = NULL;

		if (!m->bind && !is_file)
			continue;
		snprintf(name, sizeof(name), "given%zu", i);
		if (asprintf(&path, "%s/%s", r->stage_path, name) < 0)
			return -ENOMEM;
		error = is_file ? child_file_write(r->stage, name, m, &owner)
				: stage_volume(r, name, m,
					       r->start->mount_fd[i]);
		m->source = path;
	}
	return error;
}

static int build_command(const struct restored *r, struct criu_command *command,
			 struct fault *fault)
{
	criu_begin(command, "restore", &r->options);
	criu_add(command, "--root");
	criu_add(command, "%s/root", r->stage_path);
	criu_add(command, "--restore-detached");
	criu_add(command, "--leave-stopped");
	criu_add(command, "--pidfile");
	criu_add(command, "%s/zrun/%s/" SLEEP_PID_FILE, path_run(),
		 r->start->container->id);
	criu_add(command, "--inherit-fd");
	criu_add(command, "fd[%d]:" SLEEP_NETWORK, FD_NETWORK);
	criu_stdio_inherit(command, r->image_path);
	return criu_mount_restore(command, &r->start->config, r->image_path,
				  fault);
}

/* In criu: nothing of serve's is held but what it is to have. */
static int enter(void *arg)
{
	const struct restored *r = arg;
	const int *stdio = r->start->launch.child.stdio;
	int network = fcntl(r->network, F_DUPFD_CLOEXEC, 64);
	int error = enter_cgroup(r);

	if (error < 0)
		return error;
	for (int i = 0; i < 3; i++)
		if (dup2(stdio[i], i) < 0)
			return -errno;
	if (network < 0 || dup2(network, FD_NETWORK) < 0)
		return -errno;
	return kernel_close_range(FD_FREE, ~0u, 0);
}

/* One without a writable layer is read-only by itself. */
static int stage_root(const struct restored *r)
{
	struct mount_attr readonly = { .attr_set = MOUNT_ATTR_RDONLY };
	int error = stage_mount(r, "root", r->start->root);

	if (error < 0 || !r->start->config.root_readonly)
		return error;
	return kernel_mount_setattr(r->start->root, 0, &readonly);
}

static int make_places(struct restored *r, struct fault *fault)
{
	int error = make_network(r);

	if (error < 0)
		return fault_set(fault, error, "its network namespace");
	error = open_stage(r);
	if (error < 0)
		return fault_set(fault, error, "its mounts");
	error = stage_root(r);
	if (error < 0)
		return fault_set(fault, error, "its root");
	error = stage_given(r);
	return error < 0 ? fault_set(fault, error, "its volumes") : 0;
}

int sleep_restore(struct start *s, const char *image)
{
	static struct restored r;
	static struct criu_command command;

	r.start = s;
	sleep_options(&r.options, image, r.image_path);
	snprintf(r.work_path, sizeof(r.work_path), "%s/zrun/%s", path_run(),
		 s->container->id);
	r.options.work_path = r.work_path;
	snprintf(r.stage_path, sizeof(r.stage_path), "%s/" CRIU_MOUNT_TREES,
		 r.image_path);
	int error = make_places(&r, &s->fault);

	if (error == 0)
		error = build_command(&r, &command, &s->fault);
	return error < 0 ? error
			 : criu_run(&command, &r.options, enter, &r, &s->fault);
}
