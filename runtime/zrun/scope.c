#define _GNU_SOURCE
#include "scope.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/loop.h"

#define WAIT_MS		 10000
#define HOLDER_CGROUP	 "/zrun"
#define CONTAINER_CGROUP "/container"

/* As podman calls us: with root's id in a user namespace of its own. */
static bool is_rootless(void)
{
	return geteuid() != 0 || getenv("_CONTAINERS_USERNS_CONFIGURED");
}

int scope_usable(const char *option, struct fault *fault)
{
	/* sd_booted(3) */
	if (access("/run/systemd/system", F_OK) == 0)
		return 0;
	return fault_set(fault, 0,
			 "%s: no systemd runs here; use --cgroup-manager "
			 "cgroupfs",
			 option);
}

static pid_t holder_start(void)
{
	pid_t parent = getpid(), pid = fork();

	if (pid != 0)
		return pid < 0 ? -errno : pid;
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	while (getppid() == parent)
		pause();
	_exit(0);
}

static int busctl(const char *unit, const char *slice, pid_t holder)
{
	char pid_text[12];
	const char *const word[] = {
		"busctl",
		is_rootless() ? "--user" : "--system",
		"call",
		"org.freedesktop.systemd1",
		"/org/freedesktop/systemd1",
		"org.freedesktop.systemd1.Manager",
		"StartTransientUnit",
		"ssa(sv)a(sa(sv))",
		unit,
		"fail",
		"5",
		"Description",
		"s",
		"Zooid container",
		"Slice",
		"s",
		slice,
		"Delegate",
		"b",
		"true",
		"DefaultDependencies",
		"b",
		"false",
		"PIDs",
		"au",
		"1",
		pid_text,
		"0",
		NULL,
	};
	int status = 0;

	snprintf(pid_text, sizeof(pid_text), "%d", (int)holder);
	pid_t pid = fork();

	if (pid == 0) {
		/* It prints the job's name. */
		dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDOUT_FILENO);
		execvp(word[0], (char *const *)word);
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (pid < 0)
		return -errno;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return -ENOENT;
	return status == 0 ? 0 : -EPROTO;
}

/* The cgroup of a process, below the root of the tree. */
static int cgroup_of(pid_t pid, char *path, size_t size)
{
	autofree char *text = NULL;
	char name[32];
	size_t n;

	snprintf(name, sizeof(name), "/proc/%d/cgroup", (int)pid);
	int r = file_read(AT_FDCWD, name, 1 << 16, &text, &n);

	if (r < 0)
		return r;
	/* The v2 tree has number 0 and no name. */
	const char *line = strncmp(text, "0::/", 4) == 0
				   ? text
				   : strstr(text, "\n0::/");

	if (!line)
		return -ENOENT;
	line = strchr(line, '/') + 1;
	n = strcspn(line, "\n");
	if (n >= size)
		return -ENAMETOOLONG;
	memcpy(path, line, n);
	path[n] = '\0';
	return 0;
}

/* systemd has answered as soon as it has a job: it moves the holder later. */
static int await_scope(const struct scope *scope, const char *unit, char *path,
		       size_t size)
{
	uint64_t end = clock_ms() + WAIT_MS;
	const struct timespec pause = { .tv_nsec = 1000000 };
	size_t unit_size = strlen(unit);
	int r;

	do {
		r = cgroup_of(scope->holder, path, size);
		size_t n = r == 0 ? strlen(path) : 0;

		if (n > unit_size && strcmp(path + n - unit_size, unit) == 0 &&
		    path[n - unit_size - 1] == '/')
			return 0;
		nanosleep(&pause, NULL);
	} while (r == 0 && clock_ms() < end);
	return r < 0 ? r : -ETIMEDOUT;
}

/* Where a cgroup has processes of its own, none below can have controllers. */
static int step_aside(struct scope *scope, int root, const char *path)
{
	char file[sizeof(scope->inner) + 16], pid[12];

	snprintf(scope->inner, sizeof(scope->inner), "%s" HOLDER_CGROUP, path);
	snprintf(file, sizeof(file), "%s/cgroup.procs", scope->inner);
	snprintf(pid, sizeof(pid), "%d", (int)scope->holder);
	if (mkdirat(root, scope->inner, 0755) < 0 && errno != EEXIST)
		return -errno;
	return file_put(root, file, pid);
}

/* "slice:prefix:name" as names of units. */
static int read_wanted(const char *wanted, const char *id, char slice[256],
		       char unit[256])
{
	const char *prefix = wanted ? strchr(wanted, ':') : NULL;
	const char *name = prefix ? strchr(prefix + 1, ':') : NULL;
	int n, prefix_size;

	if (!wanted || !*wanted) {
		snprintf(slice, 256, "%s",
			 is_rootless() ? "user.slice" : "system.slice");
		n = snprintf(unit, 256, "zrun-%s.scope", id);
		return n < 256 ? 0 : -EINVAL;
	}
	if (!name || !name[1] || strchr(name + 1, ':') || strchr(wanted, '/'))
		return -EINVAL;
	prefix_size = (int)(name - prefix - 1);
	n = prefix == wanted ? snprintf(slice, 256, "system.slice")
			     : snprintf(slice, 256, "%.*s",
					(int)(prefix - wanted), wanted);
	if (n >= 256)
		return -EINVAL;
	n = snprintf(unit, 256, "%.*s%s%s.scope", prefix_size, prefix + 1,
		     prefix_size ? "-" : "", name + 1);
	return n < 256 ? 0 : -EINVAL;
}

int scope_make(struct scope *scope, const char *wanted, const char *id,
	       int root, char *path, size_t size, struct fault *fault)
{
	char slice[256], unit[256];
	int r = read_wanted(wanted, id, slice, unit);

	if (r < 0)
		return fault_set(fault, 0,
				 "linux.cgroupsPath (%.80s): systemd wants "
				 "slice:prefix:name",
				 wanted);
	scope->holder = holder_start();
	if (scope->holder < 0)
		return fault_set(fault, scope->holder, "fork");
	r = busctl(unit, slice, scope->holder);
	if (r == -ENOENT)
		fault_set(fault, 0,
			  "busctl: there is no such program; install systemd's "
			  "or use --cgroup-manager cgroupfs");
	else if (r < 0)
		fault_set(fault, r, "systemd does not make %.200s", unit);
	if (r == 0)
		r = await_scope(scope, unit, path, size);
	if (r == 0 && strlen(path) + sizeof(CONTAINER_CGROUP) > size)
		r = -ENAMETOOLONG;
	if (r == 0)
		r = step_aside(scope, root, path);
	if (r < 0 && !fault->text[0])
		fault_set(fault, r, "systemd's scope %.200s", unit);
	if (r == 0)
		strcat(path, CONTAINER_CGROUP);
	return r;
}

void scope_end(struct scope *scope, int root)
{
	if (scope->holder <= 0)
		return;
	kill(scope->holder, SIGKILL);
	while (waitpid(scope->holder, NULL, 0) < 0 && errno == EINTR)
		;
	scope->holder = 0;
	if (scope->inner[0])
		unlinkat(root, scope->inner, AT_REMOVEDIR);
}
