/* Filters for system calls: compiled from a config's linux.seccomp, or the
 * default one that was compiled at build time. */
#ifndef ZRUN_SECCOMP_FILTER_H
#define ZRUN_SECCOMP_FILTER_H

#include <linux/filter.h>

#include "fault.h"
#include "oci/runtime_config.h"

/* Compiles a profile. The code lies in one buffer, which the next call uses
 * anew. 0 or -errno with fault set. Names that this machine does not have are
 * skipped. */
int seccomp_compile(const struct runtime_seccomp *seccomp,
		    struct sock_fprog *filter, struct fault *fault);

/* Whether an architecture may stand in a profile: "SCMP_ARCH_...". Those of
 * other machines may. */
bool seccomp_arch_known(const char *name);

/* The profile of every container of a node (seccomp_default_gen.c). */
struct sock_fprog seccomp_default(void);

#endif
