#define _GNU_SOURCE
#include "reactor.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "net/znet.h"

#include "app_step.h"
#include "node.h"
#include "usage.h"

/* init holds znet's socket, so that to connect does not wait for znet: only
 * where there is none (tests). */
enum { AGAIN_MS = 20, ABSENT_MS = 5000 };

static int znet = -1;
static struct watch znet_watch = { .fd = -1 };
static struct timer reconnect;

static void event_ready(struct watch *w, uint32_t events);

/* ----------------------------------------------------------------- states */

static bool is_here(const struct app *app)
{
	return app->in_use && app->alive && !app->kept && !app->retired &&
	       !app->checkpoint.makes &&
	       (app->state == ZNODE_RUNNING || app->state == ZNODE_FROZEN);
}

static bool is_reactive(const struct app *app)
{
	return app->want && app->want->reactive.is_on;
}

/* After how many ms of silence it is stopped; 0: never. */
static uint32_t image_ms(const struct app *app)
{
	if (is_reactive(app) && app->extra_of)
		return app->want->reactive.freeze_after_ms;
	return is_reactive(app) ? app->want->reactive.image_after_ms : 0;
}

/* And after how many something is done with it at all. */
static uint32_t first_ms(const struct app *app)
{
	uint32_t freeze = is_reactive(app) ? app->want->reactive.freeze_after_ms
					   : 0;
	uint32_t image = image_ms(app);

	return image && image < freeze ? image : freeze;
}

static void why_set(struct app *app, const char *why)
{
	text_copy(app->reactor.why, sizeof(app->reactor.why), why);
}

/* Whoever else writes it too: it only ever says that it is to run. */
static void thaw(const struct app *app)
{
	if (app->reactor.freezer >= 0 &&
	    write(app->reactor.freezer, "0", 1) < 0 && errno != ENODEV)
		log_error(app->name, "cannot thaw %s: %s", app->id,
			  strerror(errno));
}

static void woken(struct app *app, const char *why)
{
	if (app->state != ZNODE_FROZEN)
		return;
	if (sleep_wake(app))
		return;
	why_set(app, why);
	app->reactor.wakes++;
	timer_cancel(&app->reactor.image);
	sleep_thawed(app);
	reclaim_thawed(app);
	app_set(app, ZNODE_RUNNING);
}

/* ------------------------------------------------------------------- znet */

static void later(uint64_t ms)
{
	if (!reconnect.deadline_ms)
		timer_set(&node.loop, &reconnect, ms);
}

/* Nobody looks any more whether a request comes, so none may be frozen. */
static void znet_lost(void)
{
	watch_del(&node.loop, &znet_watch);
	fd_close(&znet);
	for (int i = 0; i < node.n_slots; i++) {
		struct app *app = &node.app[i];

		/* Nothing leads into any container now. */
		if (app->in_use && app->drain == APP_DRAINS)
			app->drain = APP_DRAINED;
		if (!app->in_use || app->reactor.freezer < 0 ||
		    sleep_holds_ports(app))
			continue;
		thaw(app);
		app->reactor.told = app->reactor.ordered = false;
		woken(app, "znet was started anew");
	}
	later(AGAIN_MS);
}

static bool znet_connect(void)
{
	static const struct znet_request knocks = { .head = { sizeof(knocks),
							      ZNET_KNOCKS } };

	if (znet >= 0)
		return true;
	if (reconnect.deadline_ms)
		return false;
	znet = ipc_connect("znet");
	if (znet >= 0)
		fcntl(znet, F_SETFL, O_NONBLOCK);
	znet_watch.ready = event_ready;
	if (znet >= 0 &&
	    ipc_send(znet, &knocks, sizeof(knocks), NULL, 0) == 0 &&
	    watch_add(&node.loop, &znet_watch, znet, EPOLLIN) == 0)
		return true;
	fd_close(&znet);
	later(ABSENT_MS);
	return false;
}

