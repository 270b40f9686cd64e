/* Starting a service's process.
 *
 * Rule of use: everything the child needs is made before; between fork and
 * exec it only moves descriptors and gives up rights. */
#ifndef INIT_SPAWN_H
#define INIT_SPAWN_H

#include <stdint.h>
#include <sys/types.h>

struct spawn {
	const char *name; /* $ZOOID_SERVICE */
	const char *const *argv;
	int (*run)(int argc, char **argv); /* instead of a program */
	uid_t uid;
	int listen_fd, status_fd; /* become 3 and 4; -1: /dev/null */
	int output_fd;		  /* becomes 1 and 2 */
	int cgroup_procs;	  /* cgroup.procs of its cgroup, or -1 */
	int oom_score_adj;
	uint32_t open_files;
};

/* Prepares the environment that every child gets and /dev/null. Once, at
 * start. 0 or -errno. */
int spawn_init(void);

/* The pid of the child, which leads a session of its own, or -errno. With
 * `run` set the child goes on in this program: it costs a tenth of an exec,
 * and shares its memory with init. */
pid_t spawn_start(const struct spawn *s);

/* Runs fn in a child of its own; its result becomes the exit status. */
pid_t spawn_call(int (*fn)(void *), void *arg);

#endif
