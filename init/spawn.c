/* init blocks signals and holds its descriptors with CLOEXEC; a child must
 * inherit neither.
 *
 * The child moves itself into its cgroup before it runs anything that could
 * fork out of it. To be born there (CLONE_INTO_CGROUP) is not an option: the
 * kernel compares the count of cgroup.kill of the maker's cgroup with that of
 * the new one, so into a cgroup that was ever killed every child is born dead.
 */
#define _GNU_SOURCE
#include "spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/service.h"

enum { FD_HIGH = 16, ENV_MAX = 8, EXIT_CANNOT_RUN = 127 };

static char env_text[ENV_MAX][256];
static char *env[ENV_MAX + 2];
static char **env_service;
static int null_fd = -1;

static int env_add(int n, const char *name, const char *value)
{
	int size = sizeof(env_text[n]);

	if (snprintf(env_text[n], (size_t)size, "%s=%s", name, value) >= size) {
		log_error(name, "too long for the environment of services");
		return n;
	}
	env[n] = env_text[n];
	return n + 1;
}

int spawn_init(void)
{
	static const char *const passed[] = {
		"ZOOID_RUN",
		"ZOOID_DATA",
		"ZOOID_BOOT",
	};
	const char *path = getenv("PATH");
	int n = 0;

	n = env_add(n, "PATH", path ? path : "/sbin:/bin:/usr/sbin:/usr/bin");
	n = env_add(n, "HOME", "/");
	for (size_t i = 0; i < sizeof(passed) / sizeof(*passed); i++)
		if (getenv(passed[i]))
			n = env_add(n, passed[i], getenv(passed[i]));
	env_service = &env[n];
	null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	return null_fd < 0 ? -errno : 0;
}

static void signals_reset(void)
{
	sigset_t none;

	for (int i = 1; i < 32; i++)
		signal(i, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Only the child may fail here, so it logs and leaves. */
static void must(int result, const char *name, const char *what)
{
	if (result >= 0)
		return;
	log_error(name, "%s: %s", what,
		  strerror(result == -1 ? errno : -result));
	_exit(EXIT_CANNOT_RUN);
}

static int fd_high(int fd, const char *name)
{
	int high = fcntl(fd < 0 ? null_fd : fd, F_DUPFD_CLOEXEC, FD_HIGH);

	must(high, name, "dup");
	return high;
}

static void limit_set(int resource, rlim_t value)
{
	struct rlimit limit = { value, value };

	/* Raising needs CAP_SYS_RESOURCE, which a test host may lack. */
	if (setrlimit(resource, &limit) == 0)
		return;
	if (getrlimit(resource, &limit) == 0 && limit.rlim_max < value) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(resource, &limit);
	}
}

static void data_limit_lift(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_DATA, &limit) == 0) {
		limit.rlim_cur = limit.rlim_max;
		setrlimit(RLIMIT_DATA, &limit);
	}
}

static void oom_score_set(int score)
{
	char text[16];

	snprintf(text, sizeof(text), "%d", score);
	file_put(AT_FDCWD, "/proc/self/oom_score_adj", text);
}

static void rights_drop(const struct spawn *s)
{
	if (s->uid == geteuid())
		return;
	must(setgroups(0, NULL), s->name, "setgroups");
	must(setresgid(s->uid, s->uid, s->uid), s->name, "setresgid");
	must(setresuid(s->uid, s->uid, s->uid), s->name, "setresuid");
	must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), s->name, "no_new_privs");
}

static void fds_place(const struct spawn *s)
{
	int fds[5] = {
		fd_high(-1, s->name),		fd_high(s->output_fd, s->name),
		fd_high(s->output_fd, s->name), fd_high(s->listen_fd, s->name),
		fd_high(s->status_fd, s->name),
	};

	for (int i = 0; i < 5; i++)
		must(dup2(fds[i], i), s->name, "dup2");
}

/* A name that execve() does not find is reported where init's own lines go:
 * the service's output may well be the pipe that nobody reads yet. */
__attribute__((noreturn)) static void exec_program(const struct spawn *s)
{
	static char service[64];
	int log_fd = fd_high(STDERR_FILENO, s->name);

	fds_place(s);
	snprintf(service, sizeof(service), "ZOOID_SERVICE=%s", s->name);
	env_service[0] = service;
	execve(s->argv[0], (char *const *)s->argv, env);
	dup2(log_fd, STDERR_FILENO);
	must(-1, s->name, s->argv[0]);
	_exit(EXIT_CANNOT_RUN);
}

/* No exec closes what init holds, the watchdog among it. */
__attribute__((noreturn)) static void run_here(const struct spawn *s)
{
	int argc = 0;

	fds_place(s);
	must((int)syscall(SYS_close_range, 5, ~0u, 0), s->name, "close_range");
	signal(SIGPIPE, SIG_IGN);
	prctl(PR_SET_NAME, s->name);
	while (s->argv[argc])
		argc++;
	exit(s->run(argc, (char **)s->argv));
}

static void cgroup_enter(const struct spawn *s)
{
	if (s->cgroup_procs >= 0)
		must(fd_write(s->cgroup_procs, "0", 1), s->name, "cgroup");
}

/* 0 in the child, with its signals as they were before ours; or -errno. */
static pid_t child_make(void)
{
	pid_t pid = fork();

	if (pid == 0)
		signals_reset();
	return pid < 0 ? -errno : pid;
}

pid_t spawn_start(const struct spawn *s)
{
	pid_t pid = child_make();

	if (pid != 0)
		return pid;
	cgroup_enter(s);
	setsid();
	umask(022);
	must(chdir("/"), s->name, "/");
	limit_set(RLIMIT_NOFILE, s->open_files);
	limit_set(RLIMIT_CORE, 0);
	data_limit_lift();
	oom_score_set(s->oom_score_adj);
	rights_drop(s);
	if (s->run)
		run_here(s);
	exec_program(s);
}

pid_t spawn_call(int (*fn)(void *), void *arg)
{
	pid_t pid = child_make();

	if (pid != 0)
		return pid;
	data_limit_lift();
	_exit(fn(arg));
}
