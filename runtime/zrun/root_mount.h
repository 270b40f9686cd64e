/* The root of a container that shares the mount namespace of whoever runs
 * zrun, but has mounts: it becomes a mount of its own, under which all others
 * lie, so that removing it removes them. The kernel removes none of them, as it
 * does with a namespace. */
#ifndef ZRUN_ROOT_MOUNT_H
#define ZRUN_ROOT_MOUNT_H

#include <stdbool.h>

#include "fault.h"
#include "oci/runtime_config.h"

/* Whether this config has such a root. */
bool root_mount_wanted(const struct runtime_config *config);

/* Binds the directory rootfs over itself, private, and notes it in the state
 * directory first. 0 or -errno with fault set. */
int root_mount_make(int state_dir, const char *rootfs, struct fault *fault);

/* Detaches what root_mount_make made, if it did and it is still the one: a
 * mount of somebody else's at that place stays. */
void root_mount_remove(int state_dir);

#endif
