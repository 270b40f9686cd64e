/* The executor: runs a plan in the child that becomes the container.
 *
 * Invariants:
 * 1. Nothing is allocated and nothing is logged; a failure goes to the parent
 *    as one struct child_message, and the child exits.
 * 2. When the parent dies before the child was told to go on, the channel
 *    closes and the child exits: nothing runs without somebody who knows.
 * 3. Whatever a path in the config or a link in the image says, it is resolved
 *    with the root file system as "/" (openat2, RESOLVE_IN_ROOT) to a
 *    descriptor, and mounts are attached to descriptors; or to a name in a
 *    file system that was made just now and that nobody else can change.
 * 4. No procfs or device of the container is used to do the host's work. */
#ifndef ZRUN_CHILD_H
#define ZRUN_CHILD_H

#include "base/fd.h"
#include "hook.h"
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <sys/uio.h>

#include "identity.h"
#include "made.h"
#include "plan.h"

enum child_what {
	CHILD_NEEDS_MAPS = 1, /* parent: write the id maps, answer 'm' */
	CHILD_HOOKS,	      /* parent: run its hooks, answer 'g' */
	CHILD_READY,	      /* all is prepared; parent answers 'g' */
	CHILD_FAILED,
	CHILD_AGAIN, /* never sent: see launch_receive() */
};

struct child_message {
	uint32_t what; /* enum child_what */
	int32_t op;    /* CHILD_FAILED: index in the plan */
	uint32_t code; /* and its code, for `start`, which has no plan */
	int32_t error; /* -errno */
	char detail[108];
};

/* Directories in a bud's empty root. */
#define CHILD_STAGE_FILES "files"
#define CHILD_STAGE_MASK  "mask"

struct child {
	const struct plan *plan;
	const struct runtime_config *config;
	const struct runtime_process *process;
	int channel;	    /* to the parent; closes at exec */
	int start_listener; /* -1 unless OP_WAIT_START */
	int console_socket; /* -1: the terminal stays with the parent */
	int stdio[3];	    /* what becomes 0, 1, 2; -1: as it is */
	int host_proc;	    /* /proc of the host */
	int creating_state; /* memfds that hooks read; -1 */
	int created_state;
	unsigned preserve_fds;
	bool new_user_namespace;
	bool hidden;	  /* nobody may trace it, from its birth on */
	bool user_joined; /* already, by who made us */
	struct sock_fprog filter;
	unsigned filter_flags;
	int listener; /* to the agent of seccomp_listener.h; -1: none */
	struct seccomp_message *message;
	uint64_t grantable; /* capabilities that can be given */
	struct made *made;  /* where it is to be noted; NULL */
	int reaper; /* program that runs ours, with its words; -1: none */
	const char **reaper_args;

	/* what the parent sees where memory is shared */
	bool began;    /* it runs */
	bool executes; /* all is done but execve */

	/* private to the executor */
	int stage; /* a bud's empty root, with what was made ahead; -1 */
	int root;  /* the root file system once it is mounted */
	int mask;  /* an empty read-only tmpfs, attached once */
	int null;  /* the host's null device, attached once */
	int mask_at, null_at; /* the same by name, in proc or sys; -1 */
	const char *mask_name, *null_name;
	int here;  /* the working directory, if it is one of these; -1 */
	int fresh; /* a tmpfs that was just mounted: all in it is ours; -1 */
	const char *fresh_path;
	bool fresh_has_group; /* for what is made in it */
	int files;	      /* a tmpfs for files, once there is one */
	unsigned n_files;
	int proc, sys;		      /* what is mounted there; -1 */
	bool proc_is_new, sys_is_new; /* by us: all names in it the kernel's */
	int parent;		      /* of the last device or link; -1 */
	const char *parent_path;
	size_t parent_size;
	bool parent_has_group; /* for what is made in it */
	mode_t umask;	       /* for hooks; the executor has none */
	int start_peer;	       /* `zrun start` that waits for execve */
	int terminal;	       /* slave side */
	bool has_identity;
	struct identity identity; /* in place of the config's user */
	const struct runtime_rlimit *files_limit; /* to be set last; NULL */
	char detail[108];
	char program[4096]; /* nothing until OP_LOOKUP */
};

/* Set where the child executes its program at once, not after a wait: then it
 * leaves few descriptors to execve, which closes them anyway. */
extern bool child_leaves;
enum { CHILD_FDS_FEW = 128 };

static inline void child_leave(int *fd)
{
	if (!child_leaves || *fd >= CHILD_FDS_FEW)
		fd_close(fd);
}
#define autoleave __attribute__((cleanup(child_leave)))

