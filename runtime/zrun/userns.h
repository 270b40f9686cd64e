/* User namespaces by their maps. */
#ifndef ZRUN_USERNS_H
#define ZRUN_USERNS_H

#include <sys/types.h>

#include "oci/runtime_config.h"

/* Writes uid_map or gid_map (`file`) of a process; once for each. 0 or -errno.
 */
int userns_map(pid_t pid, const char *file, const struct runtime_id_maps *maps);

/* The same by newuidmap(1) or newgidmap(1), which map ranges that somebody
 * without privilege was given in /etc/subuid. It tells itself what it refuses:
 * -EPERM; -ENOENT when there is no such program. */
int userns_map_by(const char *program, pid_t pid,
		  const struct runtime_id_maps *maps);

/* A namespace with these maps that nobody is in: what an idmapped mount takes
 * its maps from. A descriptor or -errno. */
int userns_make(const struct runtime_id_maps *uid,
		const struct runtime_id_maps *gid);

#endif
