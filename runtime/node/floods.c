#include "floods.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "zlog/zlog.h"

#include "node.h"

enum { RETRY_MS = 1000, RETRY_MAX_MS = 60000 };

static struct watch zlog = { .fd = -1 };
static struct timer retry;
static uint32_t retry_ms;

/* The name is the application's, or where a service has that name, of the
 * container. */
static struct app *flooder(const char *name)
{
	struct app *app = node_find(name);

	return app ? app : node_by_id(name);
}

/* A node has a zlog nearly always; a host that has none is asked less and less
 * often. */
static void ask_later(void)
{
	retry_ms = retry_ms == 0		 ? RETRY_MS
		   : retry_ms * 2 > RETRY_MAX_MS ? RETRY_MAX_MS
						 : retry_ms * 2;
	timer_set(&node.loop, &retry, retry_ms);
}

static void told(struct watch *w, uint32_t events)
{
	struct zlog_drops message;
	int r = ipc_recv(w->fd, &message, sizeof(message), NULL);
	int fd = w->fd;
	struct app *app;

	(void)events;
	if (r == -EAGAIN)
		return;
	if (r != 1 || message.head.verb != ZLOG_DROPS) {
		watch_del(&node.loop, w);
		fd_close(&fd);
		ask_later();
		return;
	}
	retry_ms = 0;
	message.name[sizeof(message.name) - 1] = '\0';
	app = flooder(message.name);
	if (app && app->state == ZNODE_RUNNING)
		limits_count(app, LIMIT_LOG, message.lines);
}

static int ask(void)
{
	const struct zlog_request request = {
		.head = { sizeof(request), ZLOG_DROPS },
	};
	autoclose int fd = ipc_connect("zlog");
	int r = fd < 0 ? fd : ipc_send(fd, &request, sizeof(request), NULL, 0);

	if (r == 0)
		r = watch_add(&node.loop, &zlog, fd, EPOLLIN);
	if (r == 0)
		fd_take(&fd);
	return r;
}

static void retry_fire(struct timer *t)
{
	(void)t;
	if (ask() < 0)
		ask_later();
}

/* What does not get there is in our own log all the same. */
void floods_say(const struct app *app, const char *text)
{
	struct zlog_say say = { .head = { sizeof(say), ZLOG_SAY } };

	if (zlog.fd < 0)
		return;
	text_copy(say.name, sizeof(say.name), app->id[0] ? app->id : app->name);
	snprintf(say.text, sizeof(say.text), "<3>%s", text);
	(void)ipc_send(zlog.fd, &say, sizeof(say), NULL, 0);
}

void floods_open(struct loop *loop)
{
	zlog.ready = told;
	retry.fire = retry_fire;
	timer_set(loop, &retry, 0);
}
