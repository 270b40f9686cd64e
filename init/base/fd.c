#define _GNU_SOURCE
#include "fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "span.h"

#define SEALS (F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK | F_SEAL_SEAL)

void fd_close(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = saved;
}

ssize_t fd_read(int fd, void *buf, size_t size)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = read(fd, (char *)buf + done, size - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

static int write_all(int fd, const char *p, size_t size, off_t *offset)
{
	while (size) {
		ssize_t n = offset ? pwrite(fd, p, size, *offset)
				   : write(fd, p, size);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		size -= (size_t)n;
		if (offset)
			*offset += n;
	}
	return 0;
}

int fd_write(int fd, const void *buf, size_t size)
{
	return write_all(fd, buf, size, NULL);
}

int fd_write_at(int fd, const void *buf, size_t size, off_t offset)
{
	return write_all(fd, buf, size, &offset);
}

/* Files of /proc and /sys state no size, so the buffer grows as they come. */
static int all_read(int fd, size_t max_bytes, char **data, size_t *size_bytes)
{
	autofree char *buf = NULL;
	size_t used = 0, room = 16384;

	for (;;) {
		char *grown = realloc(buf, room + 1);
		ssize_t n;

		if (!grown)
			return -ENOMEM;
		buf = grown;
		n = fd_read(fd, buf + used, room - used);
		if (n < 0)
			return (int)n;
		used += (size_t)n;
		if (used > max_bytes)
			return -EFBIG;
		if (used < room)
			break;
		room *= 2;
	}
	buf[used] = '\0';
	*data = ptr_take(&buf);
	*size_bytes = used;
	return 0;
}

int file_read(int dir, const char *name, size_t max_bytes, char **data,
	      size_t *size_bytes)
{
	autoclose int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	return all_read(fd, max_bytes, data, size_bytes);
}

static int file_fill(int fd, mode_t mode, const void *data, size_t size_bytes)
{
	int err = fd_write(fd, data, size_bytes);

	if (err < 0)
		return err;
	if (fchmod(fd, mode) < 0 || fdatasync(fd) < 0)
		return -errno;
	return 0;
}

static int temporary_name(char *temp, size_t size, const char *name)
{
	const char *slash = strrchr(name, '/');
	int dir_len = slash ? (int)(slash - name + 1) : 0;
	int n = snprintf(temp, size, "%.*s.%s.%d", dir_len, name,
			 name + dir_len, getpid());

	return n < 0 || (size_t)n >= size ? -ENAMETOOLONG : 0;
}

static int directory_sync(int dir, const char *name)
{
	char parent[4096];
	const char *slash = strrchr(name, '/');
	struct span s = { name, slash ? (size_t)(slash - name) : 0 };
	autoclose int fd = -1;
	int err = 0;

	if (slash == name)
		err = span_copy(parent, sizeof(parent), span_of("/"));
	else if (slash)
		err = span_copy(parent, sizeof(parent), s);
	else
		err = span_copy(parent, sizeof(parent), span_of("."));
	if (err < 0)
		return err;
	fd = openat(dir, parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

int file_put(int dir, const char *name, const char *text)
{
	autoclose int fd = openat(dir, name, O_WRONLY | O_CLOEXEC);

	return fd < 0 ? -errno : fd_write(fd, text, strlen(text));
}

static int temporary_open(int dir, const char *name, char *temp, size_t size)
{
	int err = temporary_name(temp, size, name);

	if (err < 0)
		return err;
	int fd = openat(dir, temp,
			O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
			0600);

	return fd < 0 ? -errno : fd;
}

/* Gives a file that was filled its name; one that was not is removed. */
static int temporary_end(int dir, const char *temp, const char *name, int err)
{
	if (err == 0 && renameat(dir, temp, dir, name) < 0)
		err = -errno;
	if (err < 0)
		unlinkat(dir, temp, 0);
	return err;
}

int file_replace(int dir, const char *name, mode_t mode, const void *data,
		 size_t size_bytes)
{
	char temp[4096];
	autoclose int fd = temporary_open(dir, name, temp, sizeof(temp));

	if (fd < 0)
		return fd;
	int err = temporary_end(dir, temp, name,
				file_fill(fd, mode, data, size_bytes));

	return err < 0 ? err : directory_sync(dir, name);
}

int file_swap(int dir, const char *name, const void *data, size_t size_bytes)
{
	char temp[256];
	autoclose int fd = temporary_open(dir, name, temp, sizeof(temp));

	if (fd < 0)
		return fd;
	return temporary_end(dir, temp, name, fd_write(fd, data, size_bytes));
}

int memfd_sealed(const char *name, const void *data, size_t size_bytes)
{
	autoclose int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int err;

	if (fd < 0)
		return -errno;
	err = fd_write(fd, data, size_bytes);
	if (err < 0)
		return err;
	if (fcntl(fd, F_ADD_SEALS, SEALS) < 0)
		return -errno;
	return fd_take(&fd);
}

/* Twice, as btrfs itself writes a file twice: where it compresses, writing out
 * only hands the pages to workers, and a commit that comes before them has
 * files of zeros. Whoever looks at the pages again waits for the workers. */
int fd_sync_all(int fd)
{
	return syncfs(fd) < 0 || syncfs(fd) < 0 ? -errno : 0;
}

/* The size of a memfd that nobody can change any more; -errno. */
static off_t sealed_size(int fd)
{
	struct stat st;
	int seals = fcntl(fd, F_GET_SEALS);

	if (seals < 0 || (seals & SEALS) != SEALS)
		return -EPERM;
	return fstat(fd, &st) < 0 ? -errno : st.st_size;
}

int memfd_copy(int fd, void *to, size_t room_bytes, size_t *size_bytes)
{
	off_t size = sealed_size(fd);

	if (size < 0)
		return (int)size;
	if ((size_t)size > room_bytes)
		return -EFBIG;
	ssize_t n = pread(fd, to, (size_t)size, 0);

	if (n != size)
		return n < 0 ? -errno : -EIO;
	*size_bytes = (size_t)n;
	return 0;
}

int memfd_read(int fd, size_t max_bytes, char **data, size_t *size_bytes)
{
	autofree char *buf = NULL;
	off_t size = sealed_size(fd);

	if (size < 0)
		return (int)size;
	if ((size_t)size > max_bytes)
		return -EFBIG;
	buf = malloc((size_t)size + 1);
	if (!buf)
		return -ENOMEM;
	int err = memfd_copy(fd, buf, (size_t)size, size_bytes);

	if (err < 0)
		return err;
	buf[*size_bytes] = '\0';
	*data = ptr_take(&buf);
	return 0;
}
