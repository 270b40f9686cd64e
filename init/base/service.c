#define _GNU_SOURCE
#include "service.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "ipc.h"
#include "path.h"

static struct {
	struct loop *loop;
	struct timer timer;
} ping;

static int by_init(void)
{
	return getenv("ZOOID_SERVICE") != NULL;
}

int service_open(const char *name, mode_t mode)
{
	char path[108];
	int n;

	signal(SIGPIPE, SIG_IGN);
	if (by_init()) {
		if (fcntl(SERVICE_LISTEN_FD, F_SETFD, FD_CLOEXEC) < 0 ||
		    fcntl(SERVICE_STATUS_FD, F_SETFD, FD_CLOEXEC) < 0)
			return -errno;
		return SERVICE_LISTEN_FD;
	}
	n = snprintf(path, sizeof(path), "%s/%s.sock", path_run(), name);
	if (n < 0 || (size_t)n >= sizeof(path))
		return -ENAMETOOLONG;
	return ipc_listen(path, mode, (uid_t)-1);
}

/* init's pipe is non-blocking on both ends; a byte lost in a full pipe says
 * nothing that the unread ones before it do not. */
static void status_write(char byte)
{
	if (write(SERVICE_STATUS_FD, &byte, 1) < 0 && errno != EAGAIN)
		loop_stop(ping.loop, 1);
}

static void ping_fire(struct timer *t)
{
	status_write('P');
	timer_set(ping.loop, t, SERVICE_PING_MS);
}

void service_ready(struct loop *loop)
{
	if (!by_init())
		return;
	ping.loop = loop;
	ping.timer.fire = ping_fire;
	status_write('R');
	timer_set(loop, &ping.timer, SERVICE_PING_MS);
}
