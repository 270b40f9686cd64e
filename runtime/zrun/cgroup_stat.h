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

/* What a line "some" or "full" of a *.pressure file says of stalls: shares of
 * the last 10, 60 and 300 seconds in percent, as text, and microseconds. */
struct cgroup_pressure {
	char avg10[16], avg60[16], avg300[16];
	uint64_t total_us;
};

/* -ENOENT where there is no such file, or line of it. */
int cgroup_pressure(const struct cgroup *cg, const char *file, const char *line,
		    struct cgroup_pressure *out);

/* Calls visit for each process in the cgroup and those below. */
void cgroup_processes(const struct cgroup *cg,
		      void (*visit)(pid_t pid, void *arg), void *arg);

#endif
