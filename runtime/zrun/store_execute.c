#define _GNU_SOURCE
#include "store_execute.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "cli.h"

#define PROGRAM "zunpack"

/* Puts each descriptor where zunpack looks for it. First all of them out of
 * each other's way; the copies end at exec. */
static int place(const int fds[STORE_FD_COUNT])
{
	int copy[STORE_FD_COUNT];

	for (int i = 0; i < STORE_FD_COUNT; i++) {
		copy[i] = fds[i] < 0 ? -1
				     : fcntl(fds[i], F_DUPFD_CLOEXEC,
					     STORE_FD_IMAGES + STORE_FD_COUNT);
		if (fds[i] >= 0 && copy[i] < 0)
			return -errno;
	}
	for (int i = 0; i < STORE_FD_COUNT; i++) {
		if (copy[i] < 0)
			close(STORE_FD_IMAGES + i);
		else if (dup2(copy[i], STORE_FD_IMAGES + i) < 0)
			return -errno;
	}
	return 0;
}

_Noreturn void store_execute(const struct store *store,
			     const struct store_task *task, int report)
{
	/* In the order of enum store_fd. */
	const int fds[STORE_FD_COUNT] = { store->images, store->layers, report,
					  task->layout, task->end };
	char path[4096], image[DIGEST_TEXT_SIZE];
	struct store_report result = { 0 };

	digest_text(task->image, image);
	cli_beside(PROGRAM, path);
	result.error = place(fds);
	if (result.error == 0) {
		execlp(path, PROGRAM, store_job_names[task->job], image, NULL);
		result.error = -errno;
		report = STORE_FD_REPORT;
	}
	snprintf(result.text, sizeof(result.text), "%.200s: %s", path,
		 strerror(-result.error));
	fd_write(report, &result, sizeof(result));
	_exit(1);
}
