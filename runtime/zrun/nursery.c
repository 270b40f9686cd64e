/* The process that makes buds (bud.h). It waits for one thing at a time, which
 * is all it has to do. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "bud.h"
#include "cgroup.h"
#include "kernel.h"
#include "launch.h"

#define SWEEP_EVERY 16
#define OWN_CGROUP  "@nursery"

/* Its net namespace, which takes as long as all else, a bud makes itself: so
 * that several do at once. */
#define BUD_NAMESPACES \
	(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS)

struct nursery {
	int sock;
	int host_proc;
	int cgroups;
	char prefix[16];   /* of the buds' cgroups */
	unsigned cgroup_n; /* of the next bud's */
	bool has_shape;
};

/* A small file system of our own, for directories to mount on. */
static int empty_root(void)
{
	autoclose int fs = kernel_fsopen("tmpfs");

	if (fs < 0)
		return fs;
	int r = kernel_fsconfig(fs, FSCONFIG_SET_STRING, "mode", "755");

	if (r == 0)
		r = kernel_fsconfig(fs, FSCONFIG_SET_STRING, "size", "256k");
	if (r == 0)
		r = kernel_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL);
	return r < 0 ? r
		     : kernel_fsmount(fs, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
						  MOUNT_ATTR_NOEXEC);
}

/* What hides directories of all containers is one file system that nobody can
 * write to: each is known to every memory cgroup, so that those of n containers
 * would cost n * n. */
static int attach_mask(void)
{
	autoclose int fs = kernel_fsopen("tmpfs");
	autoclose int onto = open("/" CHILD_STAGE_MASK,
				  O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fs < 0 || onto < 0)
		return fs < 0 ? fs : -errno;
	int r = kernel_fsconfig(fs, FSCONFIG_SET_FLAG, "ro", NULL);

	if (r == 0)
		r = kernel_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL);
	if (r < 0)
		return r;
	autoclose int mount = kernel_fsmount(
		fs, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV |
			    MOUNT_ATTR_NOEXEC);

	return mount < 0 ? mount : kernel_attach(mount, onto);
}

/* The mount namespace that every bud gets a copy of. */
static int enter_empty_root(void)
{
	if (unshare(CLONE_NEWNS) < 0)
		return -errno;
	int r = kernel_mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL);

	if (r < 0)
		return r;
	struct child child = { .root = empty_root() };
	autoclose int onto = open(path_run(), O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (child.root < 0 || onto < 0)
		return child.root < 0 ? child.root : -errno;
	r = kernel_result(mkdirat(child.root, CHILD_STAGE_FILES, 0755));
	if (r == 0)
		r = kernel_result(mkdirat(child.root, CHILD_STAGE_MASK, 0755));
	if (r == 0)
		r = kernel_attach(child.root, onto);
	if (r == 0)
		r = child_pivot(&child);
	if (r == 0)
		r = attach_mask();
	close(child.root);
	return r;
}

void nursery_sweep(int cgroups, const char *prefix,
		   bool (*keep)(const char *name))
{
	DIR *list = path_list(cgroups, ".");

	for (struct dirent *e; list && (e = readdir(list));) {
		if (strncmp(e->d_name, prefix, strlen(prefix)) == 0 &&
		    !(keep && keep(e->d_name)))
			unlinkat(cgroups, e->d_name, AT_REMOVEDIR);
	}
	if (list)
		closedir(list);
}

static int take_shape(struct nursery *n, struct ipc_fds *fds)
{
	if (fds->n != 1)
		return -EBADMSG;
	n->has_shape = bud_shape(fds->fd[0]) == 0;
	/* Those for the shape before it are gone, or will be the next time. */
	nursery_sweep(n->cgroups, n->prefix, NULL);
	return 0;
}

_Noreturn static void live(struct nursery *n, int channel)
{
	static struct runtime_config none;
	static struct launch launch;

	launch_init(&launch, "", &none);
	launch.child.channel = channel;
	launch.child.host_proc = n->host_proc;
	bud_live(&launch.child);
}

