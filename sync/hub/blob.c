/* Names and reading. A blob's folder is the first two digits of its name, so
 * that no folder grows long. */
#define _GNU_SOURCE
#include "blob.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "blob_parts.h"

enum {
	RENEW_S = 3600, /* a blob's time is not written more often */
	RESERVE_PART = 20,
	RESERVE_MAX = 128 << 20,
};

int blobs_open(struct blobs **out, int dir, struct loop *loop)
{
	struct blobs *b = calloc(1, sizeof(*b));
	int err;

	if (!b)
		return -ENOMEM;
	b->blobs_fd = b->uploads_fd = -1;
	b->loop = loop;
	err = path_mkdirs(dir, "blobs/sha256", 0700);
	if (err == 0)
		err = path_mkdirs(dir, "uploads", 0700);
	if (err == 0) {
		b->blobs_fd = openat(dir, "blobs/sha256",
				     O_PATH | O_DIRECTORY | O_CLOEXEC);
		b->uploads_fd = openat(dir, "uploads",
				       O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (b->blobs_fd < 0 || b->uploads_fd < 0)
			err = -errno;
	}
	if (err < 0) {
		log_error("blobs", "%s", strerror(-err));
		blobs_close(b);
		return err;
	}
	*out = b;
	return 0;
}

void blobs_close(struct blobs *b)
{
	blob_finish_cancel(b);
	blob_sweep_cancel(b);
	blob_check_cancel(b);
	fd_close(&b->blobs_fd);
	fd_close(&b->uploads_fd);
	free(b);
}

int blobs_room(const struct blobs *b, uint64_t size_bytes)
{
	struct statvfs s;
	uint64_t free_bytes, reserve;

	if (fstatvfs(b->uploads_fd, &s) < 0)
		return -errno;
	free_bytes = (uint64_t)s.f_bavail * s.f_frsize;
	reserve = (uint64_t)s.f_blocks * s.f_frsize / RESERVE_PART;
	if (reserve > RESERVE_MAX)
		reserve = RESERVE_MAX;
	return free_bytes >= reserve && free_bytes - reserve >= size_bytes
		       ? 0
		       : -ENOSPC;
}

void blob_path(const struct digest *digest, char path[BLOB_PATH_SIZE])
{
	char hex[DIGEST_HEX_SIZE];

	digest_hex(digest, hex);
	snprintf(path, BLOB_PATH_SIZE, "%.2s/%s", hex, hex);
}

int blob_open(const struct blobs *b, const struct digest *digest,
	      uint64_t *size_bytes)
{
	char path[BLOB_PATH_SIZE];
	autoclose int fd = -1;
	struct stat st;

	blob_path(digest, path);
	fd = openat(b->blobs_fd, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	*size_bytes = (uint64_t)st.st_size;
	return fd_take(&fd);
}

int blob_stat(const struct blobs *b, const struct digest *digest,
	      uint64_t *size_bytes)
{
	char path[BLOB_PATH_SIZE];
	struct stat st;

	blob_path(digest, path);
	if (fstatat(b->blobs_fd, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	*size_bytes = (uint64_t)st.st_size;
	if (st.st_mtime + RENEW_S < time(NULL))
		utimensat(b->blobs_fd, path, NULL, AT_SYMLINK_NOFOLLOW);
	return 0;
}

int blob_folder(const struct blobs *b, const struct digest *digest)
{
	char path[BLOB_PATH_SIZE];
	int fd;

	blob_path(digest, path);
	path[2] = '\0';
	fd = openat(b->blobs_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0 || errno != ENOENT)
		return fd < 0 ? -errno : fd;
	if (mkdirat(b->blobs_fd, path, 0700) < 0 && errno != EEXIST)
		return -errno;
	fd = openat(b->blobs_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

int blob_put(struct blobs *b, struct span bytes, struct digest *digest)
{
	char path[BLOB_PATH_SIZE];
	autoclose int folder = -1;
	uint64_t size;
	int err;

	*digest = digest_of(bytes.data, bytes.size);
	if (blob_stat(b, digest, &size) == 0)
		return 0;
	err = blobs_room(b, bytes.size);
	if (err < 0)
		return err;
	folder = blob_folder(b, digest);
	if (folder < 0)
		return folder;
	blob_path(digest, path);
	return file_replace(folder, path + 3, 0600, bytes.data, bytes.size);
}
