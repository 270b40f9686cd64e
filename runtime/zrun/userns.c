#define _GNU_SOURCE
#include "userns.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "kernel.h"

#define HELPER_RANGES_MAX 64

int userns_map(pid_t pid, const char *file, const struct runtime_id_maps *maps)
{
	char path[40], text[16384];
	size_t n = 0;

	for (size_t i = 0; i < maps->n; i++) {
		const struct runtime_id_map *m = &maps->item[i];

		n += (size_t)snprintf(text + n, sizeof(text) - n, "%u %u %u\n",
				      m->container_id, m->host_id, m->size);
		if (n >= sizeof(text))
			return -E2BIG;
	}
	snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	autoclose int fd = open(path, O_WRONLY | O_CLOEXEC);
	/* The kernel takes the map in one write. */
	ssize_t written = fd < 0 ? -1 : write(fd, text, n);

	return written == (ssize_t)n ? 0 : -errno;
}

/* PID, and for each range three numbers. */
struct words {
	char *item[2 + 3 * HELPER_RANGES_MAX + 1];
	char text[1 + 3 * HELPER_RANGES_MAX][11];
	size_t n;
};

static void words_add(struct words *words, uint32_t number)
{
	char *text = words->text[words->n - 1];

	snprintf(text, sizeof(words->text[0]), "%u", number);
	words->item[words->n++] = text;
}

int userns_map_by(const char *program, pid_t pid,
		  const struct runtime_id_maps *maps)
{
	struct words words = { .item = { (char *)program }, .n = 1 };
	int status = 0;

	if (maps->n > HELPER_RANGES_MAX)
		return -E2BIG;
	words_add(&words, (uint32_t)pid);
	for (size_t i = 0; i < maps->n; i++) {
		words_add(&words, maps->item[i].container_id);
		words_add(&words, maps->item[i].host_id);
		words_add(&words, maps->item[i].size);
	}
	pid_t helper = fork();

	if (helper == 0) {
		execvp(program, words.item);
		_exit(errno == ENOENT ? 127 : 126);
	}
	if (helper < 0)
		return -errno;
	while (waitpid(helper, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return -ENOENT;
	return status == 0 ? 0 : -EPERM;
}

/* The namespace of process pid, which waits in it. */
static int take_namespace(pid_t pid, const struct runtime_id_maps *uid,
			  const struct runtime_id_maps *gid)
{
	char path[40];
	int r = userns_map(pid, "uid_map", uid);

	if (r == 0)
		r = userns_map(pid, "gid_map", gid);
	if (r < 0)
		return r;
	snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

int userns_make(const struct runtime_id_maps *uid,
		const struct runtime_id_maps *gid)
{
	struct clone_args args = { .flags = CLONE_NEWUSER,
				   .exit_signal = SIGCHLD };
	int hold[2];

	if (pipe2(hold, O_CLOEXEC) < 0)
		return -errno;
	int pid = kernel_clone3(&args);

	if (pid == 0) {
		char end;

		/* Until the parent closes its side, or dies. */
		close(hold[1]);
		(void)!read(hold[0], &end, 1);
		_exit(0);
	}
	close(hold[0]);
	int fd = pid < 0 ? pid : take_namespace(pid, uid, gid);

	close(hold[1]);
	if (pid > 0)
		waitpid(pid, NULL, 0);
	return fd;
}