/* With the default device rules; the names of earlier ones are passed by. */
static int make_cgroup(struct nursery *n, char name[NURSERY_NAME_SIZE])
{
	static const struct runtime_resources none;
	struct cgroup cg = CGROUP_NONE;
	struct fault fault = { "" };

	/* Of buds that nobody took. */
	if (n->cgroup_n % SWEEP_EVERY == 0)
		nursery_sweep(n->cgroups, n->prefix, NULL);
	do
		snprintf(name, NURSERY_NAME_SIZE, "%s%u", n->prefix,
			 n->cgroup_n++);
	while (mkdirat(n->cgroups, name, 0755) < 0 && errno == EEXIST);
	cg.dir = openat(n->cgroups, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (cg.dir < 0)
		return -errno;
	int r = cgroup_devices(&cg, &none, &fault);

	if (r < 0)
		fd_close(&cg.dir);
	return r < 0 ? r : cg.dir;
}

static int make_bud(struct nursery *n)
{
	struct nursery_reply reply = { .head = { sizeof(reply), NURSERY_BUD } };
	int fd[NURSERY_FDS] = { -1, -1, -1 }, pair[2] = { -1, -1 };
	struct clone_args args = {
		.flags = CLONE_PARENT | CLONE_PIDFD | CLONE_INTO_CGROUP |
			 BUD_NAMESPACES,
		.pidfd = (uint64_t)(uintptr_t)&fd[NURSERY_FD_PID],
	};
	int pid = n->has_shape ? make_cgroup(n, reply.cgroup) : -ENOENT;

	if (pid >= 0) {
		fd[NURSERY_FD_CGROUP] = pid;
		args.cgroup = (uint64_t)pid;
		pid = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0,
				 pair) < 0
			      ? -errno
			      : kernel_clone3(&args);
	}

	if (pid == 0) {
		/* Their other ends must close with serve. */
		close(n->sock);
		close(pair[0]);
		close(n->cgroups);
		close(fd[NURSERY_FD_CGROUP]);
		live(n, pair[1]);
	}
	if (pid < 0)
		reply.error = pid;
	reply.pid = (uint32_t)pid;
	fd[NURSERY_FD_CHANNEL] = pair[0];
	int r = ipc_send(n->sock, &reply, sizeof(reply), fd,
			 pid < 0 ? 0 : NURSERY_FDS);

	close(pair[1]);
	for (int i = 0; i < NURSERY_FDS; i++)
		fd_close(&fd[i]);
	return r;
}

static int enter_cgroup(int cgroups)
{
	if (mkdirat(cgroups, OWN_CGROUP, 0755) < 0 && errno != EEXIST)
		return -errno;
	return file_put(cgroups, OWN_CGROUP "/cgroup.procs", "0");
}

_Noreturn static void nursery_run(int sock, int cgroups)
{
	struct nursery n = { .sock = sock, .cgroups = cgroups };
	struct nursery_request request;

	prctl(PR_SET_NAME, "zrun-nursery", 0, 0, 0);
	snprintf(n.prefix, sizeof(n.prefix), "@%d-", (int)getpid());
	n.host_proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r = n.host_proc < 0 ? -errno : enter_cgroup(cgroups);

	if (r == 0)
		r = enter_empty_root();
	while (r == 0) {
		struct ipc_fds fds = { 0 };

		r = ipc_recv(sock, &request, sizeof(request), &fds);
		if (r <= 0)
			break;
		if (request.head.verb == NURSERY_SHAPE)
			r = take_shape(&n, &fds);
		else
			r = make_bud(&n);
		ipc_fds_close(&fds);
	}
	if (r < 0)
		log_error("nursery", "%s", strerror(-r));
	_exit(r < 0);
}

int nursery_fork(int cgroups)
{
	struct clone_args args = { .flags = CLONE_PARENT };
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	int pid = kernel_clone3(&args);

	if (pid == 0) {
		/* Nothing of serve's is held but the socket. */
		int sock = fcntl(pair[1], F_DUPFD, 5);
		int tree = fcntl(cgroups, F_DUPFD, 5);

		if (dup3(sock, 3, O_CLOEXEC) < 0 ||
		    dup3(tree, 4, O_CLOEXEC) < 0)
			_exit(1);
		kernel_close_range(5, ~0u, 0);
		cgroup_devices_forget();
		nursery_run(3, 4);
	}
	close(pair[1]);
	if (pid < 0) {
		close(pair[0]);
		return pid;
	}
	return pair[0];
}
