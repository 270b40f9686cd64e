/* zunpack: the worker of `zrun serve` for what reads foreign archives or may
 * take long in the image store (image/store.h). A program of its own, so that
 * decompressors lie in no process that can make containers, and zrun is small.
 *
 *	zunpack import|forget DIGEST
 *
 * Its descriptors are those of enum store_fd; its report goes to one of
 * them. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "image/store.h"

static int held(enum store_fd fd)
{
	return fcntl(fd, F_GETFD) < 0 ? -1 : (int)fd;
}

int main(int argc, char **argv)
{
	struct store store = { STORE_FD_IMAGES, STORE_FD_LAYERS };
	struct digest digest;
	struct store_task task = {
		.image = &digest,
		.layout = held(STORE_FD_LAYOUT),
		.end = held(STORE_FD_END),
	};

	if (argc != 3 || digest_parse(span_of(argv[2]), &digest) < 0 ||
	    held(STORE_FD_REPORT) < 0) {
		fputs("zunpack: only zrun serve starts it\n", stderr);
		return 2;
	}
	if (strcmp(argv[1], store_job_names[STORE_IMPORT]) == 0)
		task.job = STORE_IMPORT;
	else if (strcmp(argv[1], store_job_names[STORE_FORGET]) == 0)
		task.job = STORE_FORGET;
	else
		return 2;
	return store_worker(&store, &task, STORE_FD_REPORT);
}
