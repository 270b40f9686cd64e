#define _GNU_SOURCE
#include "packed.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"

enum { BLOCK_BYTES = 128 << 10, EVENTS_BYTES = 4096 };

int growth_watch(int layout)
{
	autoclose int blobs = path_open_beneath(layout, "blobs/sha256",
						O_RDONLY | O_DIRECTORY, 0);
	autoclose int events = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);

	if (blobs < 0)
		return blobs;
	if (events < 0 || fchdir(blobs) < 0 ||
	    inotify_add_watch(events, ".",
			      IN_CREATE | IN_MODIFY | IN_MOVED_TO |
				      IN_ONLYDIR) < 0)
		return -errno;
	return fd_take(&events);
}

int growth_wait(struct growth *growth)
{
	char events[EVENTS_BYTES]
		__attribute__((aligned(__alignof__(struct inotify_event))));
	struct pollfd p[] = { { growth->events, POLLIN, 0 },
			      { growth->end, 0, 0 } };

	if (growth->end < 0)
		return -ECANCELED;
	while (poll(p, 2, -1) < 0)
		if (errno != EINTR)
			return -errno;
	/* Which blob it was does not matter: its reader looks again. */
	while (read(growth->events, events, sizeof(events)) > 0)
		;
	/* What was written before the end is there now. */
	if (p[1].revents)
		fd_close(&growth->end);
	return 0;
}

static ssize_t block_read(const struct packed *packed, void *block)
{
	uint64_t left = packed->size - packed->offset;
	size_t size = left < BLOCK_BYTES ? (size_t)left : BLOCK_BYTES;
	ssize_t n;

	while ((n = pread(packed->fd, block, size, (off_t)packed->offset)) <=
	       0) {
		int r = n < 0 ? -errno : -EBADMSG;

		if (n == 0 && left == 0)
			return 0;
		if (r == -EINTR)
			continue;
		if (n < 0 || !packed->growth)
			return r;
		r = growth_wait(packed->growth);
		if (r)
			return r;
	}
	return n;
}

static char block_bytes[BLOCK_BYTES];

ssize_t packed_read(struct packed *packed, const void **block)
{
	ssize_t n = (ssize_t)packed->ahead;

	*block = block_bytes;
	packed->ahead = 0;
	if (n == 0)
		n = block_read(packed, block_bytes);
	if (n > 0)
		packed->offset += (uint64_t)n;
	return n;
}

ssize_t packed_peek(struct packed *packed, const void **block)
{
	ssize_t n = block_read(packed, block_bytes);

	*block = block_bytes;
	packed->ahead = n > 0 ? (size_t)n : 0;
	return n;
}
