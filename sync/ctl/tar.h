/* Finds the files of a tar archive (POSIX.1-1988 ustar, with the size and path
 * of pax, and GNU's base-256 sizes), without unpacking anything.
 *
 * Who chose the bytes: whoever made the archive. Every offset and size that is
 * returned lies within the file; names are cut never: what does not fit has an
 * empty name. */
#ifndef CTL_TAR_H
#define CTL_TAR_H

#include <stdint.h>

enum { TAR_BLOCK = 512, TAR_NAME_SIZE = 256, TAR_PAX_MAX = 64 << 10 };

struct tar {
	int fd; /* the caller's */
	uint64_t at, size;
};

struct tar_entry {
	char name[TAR_NAME_SIZE]; /* of a plain file, else "" */
	uint64_t offset, size;
};

/* 0; -EINVAL: too short for a tar; -errno (fstat). */
int tar_open(struct tar *tar, int fd);
/* 1: *entry is the next one; 0: the end; -EINVAL: no tar; -EIO and the like. */
int tar_next(struct tar *tar, struct tar_entry *entry);

#endif