static bool znet_tell(const struct app *app, struct znet_request q, int fd)
{
	if (znet < 0)
		return false;
	q.head.size = sizeof(q);
	text_copy(q.container, sizeof(q.container), app->id);
	if (ipc_send(znet, &q, sizeof(q), &fd, fd >= 0) == 0)
		return true;
	znet_lost();
	return false;
}

static void reconnect_fire(struct timer *t)
{
	(void)t;
	for (int i = 0; i < node.n_slots; i++)
		app_step(&node.app[i]);
}

/* ----------------------------------------------------------------- events */

static void lull(struct app *app)
{
	app->reactor.lull_cpu = usage_of(app->id).cpu_ms;
	app->reactor.lull_ms = clock_ms();
}

/* Why it is not to be frozen, though nothing is said; NULL. */
static const char *works(const struct app *app)
{
	uint64_t ms = clock_ms() - app->reactor.lull_ms;
	uint64_t cpu = usage_of(app->id).cpu_ms - app->reactor.lull_cpu;

	if (app->health.probing)
		return "a health probe runs";
	if (app->reactor.execs)
		return "a program was executed in it";
	if (app->successor || app->old || app->drain != APP_SERVES)
		return "it is being replaced";
	if (scale_has_extras(app))
		return "it has more than one instance";
	if (cpu * 100 > ms * REACTOR_BUSY_PERCENT)
		return "it computes";
	return NULL;
}

static void watch_again(struct app *app)
{
	app->reactor.told = false;
	reactor_step(app);
}

static void freeze_order(struct app *app, uint32_t flags)
{
	const struct znet_request q = { .head.verb = ZNET_FREEZE,
					.flags = flags };

	app->reactor.ordered = znet_tell(app, q, -1);
}

void reactor_close(const struct app *app)
{
	znet_tell(app, (struct znet_request){ .head.verb = ZNET_CLOSE }, -1);
}

static void image_fire(struct timer *t)
{
	struct app *app = container_of(t, struct app, reactor.image);

	if (image_ms(app) && app->state == ZNODE_FROZEN)
		reactor_close(app);
}

/* No client is led to it any more: nothing is lost when it ends. */
static void closed(struct app *app, uint32_t left)
{
	struct init_key key = { .kind = INIT_KIND_PIDFD };
	bool is_late = image_ms(app) && !app->reactor.image.deadline_ms;

	if (!is_late && sleep_closed(app, left))
		return;
	app->note.rests = 1;
	text_copy(key.container, sizeof(key.container), app->id);
	if (image_ms(app) && link_call(&app->host->link, INIT_NOTE, &key,
				       &app->note, sizeof(app->note)) == 0) {
		app->reactor.rests = true;
		return;
	}
	app->note.rests = 0;
	watch_again(app);
}

static void quiet(struct app *app)
{
	const char *why = works(app);

	if (!is_reactive(app) || app->state != ZNODE_RUNNING)
		return;
	if (why) {
		why_set(app, why);
		watch_again(app);
	} else if (first_ms(app) == image_ms(app)) {
		reactor_close(app);
	} else {
		freeze_order(app, 0);
	}
}

static void frozen(struct app *app)
{
	app->reactor.hand_frozen = app->reactor.by_hand;
	app->reactor.ordered = app->reactor.by_hand = false;
	app->reactor.why[0] = '\0';
	if (app->state == ZNODE_RUNNING)
		app_set(app, ZNODE_FROZEN);
	if (image_ms(app) > first_ms(app))
		timer_set(&node.loop, &app->reactor.image,
			  image_ms(app) - first_ms(app));
	sleep_frozen(app);
	reclaim_frozen(app, app->reactor.hand_frozen ? 0 : first_ms(app));
}

static void busy(struct app *app, int error)
{
	const char *why = error == -EBUSY ? "a request came" : strerror(-error);

	if (app->reactor.by_hand)
		app->reactor.refused = why;
	else
		why_set(app, why);
	app->reactor.ordered = app->reactor.by_hand = false;
	app->sleep.by_hand = false;
	if (error != -EBUSY)
		log_error(app->name, "cannot freeze %s: %s", app->id,
			  strerror(-error));
}

static void answered(struct app_reactor *r, uint32_t us)
{
	r->us[r->n_us++ % REACTOR_WAKES_MAX] = us;
}