/* Runs the plan; never returns. */
_Noreturn void child_run(struct child *c);
/* The same in two steps: what needs no plan, then the plan. */
void child_reset(struct child *c);
_Noreturn void child_finish(struct child *c);
/* Runs operations [0, *n) only; on an error *n is the one that failed. */
int child_run_some(struct child *c, size_t *n);
/* Tells the parent and exits. */
_Noreturn void child_fail(const struct child *c, int op, int error);

/* For the files child_*.c: notes which part of an operation failed. */
__attribute__((format(printf, 3, 4))) int child_detail(struct child *c,
						       int error,
						       const char *fmt, ...);

/* child_root.c */
int child_root_bind(struct child *c, const struct op *op);
int child_root_overlay(struct child *c, const struct overlay *overlay);
int child_root_take(struct child *c, int mount);
int child_root_open(struct child *c, const char *path);
int child_root_enter(struct child *c, int root);
int child_pivot(struct child *c);
int child_move_root(struct child *c);
int child_root_here(struct child *c);
/* A detached mount of it, or -errno. */
int overlay_mount(const struct overlay *overlay);

/* child_mount.c */
int child_open(struct child *c, const char *path, int flags);
int child_make(struct child *c, const char *path, bool directory);
int child_attach(struct child *c, int mount, int onto);
int child_move(struct child *c, const struct runtime_mount *m);
int child_mount(struct child *c, const struct runtime_mount *m, int source);
int child_unmount(struct child *c, const char *path);
/* A new file system, not attached yet. */
int child_mount_new(struct child *c, const struct runtime_mount *m);
int child_propagation(uint64_t flags);
/* Makes `dir` the working directory, from which mount(2) takes names; it is to
 * be closed by child_forget(). 0 or -errno. */
int child_go(struct child *c, int dir);
void child_forget(struct child *c, int *dir);
/* Which of the trees that hold masked paths `path` lies in, made the rest of
 * the path there; NULL: in none. */
int *child_kernel_tree(struct child *c, const char **path);

/* Whether the first n bytes of path name the tmpfs that c->fresh is. */
bool child_is_fresh(const struct child *c, const char *path, size_t n);

/* child_hide.c */
int child_mask(struct child *c, const char *path);
int child_readonly(struct child *c, const char *path);

/* child_plain.c: mounts a new file system of the kernel's own, which needs
 * nothing done to it before it is attached, by one call where that says all.
 * False: nothing has changed that the longer way would mind. */
bool child_plain(struct child *c, const struct runtime_mount *m);

/* child_copy.c: what is at path in the root into the mount, not attached. */
int child_copy_up(struct child *c, const char *path, int mount);

/* Whose a file of option owner=user is: the user's, by the files of root. */
struct file_owner {
	int root;
	const struct runtime_user *user;
};

/* child_file.c: the file of a mount of type "file", as a tree to attach. */
int child_file(struct child *c, const struct runtime_mount *m);
/* The file that m means, as `name` in dir. 0 or -errno. */
int child_file_write(int dir, const char *name, const struct runtime_mount *m,
		     const struct file_owner *owner);

/* child_volume.c: an empty volume gets what is at path in the root. */
int child_volume_fill(struct child *c, const char *path, int volume);

/* child_device.c */
static inline bool is_null(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == makedev(1, 3);
}
void child_parent_close(struct child *c);
int child_device(struct child *c, const struct runtime_device *device);
int child_device_bind(struct child *c, const struct runtime_device *device);
int child_symlink(struct child *c, const char *path, const char *target);
int child_terminal(struct child *c);
/* Sends all of data over a stream, fd with it. 0 or -errno. */
int child_send_fd(int sock, struct iovec data, int fd);
int child_session(struct child *c);

/* child_attribute.c */
int child_time_offsets(struct child *c);
int child_personality(uint32_t domain);
int child_memory_policy(const struct runtime_memory_policy *policy);
int child_apparmor(struct child *c, const char *profile);
int child_selinux(struct child *c, const char *label);

/* child_seccomp.c */
int child_seccomp(struct child *c);

/* child_process.c */
int child_user_name(struct child *c, const char *name);
int child_user(struct child *c);
int child_capabilities(struct child *c);
int child_cwd(struct child *c, const char *path);
int child_lookup(struct child *c);
/* All that can be granted, in effect. */
int child_capabilities_raise(struct child *c);
/* Marks all descriptors to be closed by execve but those that go on; how many
 * there may be counts from here. */
int child_descriptors(struct child *c);
int child_exec(struct child *c);

#endif
