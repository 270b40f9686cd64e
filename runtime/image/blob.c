#define _GNU_SOURCE
#include "blob.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/fs.h>

#include "base/fd.h"
#include "base/path.h"

#define TEMPORARY ".tmp."

enum { TEMPORARY_MAX = 10000 };

void blob_path(const struct digest *digest, char path[BLOB_PATH_SIZE])
{
	size_t n = text_copy(path, BLOB_PATH_SIZE, "blobs/sha256/");

	digest_hex(digest, path + n);
}

__attribute__((format(printf, 4, 5))) static int fail(const struct blob *blob,
						      char *error, int code,
						      const char *fmt, ...)
{
	char text[DIGEST_TEXT_SIZE];
	va_list ap;
	int n;

	digest_text(blob->digest, text);
	n = snprintf(error, BLOB_ERROR_SIZE, "blob %s: ", text);
	va_start(ap, fmt);
	vsnprintf(error + n, (size_t)(BLOB_ERROR_SIZE - n), fmt, ap);
	va_end(ap);
	return code;
}

static int file_open(int layout, const char *path, struct stat *st)
{
	autoclose int fd = path_open_beneath(layout, path,
					     O_RDONLY | O_NONBLOCK, 0);

	if (fd < 0)
		return fd;
	if (fstat(fd, st) < 0)
		return -errno;
	return S_ISREG(st->st_mode) ? fd_take(&fd) : -EBADMSG;
}

static int open_fail(const struct blob *blob, char *error, int code)
{
	if (code == -ENOENT)
		return fail(blob, error, code, "missing");
	if (code == -EBADMSG)
		return fail(blob, error, code, "not a regular file");
	return fail(blob, error, code, "%s", strerror(-code));
}

int blob_open(int layout, const struct blob *blob, char error[BLOB_ERROR_SIZE])
{
	char path[BLOB_PATH_SIZE];
	autoclose int fd = -1;
	uint64_t size;
	struct stat st;

	blob_path(blob->digest, path);
	fd = file_open(layout, path, &st);
	if (fd < 0)
		return open_fail(blob, error, fd);
	size = (uint64_t)st.st_size;
	if (blob->size != BLOB_SIZE_ANY && size != blob->size)
		return fail(blob, error, -EBADMSG,
			    "%llu bytes where its descriptor says %llu",
			    (unsigned long long)size,
			    (unsigned long long)blob->size);
	if (size > blob->max_size)
		return fail(blob, error, -E2BIG, "over the limit of %llu bytes",
			    (unsigned long long)blob->max_size);
	return fd_take(&fd);
}

/* It gets its final name meanwhile, so that is looked for last too. */
int blob_open_growing(int layout, const struct blob *blob,
		      char error[BLOB_ERROR_SIZE])
{
	char path[BLOB_PATH_SIZE], part[BLOB_PATH_SIZE];
	struct stat st;
	int fd;

	blob_path(blob->digest, path);
	snprintf(part, sizeof(part), "%.80s.tmp", path);
	fd = file_open(layout, path, &st);
	if (fd == -ENOENT)
		fd = file_open(layout, part, &st);
	if (fd == -ENOENT)
		fd = file_open(layout, path, &st);
	return fd < 0 ? open_fail(blob, error, fd) : fd;
}

static int check(const struct blob *blob, const struct digest *found,
		 char *error)
{
	if (digest_equal(found, blob->digest))
		return 0;
	return fail(blob, error, -EBADMSG,
		    "damaged, its bytes have another digest: copy it again");
}

int blob_read(int layout, const struct blob *blob, char **data, size_t *size,
	      char error[BLOB_ERROR_SIZE])
{
	autoclose int fd = blob_open(layout, blob, error);
	autofree char *buf = NULL;
	struct digest found;
	struct stat st;
	ssize_t n;
	int r;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return fail(blob, error, -errno, "%s", strerror(errno));
	buf = malloc((size_t)st.st_size + 1);
	if (!buf)
		return fail(blob, error, -ENOMEM, "out of memory");
	n = fd_read(fd, buf, (size_t)st.st_size);
	if (n < 0)
		return fail(blob, error, (int)n, "%s", strerror((int)-n));
	found = digest_of(buf, (size_t)n);
	r = check(blob, &found, error);
	if (r)
		return r;
	buf[n] = '\0';
	*size = (size_t)n;
	*data = ptr_take(&buf);
	return 0;
}

static int write_synced(int fd, const char *data, size_t size)
{
	int r = fd_write(fd, data, size);

	return !r && fsync(fd) < 0 ? -errno : r;
}

int blob_write(int layout, const struct digest *digest, const char *data,
	       size_t size)
{
	char hex[DIGEST_HEX_SIZE], temporary[BLOB_PATH_SIZE];
	autoclose int dir = path_open_beneath(layout, "blobs/sha256",
					      O_RDONLY | O_DIRECTORY, 0);
	autoclose int fd = dir < 0 ? dir : temporary_file(dir, temporary);
	int r;

	if (fd < 0)
		return fd;
	digest_hex(digest, hex);
	r = write_synced(fd, data, size);
	if (!r && (renameat(dir, temporary, dir, hex) < 0 || fsync(dir) < 0))
		r = -errno;
	if (r)
		unlinkat(dir, temporary, 0);
	return r;
}

bool blob_exists(int layout, const struct digest *digest)
{
	char path[BLOB_PATH_SIZE];

	blob_path(digest, path);
	return faccessat(layout, path, F_OK, 0) == 0;
}

void blob_remove(int layout, const struct digest *digest)
{
	char path[BLOB_PATH_SIZE];

	blob_path(digest, path);
	unlinkat(layout, path, 0);
}

static void temporary_name(char name[BLOB_PATH_SIZE], unsigned n)
{
	snprintf(name, BLOB_PATH_SIZE, TEMPORARY "%u", n);
}

int temporary_file(int dir, char name[BLOB_PATH_SIZE])
{
	for (unsigned n = 0; n < TEMPORARY_MAX; n++) {
		int fd;

		temporary_name(name, n);
		fd = openat(dir, name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC,
			    0644);
		if (fd >= 0 || errno != EEXIST)
			return fd < 0 ? -errno : fd;
	}
	return -EEXIST;
}

int temporary_directory(int dir, char name[BLOB_PATH_SIZE])
{
	for (unsigned n = 0; n < TEMPORARY_MAX; n++) {
		int fd;

		temporary_name(name, n);
		if (mkdirat(dir, name, 0755) < 0) {
			if (errno == EEXIST)
				continue;
			return -errno;
		}
		fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		return fd < 0 ? -errno : fd;
	}
	return -EEXIST;
}

int temporary_rename(int dir, const char *from, char name[BLOB_PATH_SIZE])
{
	for (unsigned n = 0; n < TEMPORARY_MAX; n++) {
		temporary_name(name, n);
		if (syscall(SYS_renameat2, dir, from, dir, name,
			    RENAME_NOREPLACE) == 0)
			return 0;
		if (errno != EEXIST)
			return -errno;
	}
	return -EEXIST;
}

bool temporary_is(const char *name)
{
	return strncmp(name, TEMPORARY, strlen(TEMPORARY)) == 0;
}
