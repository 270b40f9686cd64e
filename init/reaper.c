/* A container's process is made with CLONE_PARENT and exit_signal 0: until it
 * calls execve its end raises no SIGCHLD, only __WALL waits for it, and its
 * pidfd is what says that it ended. So both the signal and every pidfd in the
 * store lead to the same sweep.
 *
 * A sweep takes a bounded number of children, then lets the loop turn: ten
 * thousand orphans that die at once must not make services look silent. */
#define _GNU_SOURCE
#include "reaper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "svc.h"

enum {
	CHILDREN_AT_ONCE = 64,
	SWEEP_MS = 10000, /* for a child that died before it was put */
};

static struct loop *loop;
static struct watch signals;
static struct timer again;
static pid_t expected;
static void (*on_expected)(int status);

static void child_ended(const siginfo_t *info)
{
	struct store_entry *e;
	pid_t pid = info->si_pid;

	if (expected && pid == expected) {
		expected = 0;
		on_expected(info->si_code == CLD_EXITED ? info->si_status : -1);
		return;
	}
	if (svc_reaped(pid, info->si_code, info->si_status))
		return;
	e = store_find_pid((uint32_t)pid);
	if (!e)
		return; /* an orphan */
	watch_del(loop, &e->exit);
	if (e->key.kind == INIT_KIND_BUD && !e->from)
		store_drop(e);
	else
		store_exited(e, info->si_code, info->si_status);
}

static void sweep(void)
{
	timer_set(loop, &again, SWEEP_MS);
	for (int i = 0; i < CHILDREN_AT_ONCE; i++) {
		siginfo_t info = { 0 };

		if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | __WALL) < 0 ||
		    info.si_pid == 0)
			return;
		child_ended(&info);
	}
	timer_set(loop, &again, 0);
}

static void signals_ready(struct watch *w, uint32_t events)
{
	struct signalfd_siginfo info;

	(void)events;
	while (read(w->fd, &info, sizeof(info)) == sizeof(info))
		continue;
	timer_set(loop, &again, 0);
}

static void again_fire(struct timer *t)
{
	(void)t;
	sweep();
}

/* It is told before it is reaped, which takes the kernel a while. */
static void exit_ready(struct watch *w, uint32_t events)
{
	struct store_entry *e = container_of(w, struct store_entry, exit);
	siginfo_t info = { 0 };

	(void)events;
	if (waitid(P_PIDFD, (id_t)e->fd, &info,
		   WEXITED | WNOHANG | WNOWAIT | __WALL) == 0 &&
	    info.si_pid)
		child_ended(&info);
	timer_set(loop, &again, 0);
}

void reaper_watch(struct store_entry *e)
{
	e->exit.ready = exit_ready;
	if (watch_add(loop, &e->exit, e->fd, EPOLLIN) < 0)
		log_error(e->key.container, "pidfd: %s", strerror(errno));
}

void reaper_drop(struct store_entry *e)
{
	e->from = NULL;
	if (e->state == STORE_EXITED)
		store_drop(e);
}

void reaper_look(struct store_entry *e)
{
	siginfo_t info = { 0 };

	if (waitid(P_PID, (id_t)e->pid, &info, WEXITED | WNOHANG | __WALL) ==
		    0 &&
	    info.si_pid)
		child_ended(&info);
}

void reaper_expect(pid_t pid, void (*ended)(int status))
{
	expected = pid;
	on_expected = ended;
}

int reaper_init(struct loop *l)
{
	static const int list[] = { SIGCHLD, 0 };
	int fd = signal_fd(list);

	if (fd < 0)
		return fd;
	loop = l;
	signals.ready = signals_ready;
	again.fire = again_fire;
	timer_set(loop, &again, SWEEP_MS);
	return watch_add(loop, &signals, fd, EPOLLIN);
}

int pidfd_pid(int pidfd)
{
	char path[64], text[512];
	const char *pid;
	ssize_t n;
	int value;
	autoclose int fd = -1;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = fd_read(fd, text, sizeof(text) - 1);
	if (n < 0)
		return (int)n;
	text[n] = '\0';
	pid = strstr(text, "\nPid:");
	if (!pid)
		return -EBADF;
	value = atoi(pid + 5);
	return value > 0 ? value : -ESRCH;
}
