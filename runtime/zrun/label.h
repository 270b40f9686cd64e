/* The labels of Linux security modules: process.apparmorProfile and
 * process.selinuxLabel. */
#ifndef ZRUN_LABEL_H
#define ZRUN_LABEL_H

#include "fault.h"
#include "oci/runtime_config.h"

/* Refuses a label whose module this host does not have: a container must not
 * run without the confinement it asks for. 0 or -errno with fault set. */
int label_check(const struct runtime_process *process, struct fault *fault);

#endif
