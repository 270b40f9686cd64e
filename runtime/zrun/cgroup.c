#define _GNU_SOURCE
#include "cgroup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/loop.h"
#include "base/path.h"
#include "cgroup_stat.h"
#include "kernel.h"

#define CGROUP2_MAGIC 0x63677270
#define EVENT_WAIT_MS 5000

/* Each more takes memory in every cgroup, hugetlb 4 KB: cgroup_enable() adds
 * what a limit needs. */
static const char *const controllers[] = { "cpu", "memory", "pids", "io" };

#define N_CONTROLLERS (sizeof(controllers) / sizeof(controllers[0]))

static int open_mount(struct cgroup *cg, const char *path)
{
	struct statfs fs;
	int fd = openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (fstatfs(fd, &fs) == 0 && fs.f_type == CGROUP2_MAGIC) {
		snprintf(cg->mount, sizeof(cg->mount), "%s", path);
		cg->root = fd;
		return 0;
	}
	close(fd);
	return -ENOENT;
}

/* No tree is mounted: a mount that is attached nowhere serves as well. */
static int open_detached(struct cgroup *cg)
{
	autoclose int fs = kernel_fsopen("cgroup2");

	if (fs < 0)
		return fs;
	int r = kernel_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL);

	if (r < 0)
		return r;
	autoclose int mount = kernel_fsmount(fs, 0);

	if (mount < 0)
		return mount;
	cg->root = openat(mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return cg->root < 0 ? -errno : 0;
}

int cgroup_find(struct cgroup *cg, struct fault *fault)
{
	int r = open_mount(cg, "/sys/fs/cgroup");

	if (r < 0)
		r = open_mount(cg, "/sys/fs/cgroup/unified");
	if (r < 0)
		r = open_detached(cg);
	return r < 0 ? fault_set(fault, r, "no cgroup v2 tree") : 0;
}

/* The controllers that dir may use; as bits, by their place in the list. */
static unsigned controllers_of(int dir)
{
	char text[256], *rest = text, *word;
	unsigned found = 0;

	autoclose int fd = openat(dir, "cgroup.controllers",
				  O_RDONLY | O_CLOEXEC);
	/* The kernel gives such a file in one piece. */
	ssize_t n = fd < 0 ? fd : read(fd, text, sizeof(text) - 1);

	if (n <= 0)
		return 0;
	text[n] = '\0';
	while ((word = strsep(&rest, " \n"))) {
		for (unsigned i = 0; i < N_CONTROLLERS; i++)
			found |= (strcmp(word, controllers[i]) == 0) << i;
	}
	return found;
}

bool cgroup_has_controllers(const struct cgroup *cg)
{
	const unsigned memory_pids = 1 << 1 | 1 << 2;

	return (controllers_of(cg->root) & memory_pids) == memory_pids;
}

/* One of them may be missing or busy; the limit that needs it will say so. */
static void enable_controllers(int dir)
{
	size_t n = N_CONTROLLERS, used = 0;
	char all[128], one[32];

	for (size_t i = 0; i < n; i++)
		used += (size_t)snprintf(all + used, sizeof(all) - used, "+%s ",
					 controllers[i]);
	if (file_put(dir, "cgroup.subtree_control", all) == 0)
		return;
	for (size_t i = 0; i < n; i++) {
		snprintf(one, sizeof(one), "+%s", controllers[i]);
		(void)file_put(dir, "cgroup.subtree_control", one);
	}
}

int cgroup_parent(const struct cgroup *cg, const char *name)
{
	enable_controllers(cg->root);
	if (mkdirat(cg->root, name, 0755) < 0 && errno != EEXIST)
		return -errno;
	int dir = openat(cg->root, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0)
		return -errno;
	enable_controllers(dir);
	return dir;
}

/* Every part of it names a cgroup: none is "." or "..". */
static bool path_is_below(const char *path)
{
	size_t n;

	for (; *path; path += n + (path[n] == '/')) {
		n = strcspn(path, "/");
		if (n > 0 && n <= 2 && strspn(path, ".") >= n)
			return false;
	}
	return true;
}

/* Mostly only the last one is missing, and those above it have their
 * controllers enabled. */
static bool make_last(struct cgroup *cg)
{
	autoclose int dir = -1;

	if (mkdirat(cg->root, cg->path, 0755) < 0)
		return false;
	dir = openat(cg->root, cg->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || controllers_of(dir) != controllers_of(cg->root))
		return false;
	cg->dir = fd_take(&dir);
	return true;
}

