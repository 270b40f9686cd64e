/* The mounts of a container that criu(8) must not save or make by its own
 * means: bind mounts lead out of what is saved; masked files are the host's
 * null device; a tmpfs, /dev above all, criu would save by starting tar. The
 * image directory keeps which they were and what the tmpfs held. */
#ifndef ZRUN_CRIU_MOUNT_H
#define ZRUN_CRIU_MOUNT_H

#include <sys/types.h>

#include "criu.h"

/* Adds what `criu dump` needs to know about the mounts of process pid, and
 * copies the contents of each tmpfs into image_dir: nothing may run in the
 * container then. 0 or -errno with fault set. */
int criu_mount_dump(struct criu_command *command,
		    const struct runtime_config *config, pid_t pid,
		    int image_dir, struct fault *fault);

/* Directory of the image in which the stage is. */
#define CRIU_MOUNT_TREES "mounts.d"

/* Called in a mount namespace of one's own, before `criu restore` is: makes
 * each tmpfs again, below image_path. 0 or -errno. */
int criu_mount_stage(const char *image_path);
/* Adds where `criu restore` finds each of them. 0 or -errno with fault set. */
int criu_mount_restore(struct criu_command *command,
		       const struct runtime_config *config,
		       const char *image_path, struct fault *fault);

#endif
