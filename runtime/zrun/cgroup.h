/* The container's cgroup, version 2 only. On a host that is hybrid (v1
 * controllers, a v2 tree beside them) the v2 tree is used: it has kill, freeze
 * and the device program at least. */
#ifndef ZRUN_CGROUP_H
#define ZRUN_CGROUP_H

#include <stdbool.h>

#include "fault.h"
#include "oci/runtime_config.h"

struct cgroup {
	int root;	  /* of the v2 tree; -1: none */
	int dir;	  /* the container's; -1: none */
	char mount[64];	  /* where the tree is mounted; "" when nowhere */
	char path[1024];  /* below root, without a leading "/" */
	bool skip_absent; /* a limit without its controller is only logged */
};

#define CGROUP_NONE ((struct cgroup){ .root = -1, .dir = -1 })

/* Whether the tree has controllers at all: a hybrid host keeps them in v1. */
bool cgroup_has_controllers(const struct cgroup *cg);

/* Finds the v2 tree. 0 or -errno with fault set. */
int cgroup_find(struct cgroup *cg, struct fault *fault);
/* Makes `name` right below the root, where cgroups can be made that have
 * controllers. Its directory or -errno. */
int cgroup_parent(const struct cgroup *cg, const char *name);
/* Makes cgroup `path` with its parents, controllers enabled on the way. The
 * directory must be new or empty of processes: -EBUSY. */
int cgroup_make(struct cgroup *cg, const char *path, struct fault *fault);
/* Enables the controller of `file` ("rdma" of "rdma.max") for an existing one.
 * 0 or -errno. */
int cgroup_enable(const struct cgroup *cg, const char *file);
/* Opens an existing one. -ENOENT without a fault when it is gone. */
int cgroup_open(struct cgroup *cg, const char *path);
/* Writes the limits and the device rules. */
int cgroup_limit(const struct cgroup *cg,
		 const struct runtime_resources *resources,
		 struct fault *fault);
int cgroup_devices(const struct cgroup *cg,
		   const struct runtime_resources *resources,
		   struct fault *fault);
/* The same where there are rules already, which these take the place of. */
int cgroup_devices_renew(const struct cgroup *cg,
			 const struct runtime_resources *resources,
			 struct fault *fault);
/* In a process that has closed the descriptors of the one it was forked from.
 */
void cgroup_devices_forget(void);

/* Sends a signal to every process in it and below. */
int cgroup_signal(const struct cgroup *cg, int signal);
bool cgroup_is_empty(const struct cgroup *cg);
bool cgroup_is_frozen(const struct cgroup *cg);
int cgroup_freeze(const struct cgroup *cg, bool frozen);
/* Freezes it and waits until that came about, some seconds at most; -ETIMEDOUT:
 * it goes on. */
int cgroup_pause(const struct cgroup *cg);
/* Kills what is in it, waits until it is empty (at most some seconds), and
 * removes it with all below. */
int cgroup_remove(struct cgroup *cg);
/* The same without killing: -EBUSY when it does not become empty. */
int cgroup_remove_empty(struct cgroup *cg);
void cgroup_close(struct cgroup *cg);

#endif
