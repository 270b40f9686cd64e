#define _GNU_SOURCE
#include "app.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "base/log.h"

#include "app_step.h"
#include "config.h"

/* What is next in each state. Where nothing is listed, the reply to the call
 * under way decides; frozen and asleep are not entered yet. */
static const struct row {
	const char *name;
	void (*step)(struct app *);
	bool told; /* entering it is worth a line */
} rows[] = {
	[ZNODE_ABSENT] = { .name = "absent", .step = step_absent },
	[ZNODE_PULLING] = { .name = "pulling", .told = true },
	[ZNODE_IMAGE] = { .name = "image", .step = step_image },
	[ZNODE_STARTING] = { .name = "starting" },
	[ZNODE_RUNNING] = { .name = "running",
			    .step = step_running,
			    .told = true },
	[ZNODE_FROZEN] = { .name = "frozen" },
	[ZNODE_ASLEEP] = { .name = "asleep" },
	[ZNODE_STOPPING] = { .name = "stopping", .step = step_stopping },
	[ZNODE_FAILED] = { .name = "failed", .step = step_failed },
};

_Static_assert(sizeof(rows) / sizeof(rows[0]) == ZNODE_STATE_COUNT,
	       "a row for each state");

const char *znode_state_name(uint32_t state)
{
	return state < ZNODE_STATE_COUNT ? rows[state].name : "unknown";
}

/* The only place where a state is assigned. */
void app_set(struct app *app, enum znode_state state)
{
	if (app->state == state)
		return;
	app->state = state;
	app->since_ms = clock_boot_ms();
	if (rows[state].told)
		log_info(app->name, "%s %s", rows[state].name,
			 state == ZNODE_RUNNING ? app->id : app->want->image);
	app_ports(app);
}

bool app_should_run(const struct app *app)
{
	return app->want && !app->stopped && !app->final;
}

void app_step(struct app *app)
{
	enum znode_state before;

	if (!app->in_use)
		return;
	do {
		before = app->state;
		if (app->in_use && !call_busy(&app->call) && rows[before].step)
			rows[before].step(app);
	} while (app->in_use && app->state != before);
	app->host->changed(app);
}

/* ---------------------------------------------------------------- events */

static void timer_fire(struct timer *t)
{
	app_step(container_of(t, struct app, timer));
}

static void redelete_fire(struct timer *t)
{
	app_step(container_of(t, struct app, redelete));
}

static void rebind_fire(struct timer *t)
{
	app_ports(container_of(t, struct app, rebind));
}

void app_init(struct app *app, struct app_host *host,
	      const struct node_app *want, unsigned number)
{
	memset(app, 0, sizeof(*app));
	app->in_use = true;
	app->host = host;
	app->want = want;
	app->since_ms = clock_boot_ms();
	app->timer.fire = timer_fire;
	app->rebind.fire = rebind_fire;
	app->redelete.fire = redelete_fire;
	call_init(&app->call);
	snprintf(app->address, sizeof(app->address), "10.64.%u.%u",
		 (number + 2) >> 8 & 255, (number + 2) & 255);
	if (!want)
		return;
	text_copy(app->name, sizeof(app->name), want->name);
	for (; app->n_ports < want->n_port; app->n_ports++) {
		app->port[app->n_ports].host = want->port[app->n_ports].host;
		app->port[app->n_ports].container =
			want->port[app->n_ports].container;
	}
}

void app_process(struct app *app, const struct init_event *event)
{
	app->alive = event->head.verb == INIT_EVENT_ADDED;
	app->record = event->head.verb == INIT_EVENT_EXITED;
	app->remains = true;
	app->pid = app->alive ? event->pid : 0;
	app->started_ms = event->started_ms;
	app->ended_ms = event->ended_ms;
	app->exit_code = event->exit_code;
	app->exit_status = event->exit_status;
	memcpy(&app->note, event->note, sizeof(app->note));
	if (app->note.magic != APP_NOTE_MAGIC)
		memset(&app->note, 0, sizeof(app->note));
}

void app_adopt(struct app *app)
{
	app->stopped = app->note.stopped;
	if (app->record)
		app_ended(app);
}

/* A wish to stop must outlive this znode, so it is noted where the instance
 * is. */
static void stopped_set(struct app *app, bool stopped)
{
	struct init_key key = { .kind = INIT_KIND_PIDFD };
	int r;

	app->stopped = stopped;
	if (app->note.stopped == stopped || !(app->alive || app->record))
		return;
	app->note.stopped = stopped;
	text_copy(key.container, sizeof(key.container), app->id);
	r = link_call(&app->host->link, INIT_NOTE, &key, &app->note,
		      sizeof(app->note));
	if (r)
		log_warning(app->name, "note of %s: %s", app->id, strerror(-r));
}

void app_wish(struct app *app, enum znode_verb verb)
{
	stopped_set(app, verb == ZNODE_STOP);
	app->restart = verb == ZNODE_RESTART && app->alive;
	if (!app->stopped && !app->alive) {
		/* A person may have changed what it failed on. */
		if (app->state == ZNODE_FAILED && !app->pulled)
			app_image_drop(app);
		app->final = false;
		app->note.backoff_ms = 0;
		timer_cancel(&app->timer);
	}
	app_step(app);
}

bool app_settled(const struct app *app, enum znode_verb verb)
{
	if (verb == ZNODE_STOP)
		return !app->alive && !call_busy(&app->call) &&
		       app->state != ZNODE_STARTING;
	return !app->restart && (app->state == ZNODE_RUNNING ||
				 app->state == ZNODE_FAILED || app->final);
}

int app_config(struct app *app)
{
	struct node_config config = { app->want, NULL, app->id, app->address };
	autofree char *text = NULL;
	size_t size;
	int r = app_image_find(app);

	if (r) {
		app_image_drop(app);
		return r;
	}
	config.image = &app->image->config;
	r = node_config_write(&config, &text, &size, app->reason);
	return r ? r : memfd_sealed("config.json", text, size);
}

void app_describe(const struct app *app, struct znode_app *row)
{
	uint64_t now = clock_ms();

	memset(row, 0, sizeof(*row));
	text_copy(row->name, sizeof(row->name), app->name);
	text_copy(row->container, sizeof(row->container), app->id);
	text_copy(row->reason, sizeof(row->reason), app->reason);
	if (app->want) {
		snprintf(row->image, sizeof(row->image), "%s%s%s",
			 app->want->image, app->want->tag[0] ? ":" : "",
			 app->want->tag);
		row->memory_bytes = app->want->memory_bytes;
	}
	if (app->image) {
		digest_text(&app->image->manifest, row->digest);
		row->image_bytes = app->image->bytes;
	} else if (app->note.magic)
		digest_text(&app->note.image, row->digest);
	row->state = app->state;
	row->stopped = app->stopped;
	row->pid = app->alive ? app->pid : 0;
	row->restarts = app->note.restarts;
	row->since_ms = app->since_ms;
	row->started_ms = app->alive ? app->started_ms : 0;
	if (app_is_waiting(app) && app->state != ZNODE_STOPPING &&
	    app->timer.deadline_ms > now)
		row->retry_ms = (uint32_t)(app->timer.deadline_ms - now);
	for (unsigned i = 0; i < app->n_ports; i++)
		row->port[row->n_ports++] =
			(struct znode_port){ app->port[i].host,
					     app->port[i].container,
					     app->port[i].bound };
}
