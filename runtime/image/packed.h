/* A packed layer on its way to the decompressor, perhaps while zpull still
 * writes it. Each byte is read once, whatever its owner does to the file
 * meanwhile. Its own digest is zpull's business, to know what to fetch again:
 * the store keeps no packed byte and believes the diff_id alone. */
#ifndef IMAGE_PACKED_H
#define IMAGE_PACKED_H

#include <stdint.h>
#include <sys/types.h>

/* How a layout that zpull still writes tells that there is more. */
struct growth {
	int events; /* inotify of its blobs; -1: the layout is whole */
	int end;    /* a pipe that hangs up once nothing more comes */
};

/* Watches the blobs of a layout, for which it changes the working directory.
 * The descriptor, or -errno. */
int growth_watch(int layout);
/* Waits until there may be more. 0; -ECANCELED once nothing more comes, for
 * the first time said after the last byte. */
int growth_wait(struct growth *growth);

struct packed {
	int fd;		       /* its beginning at least */
	uint64_t size;	       /* of the whole */
	struct growth *growth; /* NULL: it is whole */

	uint64_t offset; /* private; 0 at first */
	size_t ahead;	 /* bytes of *block that were peeked at */
};

/* The next bytes, in *block until the next call; 0 at its end. -errno;
 * -EBADMSG when it is shorter than `size` and whole. */
ssize_t packed_read(struct packed *packed, const void **block);
/* Its first bytes, which packed_read() gives once more. */
ssize_t packed_peek(struct packed *packed, const void **block);

#endif
