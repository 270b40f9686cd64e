/* A software watchdog needs a kernel that still turns, so any other is better;
 * which number each got depends on the order of probing. */
#define _GNU_SOURCE
#include "watchdog.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <linux/watchdog.h>

#include "base/fd.h"
#include "base/log.h"

enum { TIME_OUT_S = 30, KICK_MS = 5000, DEVICES_MAX = 4 };

static struct loop *loop;
static struct timer kick;
static int device = -1;

static void kick_fire(struct timer *t)
{
	int unused;

	ioctl(device, WDIOC_KEEPALIVE, &unused);
	timer_set(loop, t, KICK_MS);
}

/* Closing an opened watchdog would reset the machine; 'V' says it is meant. */
static void device_release(int *fd)
{
	if (*fd >= 0)
		fd_write(*fd, "V", 1);
	fd_close(fd);
}

static void device_choose(char *name, size_t size)
{
	bool software = true;

	for (int i = 0; i < DEVICES_MAX && software; i++) {
		struct watchdog_info info = { 0 };
		char path[32];
		int fd;

		snprintf(path, sizeof(path), "/dev/watchdog%d", i);
		fd = open(path, O_WRONLY | O_CLOEXEC);
		if (fd < 0)
			return;
		ioctl(fd, WDIOC_GETSUPPORT, &info);
		software = strstr((const char *)info.identity, "Software");
		if (device >= 0 && software) {
			device_release(&fd);
			continue;
		}
		device_release(&device);
		device = fd;
		snprintf(name, size, "%.32s", (const char *)info.identity);
	}
}

void watchdog_init(struct loop *l)
{
	int seconds = TIME_OUT_S;
	char name[40] = "";

	device_choose(name, sizeof(name));
	if (device < 0) {
		log_notice("watchdog", "none in this machine");
		return;
	}
	ioctl(device, WDIOC_SETTIMEOUT, &seconds);
	log_info("watchdog", "%s resets after %d s", name, seconds);
	loop = l;
	kick.fire = kick_fire;
	kick_fire(&kick);
}
