#define _GNU_SOURCE
#include "held.h"

#include <errno.h>
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "kernel.h"

int held_begin(pid_t pid)
{
	return kernel_result(ptrace(PTRACE_SEIZE, pid, 0,
				    PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL));
}

bool held_look(pid_t pid)
{
	siginfo_t info = { 0 };

	/* An end is left to be found by who wants it to be dead. */
	int r = waitid(P_PID, (id_t)pid, &info, WSTOPPED | WNOHANG | __WALL);

	return r == 0 && info.si_pid == pid && info.si_code == CLD_TRAPPED &&
	       info.si_status == (SIGTRAP | PTRACE_EVENT_EXEC << 8);
}

static void wait_end(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, __WALL) == pid && WIFSTOPPED(status))
		;
}

int held_release(pid_t pid)
{
	int r = kernel_result(ptrace(PTRACE_DETACH, pid, 0, 0));

	if (r < 0)
		wait_end(pid);
	return r;
}

void held_kill(pid_t pid)
{
	kill(pid, SIGKILL);
	wait_end(pid);
}
