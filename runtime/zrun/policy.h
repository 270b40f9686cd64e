/* What a container of a node may ask for (DESIGN §4): the point where a
 * captured znode is stopped. The config is foreign; it must not achieve more
 * than a program with OCI's default privileges, in namespaces of its own, over
 * an image and volumes. */
#ifndef ZRUN_POLICY_H
#define ZRUN_POLICY_H

#include "oci/runtime_config.h"

#define POLICY_TEXT_SIZE 200

/* Refuses what is wider than the default, naming its JSON path:
 * "linux.namespaces: network must be new". 0 or -EPERM. */
int policy_container(const struct runtime_config *config, const char *id,
		     char refusal[POLICY_TEXT_SIZE]);
/* The same for a process of exec. */
int policy_process(const struct runtime_process *process,
		   char refusal[POLICY_TEXT_SIZE]);

/* A descriptor that is to be 0, 1 or 2 of a process: a pipe or the null device.
 * A directory would lead out of the root, a file could be opened anew by its
 * container's root with more rights, a socket would be the node's network. 0 or
 * -EPERM. */
int policy_stdio(int fd);

/* Adds what every container of a node gets, whether asked for or not: masked
 * and read-only paths, a limit on processes, no device nor set-user-id program
 * on a bind mount. 0 or -ENOMEM. */
int policy_complete(struct runtime_config *config);

/* The part of a bind's source below the volumes: "data/db" of
 * "/data/volumes/data/db". NULL when it lies elsewhere. */
const char *policy_volume(const char *source);

#endif
