/* A container's first program may be a link to /proc/self/exe: then this
 * program runs inside the container, and the container can open it for writing
 * through /proc as soon as it ends (CVE-2019-5736). On a node the file lies on
 * a read-only file system. Elsewhere this program goes on from a read-only
 * mount of its own file that nobody else can reach (exe_remap.h), or executes
 * itself anew from there; where mounting is not allowed, from a sealed copy in
 * memory.
 *
 * When the last descriptor of that mount is closed the kernel waits for all
 * processors, some 50 microseconds: so it stays open until this process has to
 * wait anyway (launch_go()). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/span.h"
#include "cli.h"
#include "exe_remap.h"
#include "kernel.h"

#define SELF  "/proc/self/exe"
#define SEALS (F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)

extern char **environ;

/* The descriptor that this program was executed from, which is what the kernel
 * means by such a name; -1. */
static int executed_from(void)
{
	static const char fds[] = "/dev/fd/";
	const char *name = (const char *)getauxval(AT_EXECFN);
	uint64_t n;

	if (!name || strncmp(name, fds, sizeof(fds) - 1) != 0 ||
	    span_u64(span_of(name + sizeof(fds) - 1), INT_MAX, &n) < 0)
		return -1;
	return (int)n;
}

static int is_guarded(void)
{
	struct statfs fs;
	int from = executed_from();

	if (from >= 0 && fstatfs(from, &fs) == 0 && fs.f_flags & ST_RDONLY) {
		cli.exe = from;
		return 1;
	}
	if (statfs(SELF, &fs) < 0)
		return -errno;
	if (fs.f_flags & ST_RDONLY)
		return 1;
	if (fs.f_type != TMPFS_MAGIC)
		return 0;
	autoclose int self = openat(AT_FDCWD, SELF, O_RDONLY | O_CLOEXEC);
	int seals = self < 0 ? -1 : fcntl(self, F_GET_SEALS);

	return seals >= 0 && (seals & F_SEAL_WRITE);
}

static int readonly_mount(void)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };

	autoclose int tree = kernel_open_tree(AT_FDCWD, SELF, OPEN_TREE_CLONE);

	if (tree < 0)
		return tree;
	int r = kernel_mount_setattr(tree, 0, &attr);

	return r < 0 ? r : fd_take(&tree);
}

static int sealed_copy(void)
{
	struct stat st;

	autoclose int self = open(SELF, O_RDONLY | O_CLOEXEC);
	autoclose int copy = memfd_create("zrun",
					  MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (self < 0 || copy < 0 || fstat(self, &st) < 0)
		return -errno;
	for (off_t at = 0; at < st.st_size;) {
		if (sendfile(copy, self, &at, (size_t)(st.st_size - at)) <= 0)
			return errno ? -errno : -EIO;
	}
	if (fcntl(copy, F_ADD_SEALS, SEALS) < 0)
		return -errno;
	return fd_take(&copy);
}

int exe_guard(char **argv, struct fault *fault)
{
	int r = is_guarded();

	if (r < 0)
		return fault_set(fault, r, SELF);
	if (r > 0)
		return 0;
	autoclose int exe = readonly_mount();

	if (exe >= 0 && exe_remap(exe, argv) == 0) {
		cli.exe = fd_take(&exe);
		return 0;
	}
	/* A mount is kept over execve. */
	if (exe >= 0)
		fcntl(exe, F_SETFD, 0);
	else
		exe = sealed_copy();
	if (exe >= 0)
		syscall(SYS_execveat, exe, "", argv, environ, AT_EMPTY_PATH);
	r = exe < 0 ? exe : -errno;
	return fault_set(fault, r, "execute from a read-only copy");
}
