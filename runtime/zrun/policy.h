/* What a container of a node may ask for (DESIGN §4): the point where a
 * captured znode is stopped. The config is foreign; it must not achieve more
 * than a program with OCI's default privileges, in namespaces of its own, over
 * an image and volumes. */
#ifndef ZRUN_POLICY_H
#define ZRUN_POLICY_H

#include "oci/grant.h"
#include "oci/runtime_config.h"

#define POLICY_TEXT_SIZE 200

/* Whether a container of that config may enter namespaces of process pid: 0;
 * -EPERM when never, -ESRCH when pid is none of a container that runs. */
typedef int policy_join(const struct runtime_config *config, pid_t pid);

/* What else is granted, of which no capability has the number: all, and the
 * node's own namespace of a kind (enum runtime_namespace). */
#define POLICY_CAPABILITIES (POLICY_HOST(0) - 1)
#define POLICY_HOST(ns)	    (UINT64_C(1) << (48 + (ns)))
#define POLICY_HOSTS	    (UINT64_C(255) << 48)
#define POLICY_PRIVILEGED   (UINT64_C(1) << 63)

/* What goes beyond the default and was granted; zeroed: nothing. */
struct policy_grants {
	uint64_t capabilities;	   /* bit n is number n; POLICY_* */
	const struct grant *place; /* devices and binds */
	size_t n_place;
};

/* Refuses what is wider than the default, naming its JSON path:
 * "linux.namespaces: network must be new". 0, -EPERM or what may_join says. */
int policy_container(const struct runtime_config *config, const char *id,
		     const struct policy_grants *grants, policy_join *may_join,
		     char refusal[POLICY_TEXT_SIZE]);
/* How a refusal is worded; -EPERM. */
__attribute__((format(printf, 2, 3))) int policy_refuse(
	char refusal[POLICY_TEXT_SIZE], const char *fmt, ...);
/* The process whose namespace of that kind the config names by its path
 * ("/proc/42/ns/net"), of those that containers may share; 0: none. */
pid_t policy_joined(const struct runtime_config *config,
		    enum runtime_namespace ns);
/* The same for a process of exec, in a container with these capabilities
 * beyond the default. */
int policy_process(const struct runtime_process *process, uint64_t granted,
		   char refusal[POLICY_TEXT_SIZE]);

/* A descriptor that is to be 0, 1 or 2 of a process: a pipe or the null device.
 * A directory would lead out of the root, a file could be opened anew by its
 * container's root with more rights, a socket would be the node's network. 0 or
 * -EPERM. */
int policy_stdio(int fd);

/* Adds what every container of a node gets, whether asked for or not: masked
 * and read-only paths (unless it is privileged), a limit on processes, no
 * device nor set-user-id program on a bind mount. 0 or -ENOMEM. */
int policy_complete(struct runtime_config *config, bool is_privileged);

/* The mount of a device of the node (type "device", its options the access):
 * what of the access the config asks for. 0 when that is nothing. */
uint8_t policy_device_access(const struct runtime_mount *m);

/* The part of a bind's source below the volumes: "data/db" of
 * "/data/volumes/data/db". NULL when it lies elsewhere. */
const char *policy_volume(const char *source);

#endif