int cgroup_make(struct cgroup *cg, const char *path, struct fault *fault)
{
	char *next = cg->path;

	while (*path == '/')
		path++;
	int n = snprintf(cg->path, sizeof(cg->path), "%s", path);

	while (n > 0 && cg->path[n - 1] == '/')
		cg->path[--n] = '\0';
	if (n <= 0 || (size_t)n >= sizeof(cg->path) || !path_is_below(cg->path))
		return fault_set(fault, -EINVAL, "linux.cgroupsPath (%.80s)",
				 path);
	if (make_last(cg))
		return 0;
	int dir = fcntl(cg->root, F_DUPFD_CLOEXEC, 3);

	while (dir >= 0 && next) {
		char *name = strsep(&next, "/");

		if (!*name)
			continue;
		enable_controllers(dir);
		int r = mkdirat(dir, name, 0755) < 0 && errno != EEXIST ? -errno
									: 0;
		int below = r < 0 ? r
				  : openat(dir, name,
					   O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (below == -1)
			below = -errno;
		close(dir);
		dir = below;
		if (next)
			next[-1] = '/'; /* strsep cut it */
	}
	if (dir < 0)
		return fault_set(fault, dir, "cgroup %.200s", path);
	cg->dir = dir;
	if (cgroup_is_empty(cg))
		return 0;
	/* Not ours: whoever cleans up after us must not kill what is in it. */
	fd_close(&cg->dir);
	return fault_set(fault, -EBUSY, "cgroup %.200s has processes", path);
}

int cgroup_enable(const struct cgroup *cg, const char *file)
{
	char plus[40], path[sizeof(cg->path)], *next = path;
	int n = snprintf(plus, sizeof(plus), "+%.*s", (int)strcspn(file, "."),
			 file);

	if ((size_t)n >= sizeof(plus))
		return -ENOENT;
	snprintf(path, sizeof(path), "%s", cg->path);
	autoclose int dir = fcntl(cg->root, F_DUPFD_CLOEXEC, 3);

	for (char *name; dir >= 0 && (name = strsep(&next, "/"));) {
		int r = file_put(dir, "cgroup.subtree_control", plus);
		int below = r < 0 ? r
				  : openat(dir, name,
					   O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		close(dir);
		dir = below == -1 ? -errno : below;
	}
	return dir < 0 ? dir : 0;
}

int cgroup_open(struct cgroup *cg, const char *path)
{
	if (!*path)
		return -ENOENT;
	/* The state file may have been written by others: never the root of the
	 * tree, whose processes are the host's. */
	if (!path_is_below(path))
		return -EINVAL;
	snprintf(cg->path, sizeof(cg->path), "%s", path);
	cg->dir = path_open_beneath(cg->root, path, O_RDONLY | O_DIRECTORY, 0);
	return cg->dir < 0 ? cg->dir : 0;
}

static bool has_event(const struct cgroup *cg, const char *line)
{
	char text[256];

	autoclose int fd = openat(cg->dir, "cgroup.events",
				  O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? fd : fd_read(fd, text, sizeof(text) - 1);

	if (n < 0)
		return false;
	text[n] = '\0';
	return strstr(text, line);
}

bool cgroup_is_empty(const struct cgroup *cg)
{
	return cg->dir < 0 || !has_event(cg, "populated 1");
}

bool cgroup_is_frozen(const struct cgroup *cg)
{
	return cg->dir >= 0 && has_event(cg, "frozen 1");
}

int cgroup_freeze(const struct cgroup *cg, bool frozen)
{
	if (cg->dir < 0)
		return -ENOENT;
	return file_put(cg->dir, "cgroup.freeze", frozen ? "1" : "0");
}

static void signal_one(pid_t pid, void *signal)
{
	kill(pid, *(int *)signal);
}

int cgroup_signal(const struct cgroup *cg, int signal)
{
	if (cg->dir < 0)
		return -ENOENT;
	if (signal == SIGKILL && file_put(cg->dir, "cgroup.kill", "1") == 0)
		return 0;
	cgroup_processes(cg, signal_one, &signal);
	return 0;
}

/* cgroup.events tells by POLLPRI when something came about. */
static bool await(const struct cgroup *cg, bool (*is)(const struct cgroup *))
{
	uint64_t end = clock_ms() + EVENT_WAIT_MS;
	autoclose int fd = openat(cg->dir, "cgroup.events",
				  O_RDONLY | O_CLOEXEC);
	char text[256];

	while (fd >= 0 && clock_ms() < end) {
		struct pollfd p = { .fd = fd, .events = POLLPRI };

		if (pread(fd, text, sizeof(text), 0) < 0)
			return false;
		if (is(cg))
			return true;
		/* The event may lag by some milliseconds: look again. */
		poll(&p, 1, 10);
	}
	return is(cg);
}

int cgroup_pause(const struct cgroup *cg)
{
	int r = cgroup_freeze(cg, true);

	if (r < 0 || await(cg, cgroup_is_frozen))
		return r;
	cgroup_freeze(cg, false);
	return -ETIMEDOUT;
}

static void remove_below(int dir)
{
	DIR *list = path_list(dir, ".");

	for (struct dirent *e; list && (e = readdir(list));) {
		if (e->d_type != DT_DIR || e->d_name[0] == '.')
			continue;
		autoclose int below = openat(
			dir, e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		if (below >= 0)
			remove_below(below);
		unlinkat(dir, e->d_name, AT_REMOVEDIR);
	}
	if (list)
		closedir(list);
}

static int remove_self(const struct cgroup *cg)
{
	if (unlinkat(cg->root, cg->path, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return 0;
	return -errno;
}

int cgroup_remove_empty(struct cgroup *cg)
{
	/* Mostly it is empty already, with none below. */
	if (cg->dir < 0 || remove_self(cg) == 0)
		return 0;
	if (!await(cg, cgroup_is_empty))
		return -EBUSY;
	remove_below(cg->dir);
	return remove_self(cg);
}

int cgroup_remove(struct cgroup *cg)
{
	if (cg->dir < 0 || remove_self(cg) == 0)
		return 0;
	if (!cgroup_is_empty(cg)) {
		cgroup_signal(cg, SIGKILL);
		cgroup_freeze(cg, false);
	}
	return cgroup_remove_empty(cg);
}

void cgroup_close(struct cgroup *cg)
{
	fd_close(&cg->dir);
	fd_close(&cg->root);
}
