/* A cgroup that systemd knows of: a transient scope unit, delegated to us, with
 * the container's cgroup in it. For hosts whose manager of cgroups is systemd
 * (--systemd-cgroup); asked for by busctl(1), systemd's own client. */
#ifndef ZRUN_SCOPE_H
#define ZRUN_SCOPE_H

#include <stddef.h>
#include <sys/types.h>

#include "fault.h"

struct scope {
	pid_t holder;	  /* keeps the scope alive while it is empty; 0: none */
	char inner[1040]; /* the holder's cgroup, below the tree's root */
};

/* 0, or -errno with fault set: no systemd runs here. `option` for the text. */
int scope_usable(const char *option, struct fault *fault);

/* Makes the scope that `wanted` ("slice:prefix:name"; NULL: in the standard
 * slice, named after the container) means, with its holder in a cgroup of its
 * own, and tells in `path` where the container's shall be made. root is the
 * tree's directory. 0 or -errno with fault set; scope_end() in either case. */
int scope_make(struct scope *scope, const char *wanted, const char *id,
	       int root, char *path, size_t size, struct fault *fault);

/* To be called once the container's process is in its cgroup, or will never
 * be: systemd removes a scope that is empty. Does nothing the second time. */
void scope_end(struct scope *scope, int root);

#endif
