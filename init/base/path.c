#define _GNU_SOURCE
#include "path.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "fd.h"
#include "span.h"

static const char *directory(const char *variable, const char *fixed)
{
	const char *value = getenv(variable);

	return value && value[0] == '/' ? value : fixed;
}

const char *path_run(void)
{
	return directory("ZOOID_RUN", "/run/zooid");
}

const char *path_data(void)
{
	return directory("ZOOID_DATA", "/data");
}

const char *path_boot(void)
{
	return directory("ZOOID_BOOT", "/zooid");
}

static int resolve(int dir, const char *path, int flags, mode_t mode,
		   unsigned long long how_to)
{
	struct open_how how = {
		.flags = (unsigned)(flags | O_CLOEXEC),
		.mode = flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY)) ? mode
								       : 0,
		.resolve = how_to | RESOLVE_NO_MAGICLINKS,
	};
	long fd;

	/* A rename or mount elsewhere in the tree makes the kernel give up
	 * with EAGAIN rather than prove that nothing escaped. */
	do
		fd = syscall(SYS_openat2, dir, path, &how, sizeof(how));
	while (fd < 0 && (errno == EAGAIN || errno == EINTR));
	return fd < 0 ? -errno : (int)fd;
}

int path_open_beneath(int dir, const char *path, int flags, mode_t mode)
{
	return resolve(dir, path, flags, mode, RESOLVE_BENEATH);
}

int path_open_in_root(int dir, const char *path, int flags, mode_t mode)
{
	return resolve(dir, path, flags, mode, RESOLVE_IN_ROOT);
}

int path_open_plain(const char *path, int flags)
{
	return resolve(AT_FDCWD, path, flags, 0, RESOLVE_NO_SYMLINKS);
}

int path_mkdirs(int dir, const char *path, mode_t mode)
{
	char part[4096];
	size_t n = text_copy(part, sizeof(part), path);

	if (n >= sizeof(part))
		return -ENAMETOOLONG;
	for (size_t i = 1; i <= n; i++) {
		bool at_end = i == n;

		if (!at_end && path[i] != '/')
			continue;
		part[i] = '\0';
		if (mkdirat(dir, part, mode) < 0 && errno != EEXIST)
			return -errno;
		if (!at_end)
			part[i] = '/';
	}
	return 0;
}

/* A container can nest directories deeper than any stack or limit of open
 * descriptors allows. So below a depth a directory is not entered but moved to
 * the top of the tree, where the next round finds it. */
struct removal {
	int top;
	unsigned n_moved;
	bool again;
};

enum { REMOVE_DEPTH = 32 };

static int remove_children(struct removal *removal, int fd, unsigned depth);

static int move_up(struct removal *removal, int dir, const char *name)
{
	char free_name[32];

	removal->again = true;
	for (;;) {
		snprintf(free_name, sizeof(free_name), ".removed.%u",
			 removal->n_moved++);
		if (syscall(SYS_renameat2, dir, name, removal->top, free_name,
			    RENAME_NOREPLACE) == 0)
			return 0;
		if (errno != EEXIST)
			return -errno;
	}
}

/* What is left of an entry of `dir`: nothing (0), a directory (1), -errno. */
static int remove_file(int dir, const char *name)
{
	if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
		return 0;
	return errno == EISDIR || errno == EPERM ? 1 : -errno;
}

static int open_directory(int dir, const char *name)
{
	int fd = openat(dir, name,
			O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int remove_entry(struct removal *removal, int dir, const char *name,
			unsigned depth)
{
	autoclose int fd = -1;
	int err = remove_file(dir, name);

	if (err <= 0)
		return err;
	if (depth == REMOVE_DEPTH)
		return move_up(removal, dir, name);
	fd = open_directory(dir, name);
	if (fd < 0)
		return fd;
	err = remove_children(removal, fd, depth);
	if (err < 0)
		return err;
	/* A mount point answers EBUSY: what is mounted there stays. */
	return unlinkat(dir, name, AT_REMOVEDIR) < 0 ? -errno : 0;
}

DIR *path_list(int dir, const char *name)
{
	autoclose int fd = openat(dir, name,
				  O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *list = fd < 0 ? NULL : fdopendir(fd);

	if (list)
		(void)fd_take(&fd);
	return list;
}

static int remove_children(struct removal *removal, int fd, unsigned depth)
{
	DIR *entries = path_list(fd, ".");
	struct dirent *e;
	int err = 0;

	if (!entries)
		return -errno;
	while (err == 0 && (e = readdir(entries)))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			err = remove_entry(removal, fd, e->d_name, depth + 1);
	closedir(entries);
	return err;
}

int path_remove_tree(int dir, const char *name)
{
	struct removal removal = { .top = -1 };
	autoclose int top = -1;
	int err = remove_file(dir, name);

	if (err <= 0)
		return err;
	top = removal.top = open_directory(dir, name);
	if (top < 0)
		return top;
	do {
		removal.again = false;
		err = remove_children(&removal, top, 0);
	} while (err == 0 && removal.again);
	if (err < 0)
		return err;
	return unlinkat(dir, name, AT_REMOVEDIR) < 0 ? -errno : 0;
}
