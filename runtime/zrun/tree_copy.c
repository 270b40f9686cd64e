/* The tree belongs to the image or the container, which chose its depth and
 * size: recursion is bounded, nothing is followed, and the limit of the file
 * system that is written ends a copy that is too large. Names may change
 * between two calls when the root is shared; even then all that is reached lies
 * beneath it. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fd.h"
#include "tree_copy.h"

enum { DEPTH_MAX = 40, ENTRIES_SIZE = 1024, CHUNK_SIZE = 1 << 20 };

struct copy {
	int from, to; /* directories */
	dev_t device; /* of the top: what is mounted below is not copied */
	unsigned depth;
};

static int copy_tree(const struct copy *dir);

/* Capabilities of programs and the like; a tmpfs takes what it can. */
static void copy_xattrs(int from, int to)
{
	char names[1024], value[1024];
	ssize_t n = flistxattr(from, names, sizeof(names));

	for (char *name = names; name < names + n; name += strlen(name) + 1) {
		ssize_t size = fgetxattr(from, name, value, sizeof(value));

		if (size >= 0)
			(void)fsetxattr(to, name, value, (size_t)size, 0);
	}
}

/* Owner first: changing it clears the set-user-id bit. */
static int copy_meta(int to, const struct stat *st)
{
	struct timespec times[2] = { st->st_atim, st->st_mtim };

	if (fchown(to, st->st_uid, st->st_gid) < 0 ||
	    fchmod(to, st->st_mode & 07777) < 0 || futimens(to, times) < 0)
		return -errno;
	return 0;
}

static int copy_file(const struct copy *dir, const char *name,
		     const struct stat *st)
{
	autoclose int from = openat(dir->from, name,
				    O_RDONLY | O_NOFOLLOW | O_NONBLOCK |
					    O_CLOEXEC);
	autoclose int to =
		from < 0
			? -1
			: openat(dir->to, name,
				 O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	ssize_t n;

	if (to < 0)
		return -errno;
	do
		n = sendfile(to, from, NULL, CHUNK_SIZE);
	while (n > 0);
	if (n < 0)
		return -errno;
	copy_xattrs(from, to);
	return copy_meta(to, st);
}

static int copy_directory(const struct copy *dir, const char *name,
			  const struct stat *st)
{
	autoclose int from = openat(dir->from, name,
				    O_RDONLY | O_DIRECTORY | O_NOFOLLOW |
					    O_CLOEXEC);

	if (from < 0 || mkdirat(dir->to, name, 0700) < 0)
		return -errno;
	autoclose int to = openat(
		dir->to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (to < 0)
		return -errno;
	struct copy below = { from, to, dir->device, dir->depth + 1 };
	int r = st->st_dev == dir->device ? copy_tree(&below) : 0;

	return r < 0 ? r : copy_meta(to, st);
}

static int copy_link(const struct copy *dir, const char *name,
		     const struct stat *st)
{
	char target[4096];
	ssize_t n = readlinkat(dir->from, name, target, sizeof(target) - 1);

	if (n < 0)
		return -errno;
	target[n] = '\0';
	if (symlinkat(target, dir->to, name) < 0 ||
	    fchownat(dir->to, name, st->st_uid, st->st_gid,
		     AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return 0;
}

static int copy_node(const struct copy *dir, const char *name,
		     const struct stat *st)
{
	/* The umask still counts here. */
	if (mknodat(dir->to, name, st->st_mode, st->st_rdev) < 0 ||
	    fchownat(dir->to, name, st->st_uid, st->st_gid,
		     AT_SYMLINK_NOFOLLOW) < 0 ||
	    fchmodat(dir->to, name, st->st_mode & 07777, 0) < 0)
		return -errno;
	return 0;
}

static int copy_entry(const struct copy *dir, const char *name)
{
	struct stat st;

	if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return 0;
	if (fstatat(dir->from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	switch (st.st_mode & S_IFMT) {
	case S_IFREG:
		return copy_file(dir, name, &st);
	case S_IFDIR:
		return copy_directory(dir, name, &st);
	case S_IFLNK:
		return copy_link(dir, name, &st);
	default:
		return copy_node(dir, name, &st);
	}
}

static int copy_tree(const struct copy *dir)
{
	_Alignas(struct dirent) char entries[ENTRIES_SIZE];
	long n;

	if (dir->depth > DEPTH_MAX)
		return -ELOOP;
	while ((n = syscall(SYS_getdents64, dir->from, entries,
			    sizeof(entries))) > 0) {
		for (long at = 0; at < n;) {
			const struct dirent *e =
				(const struct dirent *)(entries + at);
			int r = copy_entry(dir, e->d_name);

			if (r < 0)
				return r;
			at += e->d_reclen;
		}
	}
	return n < 0 ? -errno : 0;
}

int tree_copy(int from, int to)
{
	struct stat st;

	if (fstat(from, &st) < 0)
		return -errno;
	struct copy top = { from, to, st.st_dev, 0 };
	int r = copy_tree(&top);

	return r < 0 ? r : copy_meta(to, &st);
}
