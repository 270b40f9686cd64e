/* For the writer alone: all that may wait for a disk is here.
 *
 * The files of one source: NAME.log, NAME.log.1 which it becomes when it is
 * full, NAME.log.2 which that becomes then. Nothing is ever synced: what
 * matters is durable elsewhere, and flash wears out. */
#ifndef ZLOG_FILE_H
#define ZLOG_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"
#include "zlog.h"

enum {
	FILE_ENDED_MAX = 32, /* sources that ended and whose files are kept */
	FILE_NAME_SIZE = 80,
};

struct file {
	int fd; /* -1: not open */
	size_t size;
	struct zlog_keep keep;
};

/* Opens, and makes if it can, the directory of the files. Its descriptor, or
 * -errno after one log line. */
int file_dir_open(void);

/* Appends text in one write; opens and rotates as needed. 0 or -errno
 * (-ENOSPC ...), with the file left so that the same can be tried again. */
int file_append(struct file *f, int dir, const char *name, struct span text);

void file_close(struct file *f);

/* Reads the last `size` bytes, or fewer, of what was kept of `name`. Returns
 * the bytes read; 0 when there is no file. */
size_t file_tail(int dir, const char *name, char *buf, size_t size);

/* Removes the oldest files of sources that are not live, but for the newest
 * FILE_ENDED_MAX of them. */
void file_prune(int dir, bool (*is_live)(const char *name));

#endif
