/* A bud is a process that waits to become a container: the first one of new
 * pid, network, ipc, uts and mount namespaces in which all that can be made
 * before a container is asked for (shape.h) has been made. A start then costs
 * what is its own: the root, the program.
 *
 *	serve      nursery                       bud
 *	SHAPE ---> keeps the config
 *	BUD -----> clone, CLONE_PARENT --------> makes what is ahead
 *	     <---- pid; pidfd, channel
 *	     <---------------------------------- struct bud_ready
 *	struct bud_config ---------------------> reads it, as serve does
 *	struct bud_start ----------------------> makes the rest, then as
 *	                                         every child: READY, go, execve
 *
 * The nursery is a process of its own, forked before serve has grown, in a
 * mount namespace that has nothing but an empty root; so what it clones is
 * small, and what a clone waits for is waited for there. Its parent is init, so
 * that CLONE_PARENT makes init the parent of containers.
 *
 * Whoever loses its other side exits: the nursery when serve dies, a bud when
 * it dies before it said "go". A bud that nobody took is then gone, and the
 * next serve begins with none.
 *
 * A bud is cloned into a cgroup of its own, @PID-N, since to move a process the
 * kernel waits for others. So the cgroup of a container may have another name
 * than the container; serve links one to the other (serve.h). The nursery too
 * is in one of its own, for a process that is cloned into another cgroup dies
 * if the maker's was ever killed as a whole, as init does to services. */
#ifndef ZRUN_BUD_H
#define ZRUN_BUD_H

#include "base/ipc.h"
#include "child.h"

enum nursery_verb {
	NURSERY_SHAPE = 1, /* fd: sealed config; buds are made for its shape */
	NURSERY_BUD,
};

enum { NURSERY_NAME_SIZE = 32 };

struct nursery_request {
	struct ipc_head head;
};

struct nursery_reply { /* to NURSERY_BUD; fds: enum nursery_fd */
	struct ipc_head head;
	int32_t error;
	uint32_t pid;
	char cgroup[NURSERY_NAME_SIZE]; /* it was born in it */
};

enum nursery_fd {
	NURSERY_FD_PID,
	NURSERY_FD_CHANNEL,
	NURSERY_FD_CGROUP, /* directory */
	NURSERY_FDS,
};

/* fd: its mount namespace. While somebody holds that, the end of the container
 * does not wait for its mounts to be taken apart. */
struct bud_ready {
	struct ipc_head head;
};

enum bud_fd {
	BUD_FD_ROOT,			 /* detached mount */
	BUD_FD_STDIO,			 /* three */
	BUD_FD_MOUNT = BUD_FD_STDIO + 3, /* sources of bind mounts, in order */
	BUD_MOUNTS_MAX = IPC_FDS_MAX - BUD_FD_MOUNT,
};

struct bud_config { /* fd: sealed, of the container */
	struct ipc_head head;
};

struct bud_start {
	struct ipc_head head;
	uint32_t address; /* as of struct plan_setting */
};

/* Forks the nursery; cgroups: the directory in which it makes those of buds.
 * Its socket (seqpacket, blocking), or -errno. */
int nursery_fork(int cgroups);
/* Removes the cgroups of buds that are gone, those that begin with `prefix`,
 * but not what `keep` wants. */
void nursery_sweep(int cgroups, const char *prefix,
		   bool (*keep)(const char *name));

/* Reads the sealed config whose shape the buds will have; in the nursery, so
 * that it is read once. 0 or -errno. */
int bud_shape(int shape);
/* What a bud does until it is a container. */
_Noreturn void bud_live(struct child *child);

/* What a start hands to a bud beside the config. */
struct bud_given {
	uint32_t address;
	int root;
	const int *mount_fd; /* as of struct plan_setting */
};

/* The plan of what is left, by which a bud's messages count. 0 or -errno with
 * fault set. */
int bud_plan(struct plan *plan, struct runtime_config *config,
	     const struct bud_given *given, struct fault *fault);

#endif
