#define _GNU_SOURCE
#include "server.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"

#include "node.h"

/* More at once wait in the listen queue. */
enum { CONNECTIONS = 8 };

struct connection {
	struct watch watch;
	int fd;
	uid_t uid;
	struct app *waits_for; /* NULL: nothing */
	uint32_t verb;
};

static struct connection connections[CONNECTIONS];
static struct watch listener;
static int listen_fd;
static uid_t own_uid;

static void accept_all(void);

static void connection_close(struct connection *c)
{
	watch_del(&node.loop, &c->watch);
	fd_close(&c->fd);
	c->waits_for = NULL;
	watch_events(&node.loop, &listener, EPOLLIN);
}

/* A client that does not read its one reply loses it. */
static void reply_send(struct connection *c, struct znode_reply *reply,
		       int memfd)
{
	reply->head = (struct ipc_head){ sizeof(*reply), c->verb };
	if (ipc_send(c->fd, reply, sizeof(*reply), &memfd, memfd >= 0 ? 1 : 0))
		connection_close(c);
}

static void refuse(struct connection *c, int code, const char *text)
{
	struct znode_reply reply = { .error = code };

	text_copy(reply.text, sizeof(reply.text), text);
	reply_send(c, &reply, -1);
}

/* Answers a wish once it has led somewhere. */
static void settle(struct connection *c)
{
	struct znode_reply reply = { 0 };
	struct app *app = c->waits_for;

	if (!app || !app_settled(app, c->verb))
		return;
	c->waits_for = NULL;
	app_describe(app, &reply.app);
	if (app->state == ZNODE_FAILED && c->verb != ZNODE_STOP) {
		reply.error = -EIO;
		snprintf(reply.text, sizeof(reply.text), "%s", app->reason);
	}
	reply_send(c, &reply, -1);
}

void server_app_changed(struct app *app)
{
	for (int i = 0; i < CONNECTIONS; i++)
		if (connections[i].waits_for == app)
			settle(&connections[i]);
}

static void serve_app(struct connection *c, uint32_t number)
{
	struct znode_reply reply = { 0 };

	for (int i = 0; i < NODE_SLOTS; i++) {
		if (!node.app[i].in_use || number--)
			continue;
		app_describe(&node.app[i], &reply.app);
		reply_send(c, &reply, -1);
		return;
	}
	refuse(c, -ENOENT, "no such application");
}

static void serve_inspect(struct connection *c, struct app *app)
{
	struct znode_reply reply = { 0 };
	autoclose int memfd = app_config(app);

	if (memfd < 0) {
		refuse(c, memfd, app->reason);
		return;
	}
	app_describe(app, &reply.app);
	reply_send(c, &reply, memfd);
}

static void serve_named(struct connection *c, struct znode_request *request)
{
	struct app *app;

	request->name[sizeof(request->name) - 1] = '\0';
	app = node_find(request->name);
	if (c->uid != 0 && c->uid != own_uid)
		refuse(c, -EPERM, "only root may do this");
	else if (!app)
		refuse(c, -ENOENT, "node.json has no such application");
	else if (c->verb == ZNODE_INSPECT)
		serve_inspect(c, app);
	else {
		c->waits_for = app;
		app_wish(app, c->verb);
		settle(c);
	}
}

static void serve(struct connection *c, struct znode_request *request)
{
	c->verb = request->head.verb;
	switch ((enum znode_verb)c->verb) {
	case ZNODE_APP:
		serve_app(c, request->arg);
		return;
	case ZNODE_STOP:
	case ZNODE_START:
	case ZNODE_RESTART:
	case ZNODE_INSPECT:
		serve_named(c, request);
		return;
	case ZNODE_DESIRED:
	case ZNODE_REVISION:
	case ZNODE_WATCH:
		break;
	}
	refuse(c, -ENOSYS, "no such verb");
}

static void connection_ready(struct watch *w, uint32_t events)
{
	struct connection *c = container_of(w, struct connection, watch);
	struct znode_request request;
	int r = ipc_recv(c->fd, &request, sizeof(request), NULL);

	(void)events;
	if (r == -EAGAIN)
		return;
	if (r == 1 && !c->waits_for)
		serve(c, &request);
	else
		connection_close(c);
}

static bool accept_one(void)
{
	for (int i = 0; i < CONNECTIONS; i++) {
		struct connection *c = &connections[i];
		pid_t pid;

		if (c->fd >= 0)
			continue;
		c->fd = ipc_accept(listen_fd, &c->uid, &pid);
		if (c->fd < 0) {
			c->fd = -1;
			return false;
		}
		c->watch.ready = connection_ready;
		if (watch_add(&node.loop, &c->watch, c->fd, EPOLLIN))
			fd_close(&c->fd);
		return true;
	}
	watch_events(&node.loop, &listener, 0);
	return false;
}

static void accept_all(void)
{
	while (accept_one())
		;
}

static void listener_ready(struct watch *w, uint32_t events)
{
	(void)w;
	(void)events;
	accept_all();
}

int server_open(int fd)
{
	for (int i = 0; i < CONNECTIONS; i++)
		connections[i].fd = connections[i].watch.fd = -1;
	listen_fd = fd;
	own_uid = geteuid();
	listener.ready = listener_ready;
	return watch_add(&node.loop, &listener, fd, EPOLLIN);
}
