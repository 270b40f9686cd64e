#define _GNU_SOURCE
#include "usage.h"

#include <fcntl.h>
#include <stdio.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/span.h"
#include "zrun/serve.h"

static int tree = -1;

void usage_open(void)
{
	tree = open("/sys/fs/cgroup", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int usage_directory(void)
{
	return tree;
}

/* The text of a file of the container's cgroup, "" when there is none. */
static struct span file_of(const char *id, const char *name, char *text,
			   size_t size)
{
	char path[4096];
	autoclose int fd = -1;
	ssize_t n = -1;

	snprintf(path, sizeof(path), "%s/" ZRUN_CGROUP_LINKS "/%s/%s",
		 path_run(), id, name);
	if (tree >= 0)
		fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd >= 0)
		n = fd_read(fd, text, size);
	return (struct span){ text, n < 0 ? 0 : (size_t)n };
}

struct usage usage_of(const char *id)
{
	static const char key[] = "usage_usec ";
	struct usage usage = { 0 };
	char text[2048];
	struct span rest = file_of(id, "memory.current", text, sizeof(text));
	struct span line;
	uint64_t us = 0;

	if (span_cut(&rest, '\n', &line))
		span_u64(line, UINT64_MAX, &usage.memory_bytes);
	rest = file_of(id, "cpu.stat", text, sizeof(text));
	while (span_cut(&rest, '\n', &line)) {
		if (line.size < sizeof(key) ||
		    memcmp(line.data, key, sizeof(key) - 1) != 0)
			continue;
		line.data += sizeof(key) - 1;
		line.size -= sizeof(key) - 1;
		span_u64(line, UINT64_MAX, &us);
	}
	usage.cpu_ms = us / 1000;
	return usage;
}