static void event_take(struct app *app, const struct znet_event *e)
{
	static const char *const by[] = {
		[ZNET_BY_CONNECTION] = "a connection came",
		[ZNET_BY_BYTE] = "a request came",
		[ZNET_BY_HAND] = "by hand",
	};

	switch ((enum znet_what)e->head.verb) {
	case ZNET_LULL:
		lull(app);
		return;
	case ZNET_QUIET:
		quiet(app);
		break;
	case ZNET_FROZEN:
		frozen(app);
		break;
	case ZNET_BUSY:
		busy(app, e->error);
		break;
	case ZNET_WOKEN:
		app->sleep.failed &= e->by == ZNET_BY_HAND;
		app->sleep.ends &= e->by == ZNET_BY_HAND;
		woken(app, e->by <= ZNET_BY_HAND ? by[e->by] : "");
		break;
	case ZNET_ANSWERED:
		answered(&app->reactor, e->us);
		return;
	case ZNET_CLOSED:
		closed(app, e->open);
		break;
	case ZNET_KNOCK:
	case ZNET_DRAINED:
	case ZNET_CROWD:
		return;
	}
	app_step(app);
}

/* Somebody waits for what rests, or sleeps. */
static void knocked(const struct znet_event *e)
{
	struct app *app = node_find(e->container);

	if (!app || !(app->reactor.rests || sleep_holds_ports(app)))
		return;
	if (!sleep_wake(app)) {
		app->reactor.rests = false;
		app->reactor.wakes++;
	}
	why_set(app, "a connection came");
	app_step(app);
}

/* ----------------------------------------------------------------- drain */

static void drained(const struct znet_event *e)
{
	struct app *app = node_by_id(e->container);

	if (!app || app->drain != APP_DRAINS)
		return;
	app->drain = APP_DRAINED;
	app_step(app);
}

bool reactor_drain(const struct app *app, uint32_t flags)
{
	return znet_connect() &&
	       znet_tell(app,
			 (struct znet_request){ .head.verb = ZNET_DRAIN,
						.flags = flags },
			 -1);
}

static struct app *app_of(const struct znet_event *e)
{
	struct app *app = memchr(e->container, '\0', sizeof(e->container))
				  ? node_by_id(e->container)
				  : NULL;

	return app && is_here(app) ? app : NULL;
}

static void event_ready(struct watch *w, uint32_t events)
{
	struct znet_event e;
	int r = ipc_recv(w->fd, &e, sizeof(e), NULL);
	struct app *app = r == 1 ? app_of(&e) : NULL;
	bool named = r == 1 && memchr(e.container, '\0', sizeof(e.container));

	(void)events;
	if (named && e.head.verb == ZNET_KNOCK)
		knocked(&e);
	else if (named && e.head.verb == ZNET_CROWD)
		scale_crowd(e.container);
	else if (named && e.head.verb == ZNET_DRAINED)
		drained(&e);
	else if (app)
		event_take(app, &e);
	else if (r != 1 && r != -EAGAIN)
		znet_lost();
}

/* ---------------------------------------------------------------- freezer */

static void freezer_came(struct call *call, const union call_reply *any, int fd)
{
	struct app *app = container_of(call, struct app, reactor.call);
	struct app_reactor *r = &app->reactor;

	r->freezer = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (r->freezer >= 0) {
		if (r->adopted)
			thaw(app);
		r->adopted = false;
	} else if (any->zrun.error == -ECONNRESET ||
		   any->zrun.error == -EAGAIN) {
		later(AGAIN_MS);
		return;
	} else {
		r->failed = true;
		r->adopted = false;
		why_set(app, "zrun gave no hand on its freezer");
		/* Where it has ended there is nothing to be said. */
		if (any->zrun.error != -ENOENT && any->zrun.error != -ESRCH)
			log_warning(app->name, "not frozen: %s",
				    any->zrun.text);
	}
	app_step(app);
}

