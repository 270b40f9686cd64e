/* zrun restore: a container from the files that checkpoint wrote.
 *
 * criu(8) makes the processes; it ends and they become ours, as we are a
 * subreaper for as long as we wait, or init's. What the container's config
 * names is made anew before: state, cgroup, bind mounts. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "base/fd.h"
#include "create.h"
#include "criu.h"
#include "criu_image.h"
#include "criu_mount.h"
#include "criu_stdio.h"
#include "kernel.h"
#include "option.h"
#include "terminal.h"

#define PID_FILE "criu.pid"

struct restore {
	struct create create;
	struct criu_options criu;
	const char *lsm_profile, *lsm_mount_context;
	bool detach;
};

enum {
	OPTION_PID_FILE = CRIU_OWN,
	OPTION_LSM_PROFILE,
	OPTION_LSM_CONTEXT,
	OPTION_CONSOLE,
	OPTION_IGNORED,
};

static const struct option options[] = {
	CRIU_LONG_OPTIONS,
	{ "bundle", required_argument, NULL, 'b' },
	{ "detach", no_argument, NULL, 'd' },
	{ "pid-file", required_argument, NULL, OPTION_PID_FILE },
	{ "console-socket", required_argument, NULL, OPTION_CONSOLE },
	{ "lsm-profile", required_argument, NULL, OPTION_LSM_PROFILE },
	{ "lsm-mount-context", required_argument, NULL, OPTION_LSM_CONTEXT },
	{ "no-pivot", no_argument, NULL, OPTION_IGNORED },
	{ "no-subreaper", no_argument, NULL, OPTION_IGNORED },
	{ NULL, 0, NULL, 0 },
};

static int read_options(int argc, char **argv, struct restore *r,
			struct fault *fault)
{
	int option, error = 0;

	while ((option = option_next(argc, argv, "b:d", options, NULL)) >= 0) {
		if (option == '?')
			return -EINVAL;
		if (option == 'b')
			r->create.bundle = optarg;
		else if (option == 'd')
			r->detach = true;
		else if (option == OPTION_PID_FILE)
			r->create.pid_file = optarg;
		else if (option == OPTION_LSM_PROFILE)
			r->lsm_profile = optarg;
		else if (option == OPTION_LSM_CONTEXT)
			r->lsm_mount_context = optarg;
		else if (option == OPTION_CONSOLE)
			error = fault_set(fault, 0,
					  "--console-socket: a terminal cannot "
					  "be restored");
		else if (option != OPTION_IGNORED)
			error = criu_option(&r->criu, option, fault);
		if (error < 0)
			return error;
	}
	return 0;
}

/* Reading the bundle changes the working directory. */
static int find_paths(struct restore *r, struct fault *fault)
{
	static char image[4096], work[4096], pid_file[4096], root[4096];
	const char *given = r->criu.image_path ? r->criu.image_path
					       : "checkpoint";

	if (!realpath(given, image))
		return fault_set(fault, -errno, "--image-path %.200s", given);
	r->criu.image_path = image;
	if (r->criu.work_path && !realpath(r->criu.work_path, work))
		return fault_set(fault, -errno, "--work-path %.200s",
				 r->criu.work_path);
	r->criu.work_path = r->criu.work_path ? work : image;
	int error = path_absolute(&r->create.pid_file, pid_file,
				  sizeof(pid_file));

	if (error == 0)
		error = path_absolute(&cli.root, root, sizeof(root));
	return error < 0 ? fault_set(fault, error, "working directory") : 0;
}

/* In criu: what it makes is born in the container's cgroup, and the root must
 * be a mount, which nobody else needs to see. */
