/* Reading what a cgroup counts, and which processes are in it. */
#ifndef ZRUN_CGROUP_STAT_H
#define ZRUN_CGROUP_STAT_H

#include <stdint.h>
#include <sys/types.h>

#include "cgroup.h"

#define CGROUP_NUMBER_MAX INT64_MAX /* of a file that says "max" */

/* The number in a file that holds one; -ENOENT where there is no such file. */
int64_t cgroup_number(const struct cgroup *cg, const char *file);
/* The number after `key` in a file of lines "key number"; -ENOENT. */
int64_t cgroup_key(const struct cgroup *cg, const char *file, const char *key);

/* Calls visit for each process in the cgroup and those below. */
void cgroup_processes(const struct cgroup *cg,
		      void (*visit)(pid_t pid, void *arg), void *arg);

#endif
