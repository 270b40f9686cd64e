#define _GNU_SOURCE
#include "usage.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>

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

/* The number in the line that starts with key, which ends with a space; 0
 * without it. */
static uint64_t number_of(struct span rest, const char *key)
{
	size_t n = strlen(key);
	uint64_t number = 0;
	struct span line;

	while (span_cut(&rest, '\n', &line)) {
		if (line.size <= n || memcmp(line.data, key, n) != 0)
			continue;
		line.data += n;
		line.size -= n;
		span_u64(line, UINT64_MAX, &number);
	}
	return number;
}

uint64_t usage_count(const char *id, const char *file, const char *key)
{
	char text[2048];

	return number_of(file_of(id, file, text, sizeof(text)), key);
}

bool usage_lacked_memory(const char *id)
{
	return usage_count(id, "memory.events", "oom_kill ") > 0;
}

struct usage usage_of(const char *id)
{
	struct usage usage = { 0 };
	char text[2048];
	struct span rest = file_of(id, "memory.current", text, sizeof(text));
	struct span line;

	if (span_cut(&rest, '\n', &line))
		span_u64(line, UINT64_MAX, &usage.memory_bytes);
	usage.cpu_ms = number_of(file_of(id, "cpu.stat", text, sizeof(text)),
				 "usage_usec ") /
		       1000;
	return usage;
}
