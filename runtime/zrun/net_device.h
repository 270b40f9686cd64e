/* linux.netDevices: devices of the host that move into the container. */
#ifndef ZRUN_NET_DEVICE_H
#define ZRUN_NET_DEVICE_H

#include <sys/types.h>

#include "fault.h"
#include "oci/runtime_config.h"

/* Moves them into the network namespace of process pid, which waits there:
 * under their new names, with their addresses, up. When the namespace ends the
 * kernel gives a physical device back and deletes a virtual one. 0 or -errno
 * with fault set.
 *
 * Source: runtime specification 1.3, config-linux.md, Network Devices. */
int net_devices_move(const struct runtime_config *config, pid_t pid,
		     struct fault *fault);

#endif
