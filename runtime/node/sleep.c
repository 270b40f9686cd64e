#define _GNU_SOURCE
#include "sleep.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "base/log.h"

#include "app_step.h"
#include "node.h"

static const struct desired_reactive *policy(const struct app *app)
{
	static const struct desired_reactive none;

	return app->want && app->want->reactive.is_on ? &app->want->reactive
						      : &none;
}

/* Others would be left alone in the namespaces that they share. */
static bool may_sleep(const struct app *app)
{
	return app->want && !app->want->pod.on.app && !app->want->host_shares &&
	       !app->old && !app->successor && !app->host->is_shared(app);
}

/* ---------------------------------------------------------- falling asleep */

static void asleep(struct app *app)
{
	const struct desired_reactive *r = policy(app);

	app_set(app, ZNODE_ASLEEP);
	if (r->image_after_ms)
		timer_set(app->host->loop, &app->sleep.timer,
			  r->image_after_ms > r->sleep_after_ms
				  ? r->image_after_ms - r->sleep_after_ms
				  : 0);
}

static void fell_asleep(struct app *app)
{
	app->sleep.dozing = app->sleep.due = app->sleep.by_hand = false;
	app->sleep.ends = false;
	/* Init's record went with it. */
	app->record = false;
	app->pid = 0;
	app->reason[0] = '\0';
	asleep(app);
}

static void stays_awake(struct app *app, const char *why)
{
	struct app_sleep *s = &app->sleep;
	char text[sizeof(s->why_not)];

	text_copy(text, sizeof(text), why);
	if (strcmp(text, s->why_not) != 0)
		log_warning(app->name, "cannot sleep: %s", why);
	memcpy(s->why_not, text, sizeof(text));
	s->failed = true;
	s->dozing = s->due = s->by_hand = s->wake = false;
	s->asked_us = 0;
	if (app->alive)
		reactor_reopen(app, "it cannot sleep");
}

static void doze_done(struct call *call, const union call_reply *any, int fd)
{
	struct app *app = container_of(call, struct app, call);
	const struct zrun_reply *reply = &any->zrun;

	(void)fd;
	/* A reply that was lost says nothing; init knows. */
	if (reply->error && (app->alive || app->record))
		stays_awake(app, reply->text[0] ? reply->text
						: strerror(-reply->error));
	app_step(app);
}

static void doze(struct app *app)
{
	autoclose int config = app_config_shown(app);
	int r = config;

	app->note.health = app->health.state;
	memcpy(call_zrun(&app->call, app->id)->note, &app->note,
	       sizeof(app->note));
	app->call.done = doze_done;
	if (r >= 0)
		r = call_send(app->host->loop, &app->call, CALL_ZRUN,
			      ZRUN_SLEEP, config);
	if (r < 0) {
		stays_awake(app, strerror(-r));
		return;
	}
	app->sleep.dozing = true;
	app_ports(app);
}

bool sleep_closed(struct app *app, uint32_t left)
{
	if (!app->sleep.due || app->state != ZNODE_FROZEN ||
	    call_busy(&app->call))
		return false;
	/* A connection whose client went while it was frozen is still open
	 * inside, which criu does not take. One that it never ends keeps it
	 * frozen. */
	if (left && !app->sleep.ends && !app->sleep.by_hand) {
		app->sleep.ends = true;
		reactor_reopen(app, "a client has gone");
	} else if (may_sleep(app)) {
		doze(app);
	} else {
		stays_awake(app, "it shares namespaces, or is being replaced");
	}
	return true;
}

bool sleep_is_dozing(struct app *app)
{
	if (!app->sleep.dozing)
		return false;
	if (!app->alive && !call_busy(&app->call))
		fell_asleep(app);
	return true;
}

void sleep_gone(struct app *app)
{
	if (!app->sleep.dozing)
		return;
	app->alive = app->record = false;
	app_step(app);
}

/* ------------------------------------------------------------------ asleep */

/* Only a start from its image is left. */
static void forget(struct app *app, bool rests)
{
	app->restart = app->sleep.wake = false;
	app->sleep.asked_us = 0;
	app->reactor.rests = rests;
	timer_cancel(&app->sleep.timer);
	app_set(app, app->pulled ? ZNODE_IMAGE : ZNODE_ABSENT);
}

static void timer_fire(struct timer *t)
{
	struct app *app = container_of(t, struct app, sleep.timer);

	if (app->state == ZNODE_ASLEEP) {
		forget(app, true);
		app_step(app);
	} else if (app->state == ZNODE_FROZEN) {
		app->sleep.due = true;
		reactor_close(app);
	}
}

static void wake_done(struct call *call, const union call_reply *any, int fd)
{
	struct app *app = container_of(call, struct app, call);
	const struct zrun_reply *reply = &any->zrun;
	uint64_t asked_us = app->sleep.asked_us;

	(void)fd;
	app->sleep.wake = false;
	app->sleep.asked_us = 0;
	if (reply->error && !app->alive) {
		log_warning(app->name,
			    "cannot wake: %s; it is started from its image",
			    reply->text[0] ? reply->text
					   : strerror(-reply->error));
		app->sleep.waking = false;
		forget(app, false);
	} else {
		app->sleep.failed = false;
		if (!app->record)
			app->alive = true;
		app->pid = app->alive && !reply->error ? reply->pid : app->pid;
		app_set(app, ZNODE_RUNNING);
		app->sleep.waking = false;
		reactor_woken(app, clock_us() - asked_us);
	}
	app_step(app);
}

