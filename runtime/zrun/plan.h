/* A container's start as a flat list of operations.
 *
 * The parent turns the checked config into the list; one executor in the child
 * (child.h) runs it from the first to the last and reports the one that
 * failed. So all decisions are made, and all memory is taken, before the child
 * exists, and what the child does can be read from top to bottom. */
#ifndef ZRUN_PLAN_H
#define ZRUN_PLAN_H

#include <linux/filter.h>

#include "fault.h"
#include "oci/runtime_config.h"

enum op_code {
	OP_JOIN,	     /* setns to fd; number: CLONE_NEW... */
	OP_ID_MAPS,	     /* wait until the parent wrote them; become root */
	OP_CGROUP_NAMESPACE, /* new, once inside the cgroup */
	OP_TIME_OFFSETS,     /* a new time namespace with the config's */
	OP_OOM_SCORE,	     /* number */
	OP_SYSCTL,	     /* path below /proc/sys, text */
	OP_NETWORK,	     /* lo up, address number (IPv4, host order) */
	OP_NETWORK_TAKE,     /* in its place: launch_network.c */
	OP_ADDRESS,	     /* the same where OP_NETWORK was done ahead */
	OP_PROPAGATION,	     /* of "/" before anything; number: MS_* */
	OP_ROOT_BIND,	     /* path or fd: of the root; number: MS_* */
	OP_ROOT_OVERLAY,     /* object: struct overlay */
	OP_ROOT_TAKE,	     /* fd: a detached mount */
	OP_MOVE,	     /* object: struct runtime_mount made ahead */
	OP_ROOT_OPEN,	     /* path: not mounted, for a chroot */
	OP_ROOT_ENTER,	     /* in place of OP_PIVOT; fd: another root, or -1 */
	OP_ROOT_HERE,	     /* "/" is the root: of `zrun mounts` */
	OP_UNMOUNT,	     /* path */
	OP_MOUNT,	     /* object: struct runtime_mount; fd: prepared */
	OP_DEVICE,	     /* object: struct runtime_device */
	OP_DEVICE_BIND,	     /* the same from the host's, in a user namespace */
	OP_SYMLINK,	     /* path in /dev, text: target */
	OP_MASK,	     /* path */
	OP_READONLY,	     /* path */
	OP_TERMINAL,	     /* open it, send it to the console socket */
	OP_CWD_MAKE,	     /* path, made when missing */
	OP_HOOKS_RUNTIME,    /* the parent runs prestart, createRuntime */
	OP_HOOKS_CONTAINER,  /* createContainer: here, before the pivot */
	OP_ROOT_READONLY,
	OP_PIVOT,
	OP_MOVE_ROOT,	     /* in its place where "/" is the initial ramfs */
	OP_ROOT_PROPAGATION, /* number: MS_* */
	OP_HOSTNAME,	     /* text */
	OP_DOMAINNAME,	     /* text */
	OP_PERSONALITY,	     /* number: PER_* */
	OP_MEMORY_POLICY,    /* object: struct runtime_memory_policy */
	OP_KEYRING,	     /* a session keyring of its own */
	OP_SESSION,	     /* setsid, controlling terminal */
	OP_RLIMIT,	     /* object: struct runtime_rlimit */
	OP_CWD,		     /* path */
	OP_USER_NAME,	     /* text: look it up in the root */
	OP_USER,
	OP_CAPABILITIES,
	OP_APPARMOR, /* text: the profile */
	OP_SELINUX,  /* text: the label */
	OP_NO_NEW_PRIVILEGES,
	OP_HOME,       /* text: variable of the environment to fill in */
	OP_LOOKUP,     /* find the program */
	OP_READY,      /* tell the parent, wait for its go */
	OP_COMMIT,     /* in its place: the go comes early (launch_early()); fd:
			* where the state is staged, -1: none */
	OP_WAIT_START, /* wait for `zrun start` */
	OP_HOOKS_START,
	OP_DESCRIPTORS, /* to be closed by execve */
	OP_SECCOMP,
	OP_EXEC,
	OP_COUNT,
};

#define HOME_SIZE 1024

struct overlay {
	const char *const *layer; /* directories, bottom to top */
	size_t n_layer;
	const char *upper, *work; /* NULL: read-only */
	const char *mount_point;
	bool is_volatile;
};

struct op {
	enum op_code code;
	int fd;
	int index; /* in the array of the config it comes from; -1 */
	uint64_t number;
	const char *path, *text;
	const void *object;
};

struct plan {
	struct op *op;
	size_t n, room;
};

/* What the config does not say. */
struct plan_setting {
	const char *root_path;	       /* absolute; NULL with an overlay */
	int root_fd;		       /* the same, detached; -1: by its path */
	const struct overlay *overlay; /* or NULL */
	uint32_t address;	       /* IPv4 for a new network namespace; 0 */
	int join_fd[RUNTIME_NS_COUNT]; /* open namespaces to join; -1 */
	bool enters_root;	       /* exec: root_fd is where to chroot */
	bool joins_ahead;	       /* launch_clone() sees to them */
	const char *cgroup_path;       /* of the container on the host */
	bool has_console;	       /* a terminal is to be made */
	bool wait_start;	       /* two steps: create, start */
	char *home; /* HOME_SIZE bytes in the environment; NULL */
	bool seccomp, no_pivot, new_keyring;
	const struct runtime_hooks *start_hooks; /* NULL: none */
	bool user_name;	     /* process.user.username counts */
	const int *mount_fd; /* for each mount: what the parent prepared
			      * (mount_source.h); NULL: nothing */
};

/* Makes the list for a container's first process. The list points into config
 * and setting. 0 or -errno with fault set; plan_free() in either case. */
int plan_container(struct plan *plan, struct runtime_config *config,
		   const struct plan_setting *setting, struct fault *fault);

void plan_free(struct plan *plan);

/* The list for a further process in a container that runs. */
int plan_exec(struct plan *plan, const struct runtime_config *config,
	      const struct plan_setting *setting, struct fault *fault);

#define SYSCTL_PATH_SIZE 256
/* The path below /proc/sys of a key, whose first separator tells the form, as
 * in sysctl(8): "net.ipv4.conf.eth0/1.forwarding" is
 * "net/ipv4/conf/eth0.1/forwarding". */
void sysctl_path(const char *key, char out[SYSCTL_PATH_SIZE]);

/* "mounts[3] (/proc)": the place in the config that op comes from. */
void op_name(const struct op *op, char *out, size_t size);

/* Whether limits and the OOM score are the parent's to set (launch_ready.c):
 * a user namespace takes the right from the child. */
bool plan_parent_raises(const struct runtime_config *config);

/* Whether the time namespace is made by OP_TIME_OFFSETS. */
bool plan_offsets_time(const struct runtime_config *config);

/* CLONE_NEW... flag of a namespace. */
uint64_t namespace_flag(enum runtime_namespace ns);

#endif
