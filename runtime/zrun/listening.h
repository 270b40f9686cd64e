/* Tells when a process of a container first listens on a TCP port, without
 * looking from time to time.
 *
 * Theory of operation. A BPF program on the container's cgroup
 * (BPF_SOCK_OPS_TCP_LISTEN_CB) writes to a ring buffer, whose descriptor is
 * then readable; closing the link and the buffer takes the program away. Who
 * listened before it was there is found in /proc/PID/net/tcp. */
#ifndef ZRUN_LISTENING_H
#define ZRUN_LISTENING_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/loop.h"

struct listening {
	struct watch watch; /* the ring buffer */
	struct loop *loop;
	int link;
	int told; /* what hangs up then */
};

void listening_init(struct listening *l);
/* cgroup_dir is the container's. A descriptor that hangs up when somebody in it
 * listens on port (0: any), or listening_end() is called; or -errno. */
int listening_begin(struct listening *l, struct loop *loop, int cgroup_dir,
		    uint16_t port);
void listening_end(struct listening *l);

/* Whether somebody in the network namespace of pid listens on port (0: any).
 * -errno where that cannot be read. */
int listening_is(pid_t pid, uint16_t port);
/* Whether anybody there listens on IPv4 address (host order) alone. */
int listening_is_on(pid_t pid, uint32_t address);

#endif
