/* Any bytes as the state file of a container: refused with one line, or every
 * text ends within its field. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "zrun/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char path[] = "/dev/shm/zrun-state-XXXXXX";
static int dir = -1;

static void forget(void)
{
	unlinkat(dir, "state.json", 0);
	rmdir(path);
}

/* In memory: a file for each input. */
static void open_dir(void)
{
	if (!mkdtemp(path))
		abort();
	dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		abort();
	atexit(forget);
}

static void check(const struct state *state)
{
	if (!memchr(state->id, 0, sizeof(state->id)) ||
	    !memchr(state->bundle, 0, sizeof(state->bundle)) ||
	    !memchr(state->rootfs, 0, sizeof(state->rootfs)) ||
	    !memchr(state->cgroup, 0, sizeof(state->cgroup)) ||
	    !memchr(state->digest, 0, sizeof(state->digest)) || state->pid < 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fault fault = { "" };
	struct state state;

	if (dir < 0)
		open_dir();
	int fd = openat(dir, "state.json", O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size || close(fd) < 0)
		abort();
	int r = state_read(dir, &state, &fault);

	if ((r == 0) != (fault.text[0] == '\0') || strchr(fault.text, '\n'))
		abort();
	if (r == 0)
		check(&state);
	return 0;
}
