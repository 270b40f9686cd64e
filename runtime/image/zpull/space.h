/* Room on the disk for what is fetched. */
#ifndef ZPULL_SPACE_H
#define ZPULL_SPACE_H

#include <stdbool.h>
#include <stdint.h>

/* Whether `bytes` more can be written beneath root without touching the node's
 * reserve. While not, layouts are removed, the oldest first, but none for
 * which is_wanted() says so. *left_bytes is what is left in the end. 0,
 * -ENOSPC, or -errno. */
int space_make(int root, uint64_t bytes, bool (*is_wanted)(const char *name),
	       uint64_t *left_bytes);

#endif
