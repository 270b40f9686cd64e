/* An empty volume gets what the image has in its place, so that a program finds
 * what its image was made with, and a user that is not root may write where the
 * image let it. The volume's quota ends what is too large.
 *
 * A copy that was cut short is known by a file that is there while it goes on;
 * then what came of it is removed, and it is done again. That the file is gone
 * must be on the disk before the program writes: else, after a power cut, what
 * the program had synced would be taken for half a copy. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "child.h"

#define UNFINISHED ".zooid-copy"

static bool is_entry(const char *name)
{
	return strcmp(name, ".") != 0 && strcmp(name, "..") != 0 &&
	       strcmp(name, UNFINISHED) != 0;
}

/* Whether it has entries besides the mark. */
static int has_entries(int volume)
{
	DIR *list = path_list(volume, ".");
	int n = 0;

	if (!list)
		return -errno;
	for (struct dirent *e; n == 0 && (e = readdir(list));)
		n = is_entry(e->d_name);
	closedir(list);
	return n;
}

static int entries_remove(int volume)
{
	DIR *list = path_list(volume, ".");
	int r = 0;

	if (!list)
		return -errno;
	for (struct dirent *e; r == 0 && (e = readdir(list));)
		if (is_entry(e->d_name))
			r = path_remove_tree(volume, e->d_name);
	closedir(list);
	return r;
}

/* The descriptor of a mount may be O_PATH. */
static int directory_sync(int volume)
{
	autoclose int dir = openat(volume, ".",
				   O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return dir < 0 || fsync(dir) < 0 ? -errno : 0;
}

static int copy(struct child *c, const char *path, int volume)
{
	autoclose int mark = openat(volume, UNFINISHED,
				    O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC,
				    0600);

	if (mark < 0)
		return -errno;
	int r = entries_remove(volume);

	if (r == 0)
		r = child_copy_up(c, path, volume);
	/* Whole, and only then without the mark. */
	if (r == 0)
		r = fd_sync_all(mark);
	if (r == 0 && unlinkat(volume, UNFINISHED, 0) < 0)
		r = -errno;
	return r < 0 ? r : directory_sync(volume);
}

/* Where the image has nothing there is only whose the directory is, and a full
 * disk is in nobody's way. */
static int begin(struct child *c, const char *path, int volume)
{
	autoclose int from = child_open(c, path, O_RDONLY | O_DIRECTORY);
	struct stat there, here;
	int n = from < 0 ? from : has_entries(from);

	if (n != 0)
		return n < 0 ? n : copy(c, path, volume);
	if (fstat(from, &there) < 0 || fstat(volume, &here) < 0)
		return -errno;
	return there.st_uid == here.st_uid && there.st_gid == here.st_gid &&
			       there.st_mode == here.st_mode
		       ? 0
		       : child_copy_up(c, path, volume);
}

static bool is_marked(int volume)
{
	return faccessat(volume, UNFINISHED, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Another container may begin on the same volume at this moment. */
static int fill_alone(struct child *c, const char *path, int volume)
{
	autoclose int lock = openat(volume, ".",
				    O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (lock < 0 || flock(lock, LOCK_EX) < 0)
		return -errno;
	if (is_marked(volume))
		return copy(c, path, volume);
	int n = has_entries(volume);

	return n == 0 ? begin(c, path, volume) : n < 0 ? n : 0;
}

int child_volume_fill(struct child *c, const char *path, int volume)
{
	int n = is_marked(volume) ? 0 : has_entries(volume);
	int r = n == 0 ? fill_alone(c, path, volume) : n;

	return r < 0 ? child_detail(c, r, "fill the volume") : 0;
}
