/* The processes of a container: those of its cgroup; where it has none (made
 * without privilege), those of its pid namespace. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/path.h"
#include "cgroup_stat.h"
#include "cli.h"

static int pid_namespace(pid_t pid, struct stat *st)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/ns/pid", (int)pid);
	return stat(path, st) < 0 ? -errno : 0;
}

static bool is_same(const struct stat *a, const struct stat *b)
{
	return a->st_ino == b->st_ino && a->st_dev == b->st_dev;
}

static void namespace_processes(pid_t first,
				void (*visit)(pid_t pid, void *arg), void *arg)
{
	struct stat own, theirs, st;

	if (pid_namespace(first, &theirs) < 0 ||
	    pid_namespace(getpid(), &own) < 0)
		return;
	if (is_same(&own, &theirs)) {
		visit(first, arg); /* which of the host's are its, none knows */
		return;
	}
	DIR *list = path_list(AT_FDCWD, "/proc");

	for (struct dirent *e; list && (e = readdir(list));) {
		pid_t pid = (pid_t)strtol(e->d_name, NULL, 10);

		if (pid > 0 && pid_namespace(pid, &st) == 0 &&
		    is_same(&st, &theirs))
			visit(pid, arg);
	}
	if (list)
		closedir(list);
}

void container_processes(const struct container *c,
			 void (*visit)(pid_t pid, void *arg), void *arg)
{
	if (c->cgroup.dir >= 0)
		cgroup_processes(&c->cgroup, visit, arg);
	else if (process_start_time(c->state.pid) == c->state.start_time)
		namespace_processes(c->state.pid, visit, arg);
}

static void signal_one(pid_t pid, void *signal)
{
	kill(pid, *(int *)signal);
}

int container_signal(const struct container *c, int signal)
{
	if (c->cgroup.dir >= 0)
		return cgroup_signal(&c->cgroup, signal);
	container_processes(c, signal_one, &signal);
	return 0;
}
