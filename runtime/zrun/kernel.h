/* System calls that the C libraries do not offer yet, by number: musl has none
 * of the mount API, glibc's <sys/mount.h> and <linux/mount.h> clash. Each
 * returns a value or -errno. */
#ifndef ZRUN_KERNEL_H
#define ZRUN_KERNEL_H

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif
#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC 4
#endif
#ifndef CLONE_INTO_CGROUP
#define CLONE_INTO_CGROUP 0x200000000ULL
#endif
#ifndef CLONE_NEWTIME
#define CLONE_NEWTIME 0x80
#endif
#define KERNEL_MNT_DETACH 2

static inline int kernel_result(long r)
{
	return r < 0 ? -errno : (int)r;
}

/* time(2), without the C library's search in the vDSO, which costs more. */
static inline uint64_t kernel_time(void)
{
	struct timespec now = { 0 };

	syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec;
}

static inline int kernel_mount(const char *source, const char *target,
			       const char *type, unsigned long flags,
			       const void *data)
{
	return kernel_result(
		syscall(SYS_mount, source, target, type, flags, data));
}

static inline int kernel_umount(const char *target, int flags)
{
	return kernel_result(syscall(SYS_umount2, target, flags));
}

static inline int kernel_pivot_root(const char *root, const char *old)
{
	return kernel_result(syscall(SYS_pivot_root, root, old));
}

static inline int kernel_open_tree(int dir, const char *path, unsigned flags)
{
	return kernel_result(
		syscall(SYS_open_tree, dir, path, flags | OPEN_TREE_CLOEXEC));
}

/* Attaches the mount `mount` onto a name in a directory that nobody else can
 * change; "": onto what `onto` itself refers to. */
static inline int kernel_attach_at(int mount, int onto, const char *name)
{
	return kernel_result(syscall(SYS_move_mount, mount, "", onto, name,
				     MOVE_MOUNT_F_EMPTY_PATH |
					     MOVE_MOUNT_T_EMPTY_PATH |
					     MOVE_MOUNT_T_SYMLINKS));
}

/* The same onto a name of which the last link is not followed. */
static inline int kernel_attach_name(int mount, int dir, const char *name)
{
	return kernel_result(syscall(SYS_move_mount, mount, "", dir, name,
				     MOVE_MOUNT_F_EMPTY_PATH));
}

/* Neither is named by a path that somebody could change meanwhile. */
static inline int kernel_attach(int mount, int onto)
{
	return kernel_attach_at(mount, onto, "");
}

/* `name` in dir; "": what dir itself refers to. */
static inline int kernel_mount_setattr_at(int dir, const char *name,
					  unsigned flags,
					  struct mount_attr *attr)
{
	return kernel_result(syscall(SYS_mount_setattr, dir, name,
				     flags | AT_EMPTY_PATH, attr,
				     sizeof(*attr)));
}

static inline int kernel_mount_setattr(int mount, unsigned flags,
				       struct mount_attr *attr)
{
	return kernel_mount_setattr_at(mount, "", flags, attr);
}

static inline int kernel_fsopen(const char *type)
{
	return kernel_result(syscall(SYS_fsopen, type, FSOPEN_CLOEXEC));
}

static inline int kernel_fsconfig(int fs, unsigned command, const char *key,
				  const void *value)
{
	return kernel_result(syscall(SYS_fsconfig, fs, command, key, value, 0));
}

static inline int kernel_fsmount(int fs, unsigned attr)
{
	return kernel_result(syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, attr));
}

static inline int kernel_clone3(struct clone_args *args)
{
	return kernel_result(syscall(SYS_clone3, args, sizeof(*args)));
}

static inline int kernel_pidfd_open(pid_t pid)
{
	return kernel_result(syscall(SYS_pidfd_open, pid, 0));
}

static inline int kernel_pidfd_signal(int pidfd, int signal)
{
	return kernel_result(
		syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0));
}

static inline int kernel_close_range(unsigned first, unsigned last,
				     unsigned flags)
{
	return kernel_result(syscall(SYS_close_range, first, last, flags));
}

#endif
