/* A dump that writes only what an older image of the same container has not. */
#ifndef ZRUN_CRIU_PAGES_H
#define ZRUN_CRIU_PAGES_H

#include "criu.h"

/* Whether the file system of that directory lets files share what they have in
 * common, so that an image is worth to be kept for the next one. */
bool criu_pages_can_share(int dir);

/* Runs command, a dump into dir, as criu_run() does. The image in dir is whole
 * by itself afterwards; the one in `before` is only read. */
int criu_pages_dump(struct criu_command *command,
		    const struct criu_options *options, int dir, int before,
		    struct fault *fault);

#endif
