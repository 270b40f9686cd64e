#define _GNU_SOURCE
#include "job.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"

void *job_memory(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static int pidfd_wait(int pidfd, uint32_t time_out_ms)
{
	uint64_t deadline_ms = clock_ms() + time_out_ms;
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	for (;;) {
		uint64_t now = clock_ms();
		int n = now < deadline_ms ? (int)(deadline_ms - now) : 0;

		n = poll(&p, 1, n);
		if (n > 0)
			return 0;
		if (n == 0)
			return -ETIMEDOUT;
		if (errno != EINTR)
			return -errno;
	}
}

/* The status of the child, or -errno. A killed child is not waited for: it
 * may be in the kernel for as long as its disk is. */
static int child_wait(const char *name, pid_t pid, uint32_t time_out_ms)
{
	autoclose int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	siginfo_t info = { 0 };
	int err;

	if (pidfd < 0)
		return -errno;
	err = pidfd_wait(pidfd, time_out_ms);
	if (err == -ETIMEDOUT) {
		log_error(name, "not done in %u ms; given up", time_out_ms);
		kill(pid, SIGKILL);
		return err;
	}
	if (err < 0)
		return err;
	if (waitid(P_PID, (id_t)pid, &info, WEXITED) < 0)
		return -errno;
	if (info.si_code != CLD_EXITED) {
		log_error(name, "killed by signal %d", info.si_status);
		return -EINTR;
	}
	return info.si_status;
}

int job_step(const char *name, int (*fn)(void *), void *arg,
	     uint32_t time_out_ms)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		return -errno;
	if (pid == 0)
		_exit(-fn(arg));
	status = child_wait(name, pid, time_out_ms);
	return status < 0 ? status : -status;
}

int job_exec(const char *const *argv, uint32_t time_out_ms)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		return -errno;
	if (pid == 0) {
		execv(argv[0], (char *const *)argv);
		log_error(argv[0], "%s", strerror(errno));
		_exit(127);
	}
	status = child_wait(argv[0], pid, time_out_ms);
	if (status > 0)
		log_error(argv[0], "failed with status %d", status);
	return status > 0 ? -ECHILD : status;
}
