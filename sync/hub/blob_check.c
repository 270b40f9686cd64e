/* Disks rot. A blob that was sent to its end is read once more by a child, the
 * kernel still has it, so that is what was sent; when it is not what its name
 * says it is removed, for as long as it is there nobody would bring a good one.
 *
 * One at a time; what was checked lately is not checked again. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "blob_parts.h"

enum { CHECKED_MAX = 256, LATELY_MS = 600 * 1000 };

struct blob_check_state {
	struct blobs *blobs;
	struct {
		struct digest digest;
		uint64_t at_ms; /* 0: nothing here */
		bool due;
	} checked[CHECKED_MAX];
	unsigned running; /* index */
	pid_t pid;	  /* 0: no child */
	struct watch child;
};

/* ---- the child ---- */

enum outcome { GOOD, DAMAGED, UNREAD };

static enum outcome child_run(int fd, const struct digest *expected)
{
	struct digest digest;
	uint64_t size;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setpriority(PRIO_PROCESS, 0, 19);
	if (fd != 3 && dup2(fd, 3) < 0)
		return UNREAD;
	syscall(SYS_close_range, 4, ~0U, 0);
	if (digest_of_fd(3, &digest, &size) < 0)
		return UNREAD;
	return digest_equal(&digest, expected) ? GOOD : DAMAGED;
}

/* ---- the parent ---- */

static void next_start(struct blob_check_state *c);

static void remove_damaged(struct blob_check_state *c)
{
	const struct digest *digest = &c->checked[c->running].digest;
	char path[BLOB_PATH_SIZE];

	blob_path(digest, path);
	log_error(path + 3, "damaged on the disk: removed; whoever has it good "
			    "must push it again");
	if (unlinkat(c->blobs->blobs_fd, path, 0) < 0)
		log_error(path + 3, "%s", strerror(errno));
}

static void child_ready(struct watch *w, uint32_t events)
{
	struct blob_check_state *c = container_of(w, struct blob_check_state,
						  child);
	siginfo_t info = { 0 };
	int fd = w->fd;

	(void)events;
	if (waitid(P_PID, (id_t)c->pid, &info, WEXITED | WNOHANG) == 0 &&
	    info.si_pid == 0)
		return;
	watch_del(c->blobs->loop, w);
	close(fd);
	c->pid = 0;
	if (info.si_code == CLD_EXITED && info.si_status == DAMAGED)
		remove_damaged(c);
	next_start(c);
}

/* Whether a child works on it. */
static bool child_start(struct blob_check_state *c, unsigned i)
{
	uint64_t size;
	autoclose int fd = blob_open(c->blobs, &c->checked[i].digest, &size);
	autoclose int pid_fd = -1;

	if (fd < 0)
		return false;
	c->pid = fork();
	if (c->pid == 0)
		_exit(child_run(fd, &c->checked[i].digest));
	pid_fd = c->pid < 0 ? -1 : (int)syscall(SYS_pidfd_open, c->pid, 0);
	if (pid_fd >= 0 &&
	    watch_add(c->blobs->loop, &c->child, pid_fd, EPOLLIN) == 0) {
		fd_take(&pid_fd);
		c->running = i;
		return true;
	}
	if (c->pid > 0) {
		kill(c->pid, SIGKILL);
		waitpid(c->pid, NULL, 0);
	}
	c->pid = 0;
	return false;
}

static void next_start(struct blob_check_state *c)
{
	for (unsigned i = 0; i < CHECKED_MAX && !c->pid; i++) {
		if (!c->checked[i].due)
			continue;
		c->checked[i].due = false;
		child_start(c, i);
	}
}

/* Its place, or the one of what was checked the longest ago. */
static unsigned place_of(const struct blob_check_state *c,
			 const struct digest *digest)
{
	unsigned oldest = 0;

	for (unsigned i = 0; i < CHECKED_MAX; i++) {
		if (c->checked[i].at_ms &&
		    digest_equal(&c->checked[i].digest, digest))
			return i;
		if (c->checked[i].at_ms < c->checked[oldest].at_ms)
			oldest = i;
	}
	return oldest;
}

void blob_check(struct blobs *b, const struct digest *digest)
{
	struct blob_check_state *c = b->check;
	unsigned i;

	if (!c) {
		c = b->check = calloc(1, sizeof(*c));
		if (!c)
			return;
		c->blobs = b;
		c->child.ready = child_ready;
		c->child.fd = -1;
	}
	i = place_of(c, digest);
	if (c->pid && i == c->running)
		return;
	if (c->checked[i].at_ms &&
	    digest_equal(&c->checked[i].digest, digest) &&
	    clock_ms() - c->checked[i].at_ms < LATELY_MS)
		return;
	c->checked[i].digest = *digest;
	c->checked[i].at_ms = clock_ms();
	c->checked[i].due = true;
	next_start(c);
}

void blob_check_cancel(struct blobs *b)
{
	struct blob_check_state *c = b->check;
	int fd;

	if (!c)
		return;
	if (c->pid) {
		fd = c->child.fd;
		watch_del(b->loop, &c->child);
		close(fd);
		kill(c->pid, SIGKILL);
		waitpid(c->pid, NULL, 0);
	}
	free(c);
	b->check = NULL;
}