static void freezer_ask(struct app *app)
{
	call_zrun(&app->reactor.call, app->id);
	app->reactor.call.done = freezer_came;
	if (call_send(&node.loop, &app->reactor.call, CALL_ZRUN, ZRUN_FREEZER,
		      -1) < 0)
		later(AGAIN_MS);
}

/* Whether znet knows of it what it has to know. */
static bool is_told(const struct app_reactor *r, uint32_t quiet_ms, bool byte)
{
	return r->told && r->told_ms == quiet_ms && r->told_byte == byte;
}

static void watch_tell(struct app *app)
{
	struct app_reactor *r = &app->reactor;
	bool byte = is_reactive(app) && app->want->reactive.wakes_at_byte;
	uint32_t quiet_ms = first_ms(app);
	const struct znet_request q = {
		.head.verb = ZNET_WATCH,
		.quiet_ms = quiet_ms,
		.flags = byte ? ZNET_WAKE_AT_BYTE : 0,
	};

	if (is_told(r, quiet_ms, byte) || !znet_connect())
		return;
	r->told_ms = quiet_ms;
	r->told_byte = byte;
	r->told = znet_tell(app, q, r->freezer);
}

static bool is_watched(const struct app *app)
{
	const struct app_reactor *r = &app->reactor;

	return is_here(app) &&
	       (is_reactive(app) || r->by_hand || r->told || r->freezer >= 0);
}

void reactor_step(struct app *app)
{
	struct app_reactor *r = &app->reactor;

	if (app->in_use && (r->rests || sleep_holds_ports(app)))
		znet_connect();
	if (!app->in_use || !app->alive || call_busy(&r->call))
		return;
	if (!r->adopted && !is_watched(app))
		return;
	if (r->freezer < 0 && !r->failed)
		freezer_ask(app);
	r->by_hand &= !r->failed;
	/* What is to rest, or to end, stays closed. */
	if (r->freezer < 0 || !is_watched(app) || r->rests ||
	    app->drain != APP_SERVES || sleep_holds_ports(app))
		return;
	watch_tell(app);
	if (r->by_hand && r->told && !r->ordered)
		freeze_order(app, ZNET_FREEZE_NOW);
	if (app->state == ZNODE_FROZEN && !is_reactive(app) && !r->hand_frozen)
		reactor_wake(app, "it is not reactive any more");
}

void reactor_init(struct app *app)
{
	call_init(&app->reactor.call);
	app->reactor.freezer = -1;
	app->reactor.image.fire = image_fire;
	reconnect.fire = reconnect_fire;
}

void reactor_adopt(struct app *app)
{
	app->reactor.adopted = true;
}

/* One that was to rest is noted as such first, then its ports are held, then
 * it is asked to end: while a port is still open nobody has asked yet, and
 * clients may have come. */
void reactor_found(struct app *app)
{
	bool rests = app->note.rests;

	for (unsigned i = 0; i < app->n_ports; i++)
		rests &= app->port[i].state != NET_ROUTE_OPEN;
	if (app->alive)
		app->reactor.rests &= rests;
}

/* One that is new, or newly may rest, does so from the start. */
void reactor_want(struct app *app)
{
	struct app_reactor *r = &app->reactor;
	bool may_rest = image_ms(app) != 0;

	if (app->extra_of)
		return; /* it only ends so */
	if (!may_rest)
		r->rests = false;
	else if (!r->may_rest)
		r->rests = !app->alive;
	r->may_rest = may_rest;
}

void reactor_end(struct app *app)
{
	struct app_reactor *r = &app->reactor;

	thaw(app);
	if (r->told)
		znet_tell(app,
			  (struct znet_request){ .head.verb = ZNET_FORGET },
			  -1);
	call_cancel(&r->call);
	fd_close(&r->freezer);
	r->adopted = r->failed = r->by_hand = r->ordered = r->told = false;
	r->hand_frozen = false;
	r->execs = 0;
	timer_cancel(&r->image);
	sleep_thawed(app);
	reclaim_thawed(app);
}

