/* The orderly end: whoever runs containers, containers, services, disks.
 *
 * Rule of use: power_init() once; power_end() from a request, a signal or the
 * power button. Nothing brings it back, and every step has a time-out. */
#ifndef INIT_POWER_H
#define INIT_POWER_H

#include "base/loop.h"
#include "init.h"

struct power_setup {
	struct loop *loop;
	int containers_kill; /* cgroup.kill of /zooid, or -1 */
	/* Runs in a child before the machine is let go; NULL: nothing. */
	int (*last_child)(void *);
	/* Does not return for PID 1. */
	void (*finish)(enum init_verb);
	/* What SIGTERM and SIGINT mean. */
	enum init_verb on_term, on_int;
};

int power_init(const struct power_setup *setup);

/* INIT_POWEROFF or INIT_REBOOT; a second call changes nothing. */
void power_end(enum init_verb how);

/* What svc.c calls when every service is down. */
void power_services_down(void);

/* Watches the power buttons that exist now. */
void power_buttons(struct loop *loop);

#endif
