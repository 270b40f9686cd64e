#define _GNU_SOURCE
#include "space.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "base/span.h"

/* As the image store has it (runtime/image/import.c). */
#define RESERVE_MAX_BYTES (256ULL << 20)
enum { RESERVE_PART = 16 };

static int space_left(int root, uint64_t *bytes)
{
	struct statvfs s;
	uint64_t reserve;

	if (fstatvfs(root, &s) < 0)
		return -errno;
	reserve = (uint64_t)s.f_blocks * s.f_frsize / RESERVE_PART;
	if (reserve > RESERVE_MAX_BYTES)
		reserve = RESERVE_MAX_BYTES;
	*bytes = (uint64_t)s.f_bavail * s.f_frsize;
	*bytes = *bytes > reserve ? *bytes - reserve : 0;
	return 0;
}

static bool is_older(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec != b->tv_sec ? a->tv_sec < b->tv_sec
				      : a->tv_nsec < b->tv_nsec;
}

/* Name of the layout that was changed longest ago; false when there is none
 * that may go. */
static bool find_oldest(int root, bool (*is_wanted)(const char *name),
			char name[256])
{
	int fd = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	struct timespec oldest;
	bool found = false;

	if (!dir && fd >= 0)
		close(fd);
	while (dir && (entry = readdir(dir))) {
		struct stat st;

		if (entry->d_name[0] == '.' || is_wanted(entry->d_name) ||
		    fstatat(root, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (found && !is_older(&st.st_mtim, &oldest))
			continue;
		found = true;
		oldest = st.st_mtim;
		text_copy(name, 256, entry->d_name);
	}
	if (dir)
		closedir(dir);
	return found;
}

int space_make(int root, uint64_t bytes, bool (*is_wanted)(const char *name),
	       uint64_t *left_bytes)
{
	char name[256];
	int r;

	while ((r = space_left(root, left_bytes)) == 0 && *left_bytes < bytes) {
		if (!find_oldest(root, is_wanted, name))
			return -ENOSPC;
		log_notice(name, "removed, its space is needed");
		r = path_remove_tree(root, name);
		if (r)
			return r;
		/* Not given back before the next commit otherwise. */
		syncfs(root);
	}
	return r;
}
