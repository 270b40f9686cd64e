/* What the kernel needs to be told before services run: mounts, limits,
 * settings. Each step reports its own failure and the boot goes on: a node
 * that lacks a mount can still say so. */
#ifndef INIT_BOOT_H
#define INIT_BOOT_H

#include <stdint.h>

struct boot_cgroups {
	int service;	     /* directory /sys/fs/cgroup/service, or -1 */
	int containers_kill; /* cgroup.kill of /sys/fs/cgroup/zooid, or -1 */
};

void boot_mounts(void);
void boot_settings(void);
void boot_loopback(void);
struct boot_cgroups boot_cgroups_make(void);

/* A clock that no battery kept starts in 1970, and then no certificate is
 * valid: it is set to no less than when the image was built. */
void boot_clock_floor(void);
/* Sets the clock, seconds since 1970. -EINVAL before the floor; -ENOTSUP on an
 * ordinary host. */
int boot_clock_set(int64_t seconds);

/* A tmpfs at /data, for a node whose medium is missing or fails. */
void boot_data_in_memory(void);

#endif
