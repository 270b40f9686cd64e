/* linux.intelRdt: the group of the kernel's resctrl file system that a
 * container's processes are in, which says how much of the cache and of the
 * memory bandwidth they get.
 *
 * Source: runtime specification 1.2, config-linux.md, IntelRdt; `schemata` and
 * `enableMonitoring` of 1.3; the kernel's Documentation/filesystems/resctrl. */
#ifndef ZRUN_RESCTRL_H
#define ZRUN_RESCTRL_H

#include <sys/types.h>

#include "fault.h"
#include "oci/runtime_config.h"

/* The root of a resctrl file system that is mounted here, or -errno with fault
 * set. */
int resctrl_find(struct fault *fault);

/* Finds the group that the config names for container id, or makes it, with
 * its schemata; what is made is noted in the state directory first. A
 * descriptor of it, or -errno with fault set: then nothing was made. */
int resctrl_make(int root, int state_dir, const struct runtime_intel_rdt *rdt,
		 const char *id, struct fault *fault);
/* The same group, once it was made: what else runs in the container goes there
 * too. */
int resctrl_open(int root, const struct runtime_intel_rdt *rdt, const char *id,
		 struct fault *fault);
/* Puts process pid into the group. 0 or -errno with fault set. */
int resctrl_enter(int group, pid_t pid, struct fault *fault);
/* Writes the schemata that rdt has. 0 or -errno with fault set. */
int resctrl_write(int root, const struct runtime_intel_rdt *rdt, const char *id,
		  struct fault *fault);

/* Removes the group that resctrl_make() made for this state directory, if it
 * did. */
void resctrl_remove(int root, int state_dir);
/* The same with the root that is mounted here; nothing is looked up for a
 * container without a note. */
void resctrl_undo(int state_dir);

#endif
