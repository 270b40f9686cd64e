/* Whether an image directory is whole. criu itself waits for ever for pages
 * that a truncated file does not have. */
#ifndef ZRUN_CRIU_IMAGE_H
#define ZRUN_CRIU_IMAGE_H

#include "fault.h"

/* Before a dump: what is in the directory is no image from now on. 0 or -errno
 * with fault set. */
int criu_image_begin(int dir, struct fault *fault);
/* After it: puts all on stable storage, then writes down how long each image
 * is. 0 or -errno with fault set. */
int criu_image_seal(int dir, struct fault *fault);
/* The same for what lives no longer than the machine runs. */
int criu_image_close(int dir, struct fault *fault);

/* Before a restore: 0 when all that was written down is there as it was, of its
 * parents too, and for the images of other runtimes, who write nothing down;
 * else -errno with fault set. */
int criu_image_check(const char *path, struct fault *fault);
/* The same before a dump into dir, for what is at `path` from there and is to
 * be its parent. */
int criu_image_check_parent(int dir, const char *path, struct fault *fault);

#endif
