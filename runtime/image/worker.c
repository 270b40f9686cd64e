/* The process that reads foreign archives.
 *
 * A captured worker has root's uid and must gain nothing from it. Four walls:
 *
 * - Its directories are detached clones of mounts: from a clone's top ".."
 *   leads nowhere; the layout's is read-only. The process root is the clone of
 *   the layers' directory, so no absolute path names anything else. This also
 *   covers chmod, chown and xattrs, which Landlock does not.
 * - Landlock: files only beneath these directories; it also forbids every
 *   mount call.
 * - Of the capabilities stay those to give files their owner, mode and file
 *   capabilities, and CAP_SYS_ADMIN, the only one that lets trusted.overlay.*
 *   be set. (Whiteouts need no CAP_MKNOD.) What else CAP_SYS_ADMIN allows
 *   takes system calls that are not on the list.
 * - The system calls below; none makes a socket, a process or a mount.
 *
 * #syscalls: openat openat2 newfstatat fstat faccessat faccessat2 lseek
 * #syscalls: getdents64 mkdirat unlinkat renameat renameat2 linkat symlinkat
 * #syscalls: mknodat fchown fchownat fchmod fchmodat utimensat fsetxattr
 * #syscalls: ftruncate pread64 pwrite64 fsync fdatasync syncfs
 * #syscalls: flock fstatfs statx getrandom
 * #syscalls[x86_64]: open stat mkdir rename unlink access rmdir
 */
#define _GNU_SOURCE
#include "worker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/capability.h>
#include <linux/mount.h>

#include "base/confine.h"
#include "base/fd.h"
#include "base/log.h"

#include "unpack_filter.h"

#define KEPT                                                          \
	(UINT64_C(1) << CAP_CHOWN | UINT64_C(1) << CAP_DAC_OVERRIDE | \
	 UINT64_C(1) << CAP_FOWNER | UINT64_C(1) << CAP_FSETID |      \
	 UINT64_C(1) << CAP_SETFCAP | UINT64_C(1) << CAP_SYS_ADMIN)

static int fail(const char *what)
{
	int code = -errno;

	log_error("unpack worker", "%s: %s", what, strerror(-code));
	return code;
}

/* A directory of a new mount that is attached nowhere. The mount's own
 * descriptor stays open, it keeps the mount. */
static int detach(int dir, uint64_t attributes)
{
	struct mount_attr attr = { .attr_set = attributes };
	int fd, mount = (int)syscall(SYS_open_tree, dir, "",
				     AT_EMPTY_PATH | OPEN_TREE_CLONE |
					     OPEN_TREE_CLOEXEC);

	if (mount < 0)
		return fail("open_tree");
	if (syscall(SYS_mount_setattr, mount, "", AT_EMPTY_PATH, &attr,
		    sizeof(attr)) < 0)
		return fail("mount_setattr");
	fd = openat(mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? fail("detached mount") : fd;
}

static int detach_all(struct store *store, int *layout)
{
	const uint64_t inert = MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC |
			       MOUNT_ATTR_NOSUID;

	store->images = detach(store->images, inert);
	if (store->images < 0)
		return store->images;
	store->layers = detach(store->layers, inert);
	if (store->layers < 0)
		return store->layers;
	if (*layout >= 0)
		*layout = detach(*layout, inert | MOUNT_ATTR_RDONLY);
	return *layout < -1 ? *layout : 0;
}

int unpack_confine(struct store *store, int *layout)
{
	int dirs[3], n = 2, r = detach_all(store, layout);

	if (r)
		return r;
	if (fchdir(store->layers) < 0 || chroot(".") < 0)
		return fail("chroot");
	dirs[0] = store->images;
	dirs[1] = store->layers;
	if (*layout >= 0)
		dirs[n++] = *layout;
	r = confine_files(dirs, (size_t)n);
	if (r)
		return r;
	return confine_keeping(KEPT, seccomp_filter,
			       sizeof(seccomp_filter) /
				       sizeof(seccomp_filter[0]));
}

static int compare(const void *a, const void *b)
{
	return *(const int *)a - *(const int *)b;
}

/* The parent's sockets and memory files are not for this process. */
static void close_others(const int *kept, size_t n)
{
	int fd[8], from = 3;

	memcpy(fd, kept, n * sizeof(*fd));
	qsort(fd, n, sizeof(*fd), compare);
	for (size_t i = 0; i < n; i++) {
		if (fd[i] > from)
			syscall(SYS_close_range, from, fd[i] - 1, 0);
		if (fd[i] >= from)
			from = fd[i] + 1;
	}
	syscall(SYS_close_range, from, ~0U, 0);
}

/* The store is cleaned by the next `zrun serve` when this one dies, so no
 * worker may outlive its parent. */
static int die_with_parent(int report)
{
	struct pollfd p = { .fd = report };

	if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
		return fail("parent death signal");
	return poll(&p, 1, 0) > 0 && p.revents & POLLERR ? -EPIPE : 0;
}

/* What an archive makes a decompressor need must not cost a container its
 * life; serve itself is nearly exempt. A host without /proc does without. */
static void die_first(void)
{
	file_put(AT_FDCWD, "/proc/self/oom_score_adj", "900");
}

/* Before its directory becomes a mount of which no path is known. */
static int source_open(struct store_source *source,
		       const struct store_task *task)
{
	*source = (struct store_source){ task->layout, { -1, task->end } };
	if (task->end < 0)
		return 0;
	source->growth.events = growth_watch(task->layout);
	return source->growth.events < 0 ? source->growth.events : 0;
}

int store_worker(const struct store *held, const struct store_task *task,
		 int report)
{
	const int kept[] = { held->images, held->layers, task->layout,
			     task->end, report };
	struct store_report result = { 0 };
	struct store store = *held;
	struct store_source source;
	int r;

	close_others(kept, sizeof(kept) / sizeof(kept[0]));
	umask(0);
	die_first();
	r = die_with_parent(report);
	if (!r)
		r = source_open(&source, task);
	if (!r)
		r = unpack_confine(&store, &source.layout);
	if (r)
		strcpy(result.text, "the unpack worker cannot be confined");
	else if (task->job == STORE_IMPORT)
		r = store_import(&store, &source, task->image, result.text);
	else
		r = store_forget(&store, task->image, result.text);
	result.error = r;
	return fd_write(report, &result, sizeof(result)) || r ? 1 : 0;
}
