/* What containers use, out of their cgroups below /sys/fs/cgroup, to which zrun
 * serve leaves links. On a host without such a tree everything is 0. */
#ifndef NODE_USAGE_H
#define NODE_USAGE_H

#include <stdbool.h>
#include <stdint.h>

/* Opens the tree, before the process is confined. */
void usage_open(void);
/* Its directory, or -1. */
int usage_directory(void);

struct usage {
	uint64_t memory_bytes; /* now */
	uint64_t cpu_ms;       /* so far */
};

/* Of the container `id`. */
struct usage usage_of(const char *id);
/* What `file` of its cgroup counts after `key`, which ends with a space. */
uint64_t usage_count(const char *id, const char *file, const char *key);
/* Whether the kernel killed a process of it for lack of memory, its own limit's
 * or the machine's. */
bool usage_lacked_memory(const char *id);

#endif
