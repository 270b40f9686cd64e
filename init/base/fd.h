/* Descriptors, buffers and files with one owner each.
 *
 * Rule of use: declare an owned descriptor `autoclose int fd = -1`, an owned
 * buffer `autofree char *p = NULL`; hand over with fd_take() / ptr_take().
 * Every descriptor is opened CLOEXEC. */
#ifndef BASE_FD_H
#define BASE_FD_H

#include <stddef.h>
#include <stdlib.h>
#include <sys/types.h>

#define autoclose __attribute__((cleanup(fd_cleanup)))
#define autofree  __attribute__((cleanup(ptr_cleanup)))

/* Closes *fd unless negative, keeps errno, sets it to -1. */
void fd_close(int *fd);

static inline void fd_cleanup(int *fd)
{
	fd_close(fd);
}

static inline int fd_take(int *fd)
{
	int taken = *fd;

	*fd = -1;
	return taken;
}

static inline void ptr_cleanup(void *p)
{
	free(*(void **)p);
}

static inline void *ptr_take(void *p)
{
	void *taken = *(void **)p;

	*(void **)p = NULL;
	return taken;
}

/* Reads until size bytes or end of file; retries EINTR.
 * Returns the bytes read (< size only at end of file) or -errno. */
ssize_t fd_read(int fd, void *buf, size_t size);

/* Writes all of buf; retries EINTR and short writes. 0 or -errno. */
int fd_write(int fd, const void *buf, size_t size);
/* The same from offset on; where the descriptor stands is kept. */
int fd_write_at(int fd, const void *buf, size_t size, off_t offset);

/* Reads the whole file `name` beneath directory descriptor dir (AT_FDCWD is
 * allowed) into a new buffer with a terminating NUL that *size_bytes does not
 * count. The caller frees *data. -EFBIG when larger than max_bytes. */
int file_read(int dir, const char *name, size_t max_bytes, char **data,
	      size_t *size_bytes);

/* Writes text into file `name` beneath dir, which is there: one that the kernel
 * makes (/proc, /sys). 0 or -errno. */
int file_put(int dir, const char *name, const char *text);

/* Replaces file `name` beneath dir with exactly data: temporary file in the
 * same directory, fdatasync, rename, fsync of dir. After 0 the new content is
 * on stable storage; after an error the old content is untouched and no
 * temporary is left. 0 or -errno. */
int file_replace(int dir, const char *name, mode_t mode, const void *data,
		 size_t size_bytes);

/* The same, mode 0600, for what lives no longer than the machine runs: as
 * atomic for readers, but after a power cut the file may be empty. */
int file_swap(int dir, const char *name, const void *data, size_t size_bytes);

/* When it returns 0, all that was written before to the file system of
 * descriptor fd is on stable storage. 0 or -errno. */
int fd_sync_all(int fd);

/* Makes a sealed memfd (F_SEAL_WRITE|GROW|SHRINK|SEAL) that holds data.
 * Returns the descriptor or -errno. */
int memfd_sealed(const char *name, const void *data, size_t size_bytes);

/* Reads a memfd that another process sent: checks that all four seals are
 * set, so that the sender cannot change it under us, and that it is no larger
 * than max_bytes. As file_read. -EPERM when not sealed. */
int memfd_read(int fd, size_t max_bytes, char **data, size_t *size_bytes);
/* The same into room_bytes at `to`, with no NUL. */
int memfd_copy(int fd, void *to, size_t room_bytes, size_t *size_bytes);

#endif
