#define _GNU_SOURCE
#include "server.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/peer.h"
#include "base/service.h"

#include "node.h"
#include "usage.h"

/* More at once wait in the listen queue. */
enum { CONNECTIONS = 16, WATCHERS = 4 };

struct connection {
	struct peer peer;
	struct app *waits_for; /* NULL: nothing */
	bool watches;	       /* it is a stream */
	bool behind;	       /* and does not know of the last change */
	uint32_t verb;
};

static struct connection connections[CONNECTIONS];
static struct peer_queue listener;
static uid_t own_uid;

static void connection_close(struct connection *c)
{
	peer_queue_close(&listener, &c->peer);
	c->waits_for = NULL;
	c->watches = c->behind = false;
}

/* A client that does not read its one reply loses it. */
static void reply_send(struct connection *c, struct znode_reply *reply,
		       int memfd)
{
	reply->head = (struct ipc_head){ sizeof(*reply), c->verb };
	if (ipc_send(c->peer.fd, reply, sizeof(*reply), &memfd,
		     memfd >= 0 ? 1 : 0))
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
	const char *why;

	if (!app || !app_settled(app, c->verb))
		return;
	c->waits_for = NULL;
	app_describe(app, &reply.app);
	why = app->reactor.refused ? app->reactor.refused : app->reactor.why;
	if (c->verb == ZNODE_FREEZE && app->state != ZNODE_FROZEN) {
		reply.error = -EBUSY;
		snprintf(reply.text, sizeof(reply.text), "not frozen: %s", why);
	} else if (c->verb == ZNODE_SLEEP && app->state != ZNODE_ASLEEP) {
		reply.error = -EBUSY;
		snprintf(reply.text, sizeof(reply.text), "not asleep: %s",
			 app->sleep.failed ? app->sleep.why_not : why);
	} else if (app->state == ZNODE_FAILED && c->verb != ZNODE_STOP) {
		reply.error = -EIO;
		snprintf(reply.text, sizeof(reply.text), "%s", app->reason);
	}
	reply_send(c, &reply, -1);
}

/* ----------------------------------------------------------------- watch */

static void revision_fill(struct znode_reply *reply)
{
	const struct document *doc = &node.host.document;

	if (doc->obeyed) {
		reply->epoch = doc->desired.epoch;
		reply->revision = doc->desired.revision;
	}
}

/* Sent when the socket is writable, which with its least buffer means that the
 * last one was read. */
static void watcher_tell(struct connection *c)
{
	struct znode_reply reply = { 0 };

	if (!c->behind)
		return;
	c->behind = false;
	watch_events(&node.loop, &c->peer.watch, EPOLLIN);
	revision_fill(&reply);
	reply_send(c, &reply, -1);
}

static void watchers_behind(void)
{
	for (int i = 0; i < CONNECTIONS; i++) {
		struct connection *c = &connections[i];

		if (c->peer.fd < 0 || !c->watches || c->behind)
			continue;
		c->behind = true;
		watch_events(&node.loop, &c->peer.watch, EPOLLIN | EPOLLOUT);
	}
}

static void serve_watch(struct connection *c)
{
	const int least = 1; /* the kernel makes it what one message needs */
	int n = 0;

	for (int i = 0; i < CONNECTIONS; i++)
		n += connections[i].peer.fd >= 0 && connections[i].watches;
	if (n >= WATCHERS) {
		refuse(c, -EBUSY, "too many watch already");
		return;
	}
	setsockopt(c->peer.fd, SOL_SOCKET, SO_SNDBUF, &least, sizeof(least));
	c->watches = true;
	watchers_behind();
}

/* Of a row without what counts by itself; 0 for one that went. */
static uint64_t row_hash(const struct app *app)
{
	struct znode_app row;

	if (!app->in_use)
		return 0;
	app_describe(app, &row);
	row.next_ms = row.aged_in_ms = 0;
	row.retry_ms = row.wakes = row.wake_p50_us = row.wake_p99_us = 0;
	return hash_of(&row, sizeof(row));
}

void server_app_changed(struct app *app)
{
	uint64_t hash = row_hash(app);

	if (app->told != hash)
		watchers_behind();
	app->told = hash;
	for (int i = 0; i < CONNECTIONS; i++)
		if (connections[i].waits_for == app)
			settle(&connections[i]);
}

/* ----------------------------------------------------------------- verbs */

static void serve_app(struct connection *c, uint32_t number)
{
	struct znode_reply reply = { 0 };

	for (int i = 0; i < node.n_slots; i++) {
		struct app *app = &node.app[i];
		struct usage usage;

		if (!app->in_use || app->retired || app->extra_of || number--)
			continue;
		app_describe(app, &reply.app);
		reactor_holds(app, &reply.app);
		usage = scale_usage(app);
		reply.app.memory_used = usage.memory_bytes;
		reply.app.cpu_ms = usage.cpu_ms;
		reply_send(c, &reply, -1);
		return;
	}
	refuse(c, -ENOENT, "no such application");
}