static int enter(void *arg)
{
	const struct restore *restored = arg;
	const struct container *c = &restored->create.container;
	const char *root = c->state.rootfs;
	int r = c->cgroup.dir >= 0
			? file_put(c->cgroup.dir, "cgroup.procs", "0")
			: 0;

	/* "0" is whoever writes. */
	if (r == 0 && restored->create.launch.resctrl >= 0)
		r = file_put(restored->create.launch.resctrl, "tasks", "0");
	if (r == 0 && unshare(CLONE_NEWNS) < 0)
		r = -errno;
	if (r == 0)
		r = kernel_mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL);
	if (r == 0)
		r = kernel_mount(root, root, NULL, MS_BIND | MS_REC, NULL);
	if (r == 0)
		r = criu_mount_stage(restored->criu.image_path);
	return r;
}

static int call_criu(struct restore *r, struct fault *fault)
{
	static struct criu_command command;
	struct container *c = &r->create.container;

	criu_begin(&command, "restore", &r->criu);
	criu_add(&command, "--root");
	criu_add(&command, "%s", c->state.rootfs);
	criu_add(&command, "--restore-detached");
	criu_add(&command, "--pidfile");
	criu_add(&command, "/proc/%d/fd/%d/" PID_FILE, (int)getpid(), c->dir);
	if (r->lsm_profile) {
		criu_add(&command, "--lsm-profile");
		criu_add(&command, "%s", r->lsm_profile);
	}
	if (r->lsm_mount_context) {
		criu_add(&command, "--lsm-mount-context");
		criu_add(&command, "%s", r->lsm_mount_context);
	}
	criu_stdio_inherit(&command, r->criu.image_path);
	int error = criu_mount_restore(&command, &r->create.config,
				       r->criu.image_path, fault);

	return error < 0 ? error
			 : criu_run(&command, &r->criu, enter, r, fault);
}

/* Who was restored becomes the container's first process. */
static int take_process(struct restore *r, struct fault *fault)
{
	struct container *c = &r->create.container;
	struct launch *l = &r->create.launch;
	autofree char *text = NULL;
	size_t size;
	int error = file_read(c->dir, PID_FILE, 64, &text, &size);

	if (error < 0)
		return fault_set(fault, error, "the id of what criu restored");
	l->pid = (pid_t)strtol(text, NULL, 10);
	l->pidfd = l->pid > 0 ? kernel_pidfd_open(l->pid) : -ESRCH;
	if (l->pidfd < 0)
		return fault_set(fault, l->pidfd,
				 "process %d that criu restored", (int)l->pid);
	unlinkat(c->dir, PID_FILE, 0);
	c->state.pid = l->pid;
	c->state.start_time = process_start_time(l->pid);
	error = state_write(c->dir, &c->state);
	if (error < 0)
		return fault_set(fault, error, "keep its state");
	return r->create.pid_file
		       ? pid_file_write(r->create.pid_file, l->pid, fault)
		       : 0;
}

static int restore(struct restore *r, struct fault *fault)
{
	struct create *c = &r->create;
	int error = find_paths(r, fault);

	if (error == 0)
		error = criu_image_check(r->criu.image_path, fault);
	if (error == 0)
		error = create_begin(c, fault);
	if (error < 0)
		return error;
	error = create_devices(c, fault);
	c->poststop_due = error == 0;
	if (!r->detach) {
		foreground_block();
		prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	}
	if (error == 0)
		error = call_criu(r, fault);
	if (error == 0)
		error = take_process(r, fault);
	if (error < 0)
		create_undo(c);
	return error;
}

int command_restore(int argc, char **argv)
{
	struct restore r = { 0 };
	struct fault fault = { "" };
	int status = 0;
	int error = read_options(argc, argv, &r, &fault);

	if (error == 0)
		error = cli_operand(argc, argv);
	if (error == 0) {
		r.create.id = argv[optind];
		error = restore(&r, &fault);
	}
	if (error < 0) {
		if (fault.text[0])
			cli_error(fault.text);
		return 1;
	}
	if (r.detach)
		return 0;
	status = foreground_wait(r.create.launch.pid, r.create.launch.pidfd,
				 -1);
	if (container_destroy(&r.create.container, &r.create.config, &fault) <
	    0)
		cli_warning(fault.text);
	return status;
}
