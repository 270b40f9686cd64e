#define _GNU_SOURCE
#include "join.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "kernel.h"

static const char *const files[] = {
	[RUNTIME_NS_USER] = "user",
	[RUNTIME_NS_PID] = "pid",
	[RUNTIME_NS_NETWORK] = "net",
	[RUNTIME_NS_IPC] = "ipc",
	[RUNTIME_NS_UTS] = "uts",
	[RUNTIME_NS_CGROUP] = "cgroup",
	[RUNTIME_NS_TIME] = "time_for_children",
	[RUNTIME_NS_MOUNT] = "mnt",
};

_Static_assert(sizeof(files) / sizeof(files[0]) == RUNTIME_NS_COUNT,
	       "a file for each");

void join_init(struct join *join)
{
	for (int i = 0; i < RUNTIME_NS_COUNT; i++)
		join->fd[i] = -1;
	join->pidfd = -1;
}

#define OWN "/proc/self/ns"

static bool is_same(int fd, int own, const char *file)
{
	struct stat theirs, ours;

	return fstat(fd, &theirs) == 0 && fstatat(own, file, &ours, 0) == 0 &&
	       theirs.st_ino == ours.st_ino && theirs.st_dev == ours.st_dev;
}

bool join_is_ours(int fd, enum runtime_namespace ns)
{
	autoclose int own = openat(AT_FDCWD, OWN,
				   O_PATH | O_DIRECTORY | O_CLOEXEC);

	return own >= 0 && is_same(fd, own, files[ns]);
}

/* Those that were made for the container are not ours, and a pidfd leads to all
 * at once. One's own user namespace, alone, cannot be joined. */
static int join_made(struct join *join, pid_t pid,
		     const struct runtime_config *config)
{
	join->pidfd = kernel_pidfd_open(pid);
	if (join->pidfd < 0)
		return join->pidfd;
	for (int i = 0; i < RUNTIME_NS_COUNT; i++) {
		const struct runtime_namespace_use *ns = &config->namespace[i];

		if (ns->set && !ns->path && i != RUNTIME_NS_USER &&
		    i != RUNTIME_NS_TIME)
			join->fd[i] = join->pidfd;
	}
	return 0;
}

int join_open(struct join *join, pid_t pid, const struct runtime_config *config,
	      struct fault *fault)
{
	int r = config ? join_made(join, pid, config) : 0;

	if (r < 0)
		return fault_set(fault, r, "its process");
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/ns", (int)pid);
	autoclose int dir = openat(AT_FDCWD, path,
				   O_PATH | O_DIRECTORY | O_CLOEXEC);

	autoclose int own = openat(AT_FDCWD, OWN,
				   O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0 || own < 0)
		return fault_set(fault, -errno, "%s", dir < 0 ? path : OWN);
	for (int i = 0; i < RUNTIME_NS_COUNT; i++) {
		if (join->fd[i] >= 0)
			continue;
		int fd = openat(dir, files[i], O_RDONLY | O_CLOEXEC);

		if (fd < 0 && errno == ENOENT && i == RUNTIME_NS_TIME)
			continue; /* a kernel without */
		if (fd < 0)
			return fault_set(fault, -errno, "%s/%s", path,
					 files[i]);
		if (is_same(fd, own, files[i]))
			close(fd);
		else
			join->fd[i] = fd;
	}
	return 0;
}

void join_setting(const struct join *join, struct plan_setting *setting,
		  struct launch *launch)
{
	memcpy(setting->join_fd, join->fd, sizeof(setting->join_fd));
	launch->join_pid = join->fd[RUNTIME_NS_PID];
}

void join_close(struct join *join)
{
	for (int i = 0; i < RUNTIME_NS_COUNT; i++) {
		if (join->fd[i] == join->pidfd)
			join->fd[i] = -1;
		fd_close(&join->fd[i]);
	}
	fd_close(&join->pidfd);
}