void reactor_wake(struct app *app, const char *why)
{
	if (sleep_wake(app)) {
		why_set(app, why);
		return;
	}
	thaw(app);
	if (app->reactor.told)
		znet_tell(app, (struct znet_request){ .head.verb = ZNET_THAW },
			  -1);
	app->reactor.by_hand = app->reactor.ordered = false;
	woken(app, why);
}

void reactor_reopen(struct app *app, const char *why)
{
	reactor_wake(app, why);
	app->reactor.told = false;
}

void reactor_woken(struct app *app, uint64_t us)
{
	app->reactor.wakes++;
	answered(&app->reactor, us < UINT32_MAX ? (uint32_t)us : UINT32_MAX);
}

static void freeze_wish(struct app *app)
{
	const char *why = is_here(app) ? NULL : "it does not run";

	if (!why && app->health.probing)
		why = "a health probe runs";
	if (!why && app->reactor.execs)
		why = "a program was executed in it";
	if (!why && scale_has_extras(app))
		why = "it has more than one instance";
	app->reactor.refused = why;
	app->reactor.by_hand = !why && app->state == ZNODE_RUNNING;
	app->reactor.failed = false;
}

void reactor_wish(struct app *app, enum znode_verb verb)
{
	if (verb == ZNODE_THAW) {
		reactor_wake(app, "by hand");
		return;
	}
	app->sleep.failed = false;
	freeze_wish(app);
	if (verb == ZNODE_SLEEP &&
	    (app->reactor.by_hand || app->state == ZNODE_FROZEN))
		sleep_wish(app);
}

void reactor_exec_event(struct app *app, const struct init_event *event)
{
	uint32_t bit;

	if (event->key.n > ZRUN_EXECS_MAX)
		return;
	bit = UINT32_C(1) << event->key.n;
	if (event->head.verb != INIT_EVENT_ADDED) {
		app->reactor.execs &= ~bit;
		return;
	}
	app->reactor.execs |= bit;
	if (app->state == ZNODE_FROZEN) {
		reactor_wake(app, "a program was executed in it");
		app_step(app);
	}
}

/* ------------------------------------------------------------------- told */

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static void policy_describe(const struct app *app, struct znode_app *row)
{
	const struct desired_reactive *r = &app->want->reactive;

	row->freeze_after_ms = r->freeze_after_ms;
	row->sleep_after_ms = r->sleep_after_ms;
	row->image_after_ms = r->image_after_ms;
	row->wakes_at_byte = r->wakes_at_byte;
	row->concurrency = r->concurrency;
	row->max = r->max;
	row->lifetime_ms = r->lifetime_ms;
}

static uint64_t sooner(uint64_t a, uint64_t b)
{
	return a && (!b || a < b) ? a : b;
}

void reactor_holds(struct app *app, struct znode_app *row)
{
	const char *why = is_here(app) && app->state == ZNODE_RUNNING &&
					  app->reactor.lull_ms
				  ? works(app)
				  : NULL;

	if (why)
		text_copy(row->holds, sizeof(row->holds), why);
}

void reactor_describe(const struct app *app, struct znode_app *row)
{
	uint64_t now = clock_ms(), next = sooner(app->reactor.image.deadline_ms,
						 app->sleep.timer.deadline_ms);
	const struct app_reactor *r = &app->reactor;
	uint32_t n = r->n_us < REACTOR_WAKES_MAX ? r->n_us : REACTOR_WAKES_MAX;
	uint32_t us[REACTOR_WAKES_MAX];

	row->reactive = is_reactive(app);
	if (row->reactive)
		policy_describe(app, row);
	row->next_ms = next > now ? (uint32_t)(next - now) : 0;
	row->aged_in_ms = app_aged_in_ms(app);
	row->rests = r->rests;
	row->warm = checkpoint_is_there(app);
	row->wakes = r->wakes;
	if (app->state == ZNODE_RUNNING || app->state == ZNODE_STARTING)
		text_copy(row->why, sizeof(row->why), r->why);
	if (n == 0)
		return;
	memcpy(us, r->us, n * sizeof(*us));
	qsort(us, n, sizeof(*us), compare);
	row->wake_p50_us = us[n / 2];
	row->wake_p99_us = us[n * 99 / 100];
}
