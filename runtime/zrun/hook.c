#define _GNU_SOURCE
#include "hook.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/loop.h"
#include "kernel.h"

#define SEALS (F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)

int hook_state_open(void)
{
	int fd = memfd_create("state", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	return fd < 0 ? -errno : fd;
}

int hook_state_fill(int fd, const char *text, size_t size)
{
	int r = fd_write(fd, text, size);

	if (r == 0 && fcntl(fd, F_ADD_SEALS, SEALS) < 0)
		r = -errno;
	return r;
}

/* zrun blocks signals while it waits; a hook begins with none of that. */
static void signals_reset(void)
{
	struct sigaction standard = { .sa_handler = SIG_DFL };
	sigset_t none;

	for (int i = 1; i < NSIG; i++)
		sigaction(i, &standard, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Returns only on failure. */
static int hook_exec(const struct runtime_hook *hook,
		     const struct hook_place *place)
{
	static char *const no_env[] = { NULL };
	char *alone[] = { (char *)hook->path, NULL };
	char **args = hook->args.n ? (char **)hook->args.item : alone;
	char *const *env = hook->env.n ? (char **)hook->env.item : no_env;

	signals_reset();
	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
	if (lseek(place->state, 0, SEEK_SET) < 0 || dup2(place->state, 0) < 0)
		return -errno;
	if (place->dir >= 0 && fchdir(place->dir) < 0)
		return -errno;
	kernel_close_range(3, ~0u, CLOSE_RANGE_CLOEXEC);
	execve(hook->path, args, env);
	return -errno;
}

/* 0 when it ended; -ETIMEDOUT; -EPIPE when the watched end closed. */
static int hook_await(pid_t pid, const struct runtime_hook *hook, int watch)
{
	autoclose int pidfd = kernel_pidfd_open(pid);
	uint64_t end = clock_ms() + hook->timeout_s * UINT64_C(1000);
	struct pollfd p[] = { { .fd = pidfd, .events = POLLIN },
			      { .fd = watch } };

	while (pidfd >= 0) {
		uint64_t now = clock_ms();
		int left = hook->timeout_s ? now < end ? (int)(end - now) : 0
					   : -1;
		int n = poll(p, 2, left);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (p[0].revents)
			return 0;
		if (p[1].revents)
			return -EPIPE;
		if (n == 0)
			return -ETIMEDOUT;
	}
	return pidfd;
}

static int hook_result(int status, char detail[HOOK_DETAIL_SIZE], int n)
{
	size_t room = HOOK_DETAIL_SIZE - (size_t)n;

	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	if (WIFSIGNALED(status))
		snprintf(detail + n, room, "killed by signal %d",
			 WTERMSIG(status));
	else
		snprintf(detail + n, room, "exit status %d",
			 WEXITSTATUS(status));
	return -ECANCELED;
}

static int hook_run(const struct runtime_hook *hook,
		    const struct hook_place *place, size_t index,
		    char detail[HOOK_DETAIL_SIZE])
{
	int n = snprintf(detail, HOOK_DETAIL_SIZE, "[%zu] (%.70s): ", index,
			 hook->path);
	int failed = 0, status = 0, told[2]; /* closes when execve succeeds */

	if (pipe2(told, O_CLOEXEC) < 0)
		return -errno;
	pid_t pid = fork();

	if (pid == 0) {
		failed = hook_exec(hook, place);
		_exit(fd_write(told[1], &failed, sizeof(failed)) < 0);
	}
	close(told[1]);
	if (pid > 0)
		(void)!fd_read(told[0], &failed, sizeof(failed));
	close(told[0]);
	if (pid < 0)
		return -errno;
	int r = hook_await(pid, hook, place->watch);

	if (r < 0 && kill(-pid, SIGKILL) < 0)
		kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	if (failed || r < 0) {
		snprintf(detail + n, HOOK_DETAIL_SIZE - (size_t)n, "%s",
			 failed ? "execute" : "wait for its end");
		return failed ? failed : r;
	}
	return hook_result(status, detail, n);
}

int hooks_run(const struct runtime_hooks *hooks, const struct hook_place *place,
	      char detail[HOOK_DETAIL_SIZE])
{
	for (size_t i = 0; i < hooks->n; i++) {
		int r = hook_run(&hooks->item[i], place, i, detail);

		if (r < 0)
			return r;
	}
	return 0;
}
