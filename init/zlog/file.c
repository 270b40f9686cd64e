#define _GNU_SOURCE
#include "file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"

/* #syscalls: ftruncate openat renameat unlinkat lseek pread64
 * #syscalls: getdents64 fstat newfstatat statx */

enum { LISTED_MAX = 512 };

/* A file of the directory, by the name of its source. */
struct listed {
	char name[FILE_NAME_SIZE];
	time_t changed;
};

/* Only looked up; a disk that takes no writes is found out later, by the
 * writer. */
int file_dir_open(void)
{
	char path[256];
	int fd;

	if (snprintf(path, sizeof(path), "%s/logs", path_data()) >=
	    (int)sizeof(path))
		return -ENAMETOOLONG;
	fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT && mkdir(path, 0750) == 0)
		fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		fd = -errno;
		log_warning(path, "%m: logs are kept in memory only");
	}
	return fd;
}

/* That of age 0 is written; 1 was full last. */
static void file_name(char out[FILE_NAME_SIZE], const char *name, unsigned age)
{
	int n = snprintf(out, FILE_NAME_SIZE, "%.63s.log", name);

	if (age)
		snprintf(out + n, FILE_NAME_SIZE - (size_t)n, ".%u", age);
}

static int file_open(struct file *f, int dir, const char *name)
{
	char path[FILE_NAME_SIZE];
	struct stat st;

	file_name(path, name, 0);
	f->fd = openat(dir, path,
		       O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC,
		       0640);
	if (f->fd < 0)
		return -errno;
	f->size = fstat(f->fd, &st) == 0 ? (size_t)st.st_size : 0;
	return 0;
}

static int file_rotate(struct file *f, int dir, const char *name)
{
	char path[FILE_NAME_SIZE], old[FILE_NAME_SIZE];

	file_close(f);
	/* All that there can be, for more may have been kept before. */
	for (unsigned age = ZLOG_KEEP_FILES_MAX; age-- > 0;) {
		file_name(path, name, age);
		file_name(old, name, age + 1);
		if ((age + 1 < f->keep.files ? renameat(dir, path, dir, old)
					     : unlinkat(dir, path, 0)) < 0 &&
		    errno != ENOENT)
			return -errno;
	}
	return file_open(f, dir, name);
}

/* A write that was cut short by a full disk is taken back, so that no half
 * line stays. */
int file_append(struct file *f, int dir, const char *name, struct span text)
{
	int error = f->fd < 0 ? file_open(f, dir, name) : 0;
	ssize_t n;

	if (error == 0 && f->size && f->size + text.size > f->keep.size_bytes)
		error = file_rotate(f, dir, name);
	if (error < 0)
		return error;
	n = write(f->fd, text.data, text.size);
	if (n == (ssize_t)text.size) {
		f->size += text.size;
		return 0;
	}
	error = n < 0 ? -errno : -ENOSPC;
	if (n > 0 && ftruncate(f->fd, (off_t)f->size) < 0)
		f->size += (size_t)n;
	return error;
}

void file_close(struct file *f)
{
	fd_close(&f->fd);
	f->size = 0;
}

static size_t tail_read(int dir, const char *path, char *buf, size_t size)
{
	autoclose int fd = openat(dir, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct stat st;
	off_t from;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0)
		return 0;
	from = st.st_size > (off_t)size ? st.st_size - (off_t)size : 0;
	n = pread(fd, buf, size, from);
	return n < 0 ? 0 : (size_t)n;
}

size_t file_tail(int dir, const char *name, char *buf, size_t size)
{
	char path[FILE_NAME_SIZE];
	size_t n;

	file_name(path, name, 0);
	n = tail_read(dir, path, buf, size);
	if (n)
		return n;
	file_name(path, name, 1);
	return tail_read(dir, path, buf, size);
}

/* The name of the source whose file `path` is. */
static bool name_of(const char *path, char name[FILE_NAME_SIZE])
{
	const char *dot = strchr(path, '.');
	char whole[FILE_NAME_SIZE];
	unsigned age = 0;
	struct span s;

	while (dot && age < ZLOG_KEEP_FILES_MAX) {
		file_name(whole, "", age);
		if (!strcmp(dot, whole))
			break;
		age++;
	}
	if (!dot || age == ZLOG_KEEP_FILES_MAX)
		return false;
	s = (struct span){ path, (size_t)(dot - path) };
	return id_valid(s) && span_copy(name, FILE_NAME_SIZE, s) == 0;
}

static void listed_add(struct listed *list, size_t *n, const char *name,
		       time_t changed)
{
	for (size_t i = 0; i < *n; i++) {
		if (!strcmp(list[i].name, name)) {
			if (changed > list[i].changed)
				list[i].changed = changed;
			return;
		}
	}
	if (*n == LISTED_MAX)
		return;
	text_copy(list[*n].name, FILE_NAME_SIZE, name);
	list[(*n)++].changed = changed;
}

/* The sources that have files, at most LISTED_MAX. */
static size_t sources_list(int dir, struct listed *list)
{
	DIR *d = path_list(dir, ".");
	char name[FILE_NAME_SIZE];
	struct dirent *e;
	struct stat st;
	size_t n = 0;

	while (d && (e = readdir(d))) {
		if (name_of(e->d_name, name) &&
		    fstatat(dir, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			listed_add(list, &n, name, st.st_mtime);
	}
	if (d)
		closedir(d);
	return n;
}

static int by_age(const void *a, const void *b)
{
	const struct listed *x = a, *y = b;

	return (x->changed < y->changed) - (x->changed > y->changed);
}

static void remove_files(int dir, const char *name)
{
	char path[FILE_NAME_SIZE];

	for (unsigned age = 0; age < ZLOG_KEEP_FILES_MAX; age++) {
		file_name(path, name, age);
		unlinkat(dir, path, 0);
	}
}

void file_prune(int dir, bool (*is_live)(const char *name))
{
	static struct listed list[LISTED_MAX];
	size_t n = dir < 0 ? 0 : sources_list(dir, list), kept = 0;

	qsort(list, n, sizeof(list[0]), by_age);
	for (size_t i = 0; i < n; i++) {
		if (is_live(list[i].name))
			continue;
		if (++kept > FILE_ENDED_MAX)
			remove_files(dir, list[i].name);
	}
}