static void wake(struct app *app)
{
	struct zrun_request *q = call_zrun(&app->call, app->id);
	autoclose int config = app_config(app);
	int r = config;

	app_secrets_drop(app);
	timer_cancel(&app->sleep.timer);
	digest_text(&app->note.image, q->digest);
	memcpy(q->note, &app->note, sizeof(app->note));
	app->call.done = wake_done;
	if (r >= 0)
		r = call_send(app->host->loop, &app->call, CALL_ZRUN, ZRUN_WAKE,
			      config);
	if (r < 0) {
		log_warning(app->name, "cannot wake: %s", strerror(-r));
		forget(app, false);
		return;
	}
	app->sleep.waking = true;
	app_set(app, ZNODE_STARTING);
}

void step_asleep(struct app *app)
{
	app_ports(app);
	if (app->alive)
		app_set(app, ZNODE_RUNNING);
	else if (!app_should_run(app) || app->restart || app_is_outdated(app))
		forget(app, false);
	else if (app_is_aged(app))
		forget(app, !app->sleep.wake);
	else if (app->sleep.wake && app_secrets_ready(app))
		wake(app);
}

/* ------------------------------------------------------------------- asked */

void sleep_init(struct app *app)
{
	app->sleep.timer.fire = timer_fire;
}

void sleep_frozen(struct app *app)
{
	const struct desired_reactive *r = policy(app);

	if (app->sleep.by_hand)
		timer_set(app->host->loop, &app->sleep.timer, 0);
	else if (r->sleep_after_ms && !app->sleep.failed)
		timer_set(app->host->loop, &app->sleep.timer,
			  r->sleep_after_ms > r->freeze_after_ms
				  ? r->sleep_after_ms - r->freeze_after_ms
				  : 0);
}

void sleep_thawed(struct app *app)
{
	timer_cancel(&app->sleep.timer);
	app->sleep.due = app->sleep.by_hand = false;
}

bool sleep_holds_ports(const struct app *app)
{
	return app->sleep.dozing || app->state == ZNODE_ASLEEP;
}

bool sleep_wake(struct app *app)
{
	if (!sleep_holds_ports(app))
		return false;
	app->sleep.wake = true;
	if (!app->sleep.asked_us)
		app->sleep.asked_us = clock_us();
	return true;
}

void sleep_wish(struct app *app)
{
	app->sleep.by_hand = true;
	if (app->state == ZNODE_FROZEN)
		sleep_frozen(app);
}

/* ------------------------------------------------------------------- found */

void sleep_found(struct app *app)
{
	if (!app->sleep.found)
		return;
	app->sleep.found = app->reactor.rests = false;
	if (app->note.health < ZNODE_HEALTH_COUNT)
		app->health.state = (enum znode_health)app->note.health;
	asleep(app);
}

static struct {
	struct loop *loop;
	struct call call;
	bool (*found)(const char *id, const struct app_note *note);
	void (*done)(void);
} search;

static void list_done(struct call *call, const union call_reply *any, int fd);

static void list(uint32_t n)
{
	call_zrun(&search.call, "")->arg = n;
	search.call.done = list_done;
	if (call_send(search.loop, &search.call, CALL_ZRUN, ZRUN_LIST, -1) < 0)
		search.done();
}

/* Its number in the list is another container's then. */
static void delete_done(struct call *call, const union call_reply *any, int fd)
{
	(void)fd;
	if (any->zrun.error)
		log_warning(call->request.zrun.id, "cannot delete it: %s",
			    any->zrun.text);
	list(any->zrun.error ? call->request.zrun.arg + 1
			     : call->request.zrun.arg);
}

static bool is_taken(const struct zrun_reply *reply)
{
	struct app_note note;

	memcpy(&note, reply->note, sizeof(note));
	return note.magic == APP_NOTE_MAGIC && search.found(reply->id, &note);
}

/* Of a wake or a restore that was cut short init may have heard nothing: then
 * nobody else removes what is left. */
static bool is_left_alone(const struct zrun_reply *reply)
{
	if (strcmp(reply->text, "stopped") == 0)
		return node_by_id(reply->id);
	return strcmp(reply->text, "asleep") != 0 || is_taken(reply);
}

static void list_done(struct call *call, const union call_reply *any, int fd)
{
	const struct zrun_reply *reply = &any->zrun;
	struct zrun_request *q = &call->request.zrun;

	(void)fd;
	if (reply->error) {
		search.done();
	} else if (is_left_alone(reply)) {
		list(q->arg + 1);
	} else {
		text_copy(q->id, sizeof(q->id), reply->id);
		call->done = delete_done;
		if (call_send(search.loop, call, CALL_ZRUN, ZRUN_DELETE, -1) <
		    0)
			search.done();
	}
}

void sleep_search(struct loop *loop,
		  bool (*found)(const char *id, const struct app_note *note),
		  void (*done)(void))
{
	search.loop = loop;
	search.found = found;
	search.done = done;
	call_init(&search.call);
	list(0);
}
