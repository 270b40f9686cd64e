/* The health of an instance: a program that runs in it now and then and ends
 * with 0 while all is well, as in Docker. The document says which, else the
 * image does.
 *
 *	STARTING  it has not been well yet. Failures within the start period, or
 *		  the first interval, do not count.
 *	HEALTHY   the last probe was well, or fewer than `retries` failed since
 *	UNHEALTHY `retries` failed in a row
 *
 * A probe is a process of ZRUN_EXEC under a number of its own, so that a znode
 * which is started meanwhile finds it, waits for its end and goes on. Nothing
 * but what is told depends on health: no container is restarted for it. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/log.h"

#include "app_step.h"
#include "config.h"

/* The first probe does not wait for a whole interval. */
enum { PROBE_NUMBER = ZRUN_EXECS_MAX, FIRST_MS = 500 };

static bool is_watched(const struct app *app)
{
	return app->want && app->health.is_checked && app->alive &&
	       !app_is_outdated(app);
}

/* Whether failures do not count yet. */
static bool in_start_period(const struct app *app)
{
	const struct app_health *h = &app->health;
	uint32_t period = h->start_period > h->interval ? h->start_period
							: h->interval;

	return app->health.state == ZNODE_HEALTH_STARTING &&
	       clock_boot_ms() < app->started_ms + period;
}

static void health_set(struct app *app, enum znode_health state)
{
	if (app->health.state == state)
		return;
	app->health.state = state;
	if (state == ZNODE_UNHEALTHY)
		log_warning(app->name, "%s is unhealthy: %u probes failed",
			    app->id, app->health.failures);
	else if (state == ZNODE_HEALTHY)
		log_info(app->name, "%s is healthy", app->id);
	app_step(app);
}

static void probe_later(struct app *app)
{
	const struct app_health *h = &app->health;
	bool soon = in_start_period(app) && h->start_interval < h->interval;

	timer_set(app->host->loop, &app->health.timer,
		  soon ? h->start_interval : h->interval);
}

static void judge(struct app *app, bool well)
{
	struct app_health *health = &app->health;

	health->probing = health->late = false;
	if (!is_watched(app))
		return;
	if (well) {
		health->failures = 0;
		health_set(app, ZNODE_HEALTHY);
	} else if (!in_start_period(app) &&
		   ++health->failures >= health->retries) {
		health_set(app, ZNODE_UNHEALTHY);
	}
	probe_later(app);
}

static void record_drop(struct app *app)
{
	struct init_key key = { .kind = INIT_KIND_PIDFD, .n = PROBE_NUMBER };
	int r;

	text_copy(key.container, sizeof(key.container), app->id);
	r = link_call(&app->host->link, INIT_DROP, &key, NULL, 0);
	if (r && r != -ENOENT && r != -EBUSY)
		log_warning(app->name, "record of a probe: %s", strerror(-r));
}

/* ---------------------------------------------------------------- probes */

static void patience(struct app *app)
{
	timer_set(app->host->loop, &app->health.timer, app->health.timeout);
}

/* How it ended is told by init. One that is refused would stay so, but may be
 * in the way of one that an earlier znode left. */
static void probe_started(struct call *call, const union call_reply *any,
			  int fd)
{
	struct app *app = container_of(call, struct app, health.call);

	(void)fd;
	if (!any->zrun.error)
		return;
	if (app->health.state != ZNODE_UNHEALTHY)
		log_notice(app->name, "probe: %s", any->zrun.text);
	record_drop(app);
	judge(app, false);
}

static void probe_start(struct app *app)
{
	struct app_health *health = &app->health;
	int r;

	if (health->process < 0)
		health->process = app_probe(app);
	r = health->process;
	call_zrun(&health->call, app->id)->arg = PROBE_NUMBER;
	health->call.done = probe_started;
	health->call.stdio = app->host->null;
	if (r >= 0)
		r = call_send(app->host->loop, &health->call, CALL_ZRUN,
			      ZRUN_EXEC, r);
	if (r < 0) {
		judge(app, false);
		return;
	}
	health->probing = true;
	patience(app);
}