static void serve_revision(struct connection *c)
{
	struct znode_reply reply = { 0 };

	revision_fill(&reply);
	reply_send(c, &reply, -1);
}

static int offer_read(struct ipc_fds *fds, char **envelope, char **chain,
		      struct offer *offer)
{
	int r = fds->n == 2 ? memfd_read(fds->fd[0], ENVELOPE_SIZE_MAX,
					 envelope, &offer->envelope.size)
			    : -EBADMSG;

	if (!r)
		r = memfd_read(fds->fd[1], CHAIN_PEM_MAX, chain,
			       &offer->chain.size);
	offer->envelope.data = *envelope;
	offer->chain.data = *chain;
	return r;
}

static void serve_desired(struct connection *c, struct ipc_fds *fds)
{
	struct znode_reply reply = { 0 };
	autofree char *envelope = NULL, *chain = NULL;
	struct offer offer = { 0 };
	int r = offer_read(fds, &envelope, &chain, &offer);

	if (r)
		snprintf(reply.text, sizeof(reply.text),
			 "want two sealed memfds, envelope and chain: %s",
			 strerror(-r));
	else
		r = node_obey(&offer, reply.text);
	/* Another attempt would not be better. */
	if (r == -EFBIG || r == -E2BIG || r == -EPERM)
		r = -EBADMSG;
	if (r)
		log_error("document", "refused: %s", reply.text);
	else
		watchers_behind();
	reply.error = r;
	revision_fill(&reply);
	reply_send(c, &reply, -1);
}

static void serve_inspect(struct connection *c, struct app *app)
{
	struct znode_reply reply = { 0 };
	autoclose int memfd = app_config_shown(app);

	if (memfd < 0) {
		refuse(c, memfd, app->reason);
		return;
	}
	app_describe(app, &reply.app);
	reply_send(c, &reply, memfd);
}

/* What a client would undo by itself: an operator at the hub may wish it. */
static bool is_policy(uint32_t verb)
{
	return verb == ZNODE_FREEZE || verb == ZNODE_THAW ||
	       verb == ZNODE_SLEEP;
}

static void serve_named(struct connection *c, struct znode_request *request)
{
	struct app *app;

	request->name[sizeof(request->name) - 1] = '\0';
	app = node_find(request->name);
	if (c->peer.uid != 0 && c->peer.uid != own_uid &&
	    !(c->peer.uid == UID_ZAGENT && is_policy(c->verb)))
		refuse(c, -EPERM, "only root may do this");
	else if (!app)
		refuse(c, -ENOENT, "no such application");
	else if (c->verb == ZNODE_INSPECT)
		serve_inspect(c, app);
	else {
		c->waits_for = app;
		app_wish(app, c->verb);
		node_stopped_changed();
		settle(c);
	}
}

/* What is zagent's to ask. */
static void serve_agent(struct connection *c, struct ipc_fds *fds)
{
	if (c->peer.uid != 0 && c->peer.uid != own_uid &&
	    c->peer.uid != UID_ZAGENT)
		refuse(c, -EPERM, "only zagent and root may do this");
	else if (c->verb == ZNODE_DESIRED)
		serve_desired(c, fds);
	else if (c->verb == ZNODE_REVISION)
		serve_revision(c);
	else
		serve_watch(c);
}

static void serve(struct connection *c, struct znode_request *request,
		  struct ipc_fds *fds)
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
	case ZNODE_FREEZE:
	case ZNODE_THAW:
	case ZNODE_SLEEP:
		serve_named(c, request);
		return;
	case ZNODE_DESIRED:
	case ZNODE_REVISION:
	case ZNODE_WATCH:
		serve_agent(c, fds);
		return;
	}
	refuse(c, -ENOSYS, "no such verb");
}

static void connection_ready(struct watch *w, uint32_t events)
{
	struct connection *c = container_of(w, struct connection, peer.watch);
	struct ipc_fds fds = { 0 };
	struct znode_request request;
	int r;

	if (events & EPOLLOUT)
		watcher_tell(c);
	if (c->peer.fd < 0 || !(events & ~(uint32_t)EPOLLOUT))
		return;
	r = ipc_recv(c->peer.fd, &request, sizeof(request), &fds);
	if (r == -EAGAIN)
		return;
	/* Nothing is asked on a stream, nor while an answer is due. */
	if (r == 1 && !c->waits_for && !c->watches)
		serve(c, &request, &fds);
	else
		connection_close(c);
	ipc_fds_close(&fds);
}

static struct peer *room(void)
{
	for (int i = 0; i < CONNECTIONS; i++) {
		if (connections[i].peer.fd < 0)
			return &connections[i].peer;
	}
	return NULL;
}

int server_open(int fd)
{
	for (int i = 0; i < CONNECTIONS; i++)
		peer_init(&connections[i].peer);
	own_uid = geteuid();
	listener.room = room;
	listener.ready = connection_ready;
	return peer_queue_open(&listener, &node.loop, fd);
}
