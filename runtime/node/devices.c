#define _GNU_SOURCE
#include "devices.h"

#include <errno.h>
#include <linux/netlink.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "oci/grant.h"

#include "node.h"

/* By then zrun serve can find what came, too. */
enum { SETTLE_MS = 50, KERNEL_GROUP = 1 };

static struct watch uevents = { .fd = -1 };

static bool wants_device(const struct app *app)
{
	struct grant g;

	for (unsigned i = 0; app->want && i < app->want->grants.n; i++) {
		if (grant_parse(span_of(app->want->grants.item[i]), &g) == 0 &&
		    g.kind == GRANT_DEVICE)
			return true;
	}
	return false;
}

static void settled(struct timer *t)
{
	(void)t;
	for (int i = 0; i < node.n_slots; i++) {
		struct app *app = &node.app[i];

		if (app->state == ZNODE_FAILED && app->timer.deadline_ms &&
		    wants_device(app))
			timer_set(&node.loop, &app->timer, 0);
	}
}

static struct timer settle = { .fire = settled };

static void uevents_ready(struct watch *w, uint32_t events)
{
	char message[2048];

	(void)events;
	while (read(w->fd, message, sizeof(message)) >= 0 || errno == ENOBUFS)
		;
	if (!settle.deadline_ms)
		timer_set(&node.loop, &settle, SETTLE_MS);
}

void devices_open(struct loop *loop)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK,
				       .nl_groups = KERNEL_GROUP };
	autoclose int fd = socket(AF_NETLINK,
				  SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK,
				  NETLINK_KOBJECT_UEVENT);
	int r = fd < 0 || bind(fd, (struct sockaddr *)&address,
			       sizeof(address)) < 0
			? -errno
			: 0;

	uevents.ready = uevents_ready;
	if (r == 0)
		r = watch_add(loop, &uevents, fd, EPOLLIN);
	if (r < 0)
		log_notice("uevents", "%s", strerror(-r));
	else
		fd_take(&fd);
}