/* Its end comes as an event then. */
static void kill_done(struct call *call, const union call_reply *any, int fd)
{
	(void)call;
	(void)any;
	(void)fd;
}

static void probe_kill(struct app *app)
{
	struct call *call = &app->health.call;
	struct zrun_request *q = call_zrun(call, app->id);

	app->health.late = true;
	q->arg = SIGKILL;
	q->flags = PROBE_NUMBER * ZRUN_KILL_EXEC;
	call->done = kill_done;
	call->stdio = -1;
	call_send(app->host->loop, call, CALL_ZRUN, ZRUN_KILL, -1);
	patience(app);
}

static void timer_fire(struct timer *t)
{
	struct app *app = container_of(t, struct app, health.timer);

	if (!is_watched(app))
		return;
	if (!app->health.probing && app->reactor.ordered)
		probe_later(app); /* it may be frozen already */
	else if (!app->health.probing)
		probe_start(app);
	else if (!call_busy(&app->health.call))
		probe_kill(app);
	else
		patience(app);
}

/* ------------------------------------------------------------------ from */

static uint32_t first_of(uint32_t a, uint32_t b, uint32_t otherwise)
{
	return a ? a : b ? b : otherwise;
}

void app_health_set(struct app *app, const struct image_config *image)
{
	const struct desired_health *want = &app->want->health;
	const struct image_health *own = &image->health;
	struct app_health *h = &app->health;

	h->is_checked = !want->off && (want->test.n || own->test.n);
	h->interval = first_of(want->interval, own->interval, 30000);
	h->timeout = first_of(want->timeout, own->timeout, 30000);
	h->start_period = first_of(want->start_period, own->start_period, 0);
	h->start_interval = first_of(want->start_interval, own->start_interval,
				     5000);
	h->retries = first_of(want->retries, own->retries, 3);
}

/* Of one that an earlier znode started. */
static void image_look(struct app *app)
{
	char reason[sizeof(app->reason)];
	struct node_image *image;
	int error;

	if (app->found || !app->want || !app->alive || app_is_outdated(app))
		return;
	memcpy(reason, app->reason, sizeof(reason));
	image = app_image_read(app, &error);
	/* Its content says the rest, if not all. */
	if (!image)
		app_health_set(app, &(struct image_config){ 0 });
	memcpy(app->reason, reason, sizeof(reason));
	if (image)
		node_image_free(image);
	free(image);
}

void app_health_begin(struct app *app)
{
	const struct app_health *h = &app->health;

	image_look(app);
	if (!is_watched(app))
		return;
	app->health.state = ZNODE_HEALTH_STARTING;
	app->health.failures = 0;
	app->health.timer.fire = timer_fire;
	timer_set(app->host->loop, &app->health.timer,
		  app->health.probing	   ? h->timeout
		  : h->interval < FIRST_MS ? h->interval
					   : FIRST_MS);
}

void app_health_end(struct app *app)
{
	app->health.state = ZNODE_HEALTH_NONE;
	app->health.probing = false;
	fd_close(&app->health.process);
	timer_cancel(&app->health.timer);
	call_cancel(&app->health.call);
}

void app_health_pause(struct app *app)
{
	timer_cancel(&app->health.timer);
}

void app_health_resume(struct app *app)
{
	app->health.timer.fire = timer_fire;
	if (is_watched(app))
		probe_later(app);
}

void app_health_event(struct app *app, const struct init_event *event)
{
	if (event->key.n != PROBE_NUMBER)
		return;
	if (event->head.verb == INIT_EVENT_ADDED) {
		app->health.probing = true;
	} else if (event->head.verb == INIT_EVENT_EXITED) {
		record_drop(app);
		judge(app, !app->health.late &&
				   event->exit_code == CLD_EXITED &&
				   event->exit_status == 0);
	}
}
