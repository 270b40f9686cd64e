#define _GNU_SOURCE
#include "checkpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "base/log.h"

#include "app_step.h"
#include "node.h"

enum {
	FAILURES_MAX = 3,	 /* then it is not tried again */
	PATIENCE_MS = 60 * 1000, /* with who does not listen */
};

/* Those who share namespaces cannot be written one by one. */
static bool has_one(const struct app *app)
{
	return app->want && app->want->reactive.checkpoints &&
	       !app->want->pod.on.app && !app->host->is_shared(app);
}

/* One name, one maker: extra instances only use it. */
static bool may_make(const struct app *app)
{
	return has_one(app) && !app->extra_of &&
	       app->checkpoint.failures < FAILURES_MAX;
}

/* He of whom it is told, whichever instance saw it. */
static struct app_checkpoint *common(struct app *app)
{
	return app->extra_of ? &app->extra_of->checkpoint : &app->checkpoint;
}

bool checkpoint_is_there(const struct app *app)
{
	return app->checkpoint.is_there && !app->checkpoint.anew &&
	       has_one(app);
}

bool checkpoint_prepare(struct app *app)
{
	struct zrun_request *q = &app->call.request.zrun;
	struct app_checkpoint *c = &app->checkpoint;
	bool restore = has_one(app) && !c->missed && !common(app)->anew;

	c->missed = false;
	/* Init may tell of it before serve does. */
	c->makes = !restore && may_make(app);
	if (restore) {
		text_copy(q->path, sizeof(q->path), app->name);
		q->arg = app->want->reactive.lifetime_ms / 1000;
	} else if (c->makes) {
		q->flags = ZRUN_START_KEEP;
	}
	app->note.restored = restore;
	memcpy(q->note, &app->note, sizeof(app->note));
	return restore;
}

bool checkpoint_is_missed(struct app *app, const struct zrun_reply *reply)
{
	if (app->call.request.head.verb != ZRUN_RESTORE)
		return false;
	if (!reply->error || app->alive) {
		log_info(app->name, "%s goes on from its checkpoint", app->id);
		app->checkpoint.failures = 0;
		common(app)->is_there = true;
		return false;
	}
	if (reply->error != -ENOENT) {
		log_warning(app->name,
			    "cannot use its checkpoint: %s; it is started from "
			    "its image",
			    reply->text[0] ? reply->text
					   : strerror(-reply->error));
		app->checkpoint.failures += reply->error != -ESTALE;
	}
	app->checkpoint.missed = true;
	common(app)->is_there = false;
	return true;
}

/* ------------------------------------------------------------------ making */

/* Clients are led to it from now on. */
static void made(struct app *app)
{
	struct app_checkpoint *c = &app->checkpoint;

	c->makes = c->writes = false;
	timer_cancel(&c->patience);
	if (app->state == ZNODE_RUNNING)
		app_health_begin(app);
	app_ports(app);
	app_step(app);
}

static void fail(struct app *app, const char *why)
{
	app->checkpoint.failures++;
	log_warning(app->name, "no checkpoint of %s: %s", app->id, why);
	made(app);
}

static void unwatch(struct app_checkpoint *c, struct loop *loop)
{
	int fd = c->listens.fd;

	watch_del(loop, &c->listens);
	fd_close(&fd);
}

static void write_done(struct call *call, const union call_reply *any, int fd)
{
	struct app *app = container_of(call, struct app, checkpoint.call);
	const struct zrun_reply *reply = &any->zrun;

	(void)fd;
	if (reply->error) {
		/* criu, its worker, or serve was killed, and it with them. */
		app->restart |= !app->alive || reply->error == -ECANCELED ||
				reply->error == -EIO ||
				reply->error == -ECONNRESET;
		fail(app,
		     reply->text[0] ? reply->text : strerror(-reply->error));
		return;
	}
	app->checkpoint.failures = 0;
	app->checkpoint.anew = false;
	app->checkpoint.is_there = true;
	log_info(app->name, "%s is in its checkpoint", app->id);
	made(app);
}

