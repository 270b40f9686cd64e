/* The labels of Linux security modules: process.apparmorProfile,
 * process.selinuxLabel and linux.mountLabel. */
#ifndef ZRUN_LABEL_H
#define ZRUN_LABEL_H

#include <stdbool.h>

#include "fault.h"
#include "oci/runtime_config.h"

/* Refuses a label whose module this host does not have: a container must not
 * run without the confinement it asks for. 0 or -errno with fault set. */
int label_check(const struct runtime_process *process, struct fault *fault);

/* The same of the label of mounts. */
int label_check_mounts(const struct runtime_config *config,
		       struct fault *fault);

/* Whether a new file system of that type takes a label for all in it. Those
 * that the kernel fills by itself have labels of their own. */
bool label_is_of(const char *type);

#endif
