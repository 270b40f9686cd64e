#define _GNU_SOURCE
#include "path.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdbool.h>
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
		.mode = flags & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY)) ? mode : 0,
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

static int remove_children(int fd);

static int remove_entry(int dir, const char *name)
{
	autoclose int fd = -1;
	int err;

	if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	fd = openat(dir, name,
		    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	err = remove_children(fd);
	if (err < 0)
		return err;
	/* A mount point answers EBUSY: what is mounted there stays. */
	return unlinkat(dir, name, AT_REMOVEDIR) < 0 ? -errno : 0;
}

/* Recursion is as deep as the tree; one descriptor a level is open, so a tree
 * deeper than RLIMIT_NOFILE ends with EMFILE rather than a full stack. */
static int remove_children(int fd)
{
	int err = 0;
	DIR *entries = fdopendir(fcntl(fd, F_DUPFD_CLOEXEC, 0));
	struct dirent *e;

	if (!entries)
		return -errno;
	while (err == 0 && (e = readdir(entries)))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
			err = remove_entry(fd, e->d_name);
	closedir(entries);
	return err;
}

int path_remove_tree(int dir, const char *name)
{
	return remove_entry(dir, name);
}