static void listens(struct watch *w, uint32_t events)
{
	struct app *app = container_of(w, struct app, checkpoint.listens);
	struct app_checkpoint *c = &app->checkpoint;
	struct zrun_request *q = call_zrun(&c->call, app->id);

	(void)events;
	unwatch(c, app->host->loop);
	timer_cancel(&c->patience);
	text_copy(q->path, sizeof(q->path), app->name);
	c->call.done = write_done;
	int r = call_send(app->host->loop, &c->call, CALL_ZRUN, ZRUN_CHECKPOINT,
			  -1);

	if (r < 0)
		fail(app, strerror(-r));
	else
		c->writes = true;
}

static void listen_done(struct call *call, const union call_reply *any, int fd)
{
	struct app *app = container_of(call, struct app, checkpoint.call);
	struct app_checkpoint *c = &app->checkpoint;
	int own = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);

	c->listens.ready = listens;
	if (own >= 0 &&
	    watch_add(app->host->loop, &c->listens, own, EPOLLIN) == 0)
		return;
	fd_close(&own);
	fail(app, any->zrun.text[0] ? any->zrun.text : "no descriptor");
}

static void patience_fire(struct timer *t)
{
	struct app *app = container_of(t, struct app, checkpoint.patience);

	unwatch(&app->checkpoint, app->host->loop);
	call_cancel(&app->checkpoint.call);
	fail(app, "it does not listen");
}

void checkpoint_started(struct app *app)
{
	app->checkpoint.makes = app->checkpoint.makes && app->alive;
}

/* The first of the ports that it publishes, else any. */
static uint16_t port_of(const struct app *app)
{
	for (unsigned i = 0; i < app->want->n_ports; i++)
		if (!app->want->port[i].udp)
			return app->want->port[i].container;
	return 0;
}

void checkpoint_begin(struct app *app)
{
	struct app_checkpoint *c = &app->checkpoint;

	if (!c->makes)
		return;
	call_zrun(&c->call, app->id)->arg = port_of(app);
	c->call.done = listen_done;
	timer_set(app->host->loop, &c->patience, PATIENCE_MS);
	int r = call_send(app->host->loop, &c->call, CALL_ZRUN, ZRUN_LISTEN,
			  -1);

	if (r < 0)
		fail(app, strerror(-r));
}

void checkpoint_end(struct app *app)
{
	struct app_checkpoint *c = &app->checkpoint;

	unwatch(c, app->host->loop);
	call_cancel(&c->call);
	timer_cancel(&c->patience);
	c->makes = c->writes = false;
}

bool checkpoint_is_busy(const struct app *app)
{
	return app->checkpoint.writes;
}

void checkpoint_distrust(struct app *app)
{
	common(app)->anew = true;
}

void checkpoint_init(struct app *app)
{
	struct app_checkpoint *c = &app->checkpoint;

	call_init(&c->call);
	c->listens.fd = -1;
	c->patience.fire = patience_fire;
}

/* ------------------------------------------------------------------- sweep */

static struct {
	bool begun;
	struct call call;
} sweep;

static void list_done(struct call *call, const union call_reply *any, int fd);

static void list(uint32_t n)
{
	call_zrun(&sweep.call, "")->arg = n;
	sweep.call.done = list_done;
	call_send(&node.loop, &sweep.call, CALL_ZRUN, ZRUN_CHECKPOINTS, -1);
}

static void remove_done(struct call *call, const union call_reply *any, int fd)
{
	(void)fd;
	if (any->zrun.error)
		log_warning(call->request.zrun.path,
			    "cannot remove its checkpoint: %s",
			    any->zrun.text[0] ? any->zrun.text
					      : strerror(-any->zrun.error));
	list(any->zrun.error ? call->request.zrun.arg + 1 : 0);
}

static bool is_wanted(const char *name)
{
	struct app *app = node_find(name);

	if (app)
		app->checkpoint.is_there = true;
	return app && (app->kept || has_one(app));
}

static void list_done(struct call *call, const union call_reply *any, int fd)
{
	const struct zrun_reply *reply = &any->zrun;
	struct zrun_request *q = &call->request.zrun;

	(void)fd;
	if (reply->error)
		return;
	if (is_wanted(reply->id)) {
		list(q->arg + 1);
		return;
	}
	text_copy(q->path, sizeof(q->path), reply->id);
	call->done = remove_done;
	call_send(&node.loop, call, CALL_ZRUN, ZRUN_CHECKPOINT_REMOVE, -1);
}

void checkpoint_sweep(void)
{
	if (!sweep.begun)
		call_init(&sweep.call);
	sweep.begun = true;
	call_cancel(&sweep.call);
	list(0);
}
