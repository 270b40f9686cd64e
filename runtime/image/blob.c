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

enum {
	TEMPORARY_MAX = 10000,
	BUFFER_BYTES = 64 << 10,
	COPY_STEP_BYTES = 1 << 30,
};

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

int blob_open(int layout, const struct blob *blob, char error[BLOB_ERROR_SIZE])
{
	char path[BLOB_PATH_SIZE];
	autoclose int fd = -1;
	uint64_t size;
	struct stat st;

	blob_path(blob->digest, path);
	fd = path_open_beneath(layout, path, O_RDONLY | O_NONBLOCK, 0);
	if (fd == -ENOENT)
		return fail(blob, error, fd, "missing");
	if (fd < 0)
		return fail(blob, error, fd, "%s", strerror(-fd));
	if (fstat(fd, &st) < 0)
		return fail(blob, error, -errno, "%s", strerror(errno));
	if (!S_ISREG(st.st_mode))
		return fail(blob, error, -EBADMSG, "not a regular file");
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

/* Copies all bytes of `from`; a file that grows meanwhile is cut. */
static int copy(int from, int to, uint64_t max_size, struct digest *digest)
{
	static char buf[BUFFER_BYTES];
	struct digest_stream stream;
	uint64_t total = 0;
	ssize_t n;

	digest_begin(&stream);
	while ((n = fd_read(from, buf, sizeof(buf))) > 0) {
		int r = fd_write(to, buf, (size_t)n);

		if (r)
			return r;
		digest_update(&stream, buf, (size_t)n);
		total += (uint64_t)n;
		if (total > max_size)
			return -E2BIG;
	}
	*digest = digest_end(&stream);
	return (int)n;
}

/* Lets the file system share the bytes of both files, or copy them by itself;
 * what has arrived is hashed then, so that it is read just once. -EXDEV when it
 * cannot. */
static int copy_shared(int from, int to, uint64_t max_size,
		       struct digest *digest)
{
	uint64_t total = 0, size;
	ssize_t n;

	while ((n = copy_file_range(from, NULL, to, NULL, COPY_STEP_BYTES, 0)) >
	       0) {
		total += (uint64_t)n;
		if (total > max_size)
			return -E2BIG;
	}
	/* Some file systems copy nothing and call it a success. */
	if (total == 0)
		return -EXDEV;
	if (n < 0)
		return -errno;
	return lseek(to, 0, SEEK_SET) < 0 ? -errno
					  : digest_of_fd(to, digest, &size);
}

static int copy_verified(int from, int to, const struct blob *blob, char *error)
{
	struct digest found;
	int r = copy_shared(from, to, blob->max_size, &found);

	if (r == -EXDEV)
		r = copy(from, to, blob->max_size, &found);
	if (!r)
		r = check(blob, &found, error);
	else
		fail(blob, error, r, "%s", strerror(-r));
	if (!r && fsync(to) < 0)
		r = fail(blob, error, -errno, "%s", strerror(errno));
	return r;
}

int blob_copy(int from, int to, const struct blob *blob,
	      char error[BLOB_ERROR_SIZE])
{
	char path[BLOB_PATH_SIZE], temporary[BLOB_PATH_SIZE];
	autoclose int dir = -1, in = -1, out = -1;
	int r;

	if (blob_exists(to, blob->digest))
		return 0;
	in = blob_open(from, blob, error);
	if (in < 0)
		return in;
	dir = path_open_beneath(to, "blobs/sha256", O_RDONLY | O_DIRECTORY, 0);
	if (dir < 0)
		return fail(blob, error, dir, "%s", strerror(-dir));
	out = temporary_file(dir, temporary);
	if (out < 0)
		return fail(blob, error, out, "%s", strerror(-out));
	r = copy_verified(in, out, blob, error);
	digest_hex(blob->digest, path);
	if (!r && (renameat(dir, temporary, dir, path) < 0 || fsync(dir) < 0))
		r = fail(blob, error, -errno, "%s", strerror(errno));
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
