/* linux.seccomp.listenerPath: an agent that answers the system calls which a
 * filter notifies. The child that loads the filter gets the descriptor to
 * listen on and sends it, with the container process state, over a connection
 * that the parent made while the path still meant the host's.
 *
 * Source: runtime specification, config-linux.md, The Container Process State.
 */
#ifndef ZRUN_SECCOMP_LISTENER_H
#define ZRUN_SECCOMP_LISTENER_H

#include "child.h"
#include "state.h"

struct seccomp_message {
	size_t size;
	char text[]; /* JSON, in memory that parent and child share */
};

/* Connects, where the filter notifies at all. child->listener and
 * child->message are then to be closed with seccomp_listener_close(). 0 or
 * -errno with fault set. */
int seccomp_listener_open(struct child *child,
			  const struct runtime_seccomp *seccomp,
			  struct fault *fault);
/* Gives the waiting child what it is to send; state->pid is the container's,
 * pid the process's. 0 or -errno with fault set. */
int seccomp_listener_tell(struct child *child, pid_t pid,
			  const struct state *state, enum status status,
			  struct fault *fault);
void seccomp_listener_close(struct child *child);

#endif
