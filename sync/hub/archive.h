/* The file of `zhub backup`: a store of its own whose keys are files in pieces,
 *
 *	file/NAME/00000000 ...	up to ARCHIVE_PIECE bytes each
 *	file/NAME/end		"SIZE sha256:HEX"
 *
 * so that it is one file, written in transactions, and every byte of what is
 * restored from it was checked. */
#ifndef HUB_ARCHIVE_H
#define HUB_ARCHIVE_H

#include "store.h"

enum { ARCHIVE_PIECE = 1 << 20, ARCHIVE_NAME_SIZE = 128 };

/* Adds the file `path` beneath dir as `name`. 0 or -errno after one log line;
 * -ENOENT silently. */
int archive_add(struct store *archive, const char *name, int dir,
		const char *path);

/* Calls each with every name. */
int archive_each(struct store *archive,
		 int (*each)(void *context, const char *name), void *context);

/* Reads the file called name: whole and undamaged? 0 or -errno after one log
 * line. */
int archive_check(struct store *archive, const char *name);

/* Writes the file called name to `path` beneath dir: complete, checked and on
 * stable storage, or not at all. 0 or -errno after one log line. */
int archive_extract(struct store *archive, const char *name, int dir,
		    const char *path);

#endif
