/* The namespaces of a process that runs, to be joined by another. */
#ifndef ZRUN_JOIN_H
#define ZRUN_JOIN_H

#include "launch.h"

struct join {
	int fd[RUNTIME_NS_COUNT]; /* -1: it is in ours */
	int pidfd;		  /* what several of them are */
};

void join_init(struct join *join);
/* Opens those namespaces of pid that differ from ours. With the config of the
 * container whose first process pid is, those that were made for it are only
 * to be joined, all by one descriptor. 0 or -errno with fault set;
 * join_close() either way. */
int join_open(struct join *join, pid_t pid, const struct runtime_config *config,
	      struct fault *fault);
/* Whether fd is the namespace that this process is in. */
bool join_is_ours(int fd, enum runtime_namespace ns);
/* Puts them where plan_exec() and launch_clone() look. */
void join_setting(const struct join *join, struct plan_setting *setting,
		  struct launch *launch);
void join_close(struct join *join);

#endif
