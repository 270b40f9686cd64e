/* How one instance takes the place of another without a gap: the new one is
 * started beside it, clients are led to it once it is ready, then the old one
 * drains: no client is let to it any more, and when the last has gone it is
 * asked to end. If the new one fails, the old one serves on.
 *
 * Where two may not run side by side the old one first answers what it was
 * asked, and ends; new clients wait in the listen queue for the next one. */
#include <string.h>

#include "net/znet.h"

#include "app_step.h"
#include "node.h"

/* As long as a request may take (net/traffic.h). */
enum { DRAIN_MAX_MS = 600000 };

bool app_may_overlap(const struct app *app)
{
	const struct desired_app *want = app->want;

	if (app->old || app->local || app->extra_of || want->pod.on.app ||
	    want->host_shares || app->host->is_shared(app))
		return false;
	for (unsigned i = 0; i < want->n_mounts; i++)
		if (want->mount[i].type == DESIRED_MOUNT_VOLUME &&
		    !want->mount[i].read_only)
			return false;
	return true;
}

/* What is of an instance, not of the application. */
static void instance_move(struct app *to, struct app *from)
{
	static const struct app_note none;

	memcpy(to->id, from->id, sizeof(to->id));
	to->instance = from->instance;
	to->alive = from->alive;
	to->record = from->record;
	to->remains = from->remains;
	to->pid = from->pid;
	to->started_ms = from->started_ms;
	to->ended_ms = from->ended_ms;
	to->exit_code = from->exit_code;
	to->exit_status = from->exit_status;
	to->note = from->note;
	to->number = from->number;
	from->id[0] = '\0';
	from->alive = from->record = from->remains = false;
	from->pid = from->number = 0;
	from->note = none;
}

static void pair(struct app *app, struct app *old)
{
	app->old = old;
	old->successor = app;
}

bool app_retire(struct app *app)
{
	struct app *old = app->host->slot(app->name);

	if (!old)
		return false;
	app_drain_end(app);
	old->retired = true;
	reactor_end(app);
	/* Both slots would have the same watch, and this one end it. */
	limits_end(app);
	checkpoint_end(app);
	instance_move(old, app);
	pair(app, old);
	app_set(old, ZNODE_RUNNING);
	app_set(app, ZNODE_IMAGE);
	return true;
}

bool app_is_ready(const struct app *app)
{
	return (app->state == ZNODE_RUNNING || app->state == ZNODE_FROZEN) &&
	       app->alive && !app->checkpoint.makes &&
	       (!app->health.is_checked || app->health.state == ZNODE_HEALTHY);
}

void app_release(struct app *app)
{
	struct app *old = app->old;

	app->old = old->successor = NULL;
	if (!app->want || app->stopped)
		old->drain = APP_DRAINED;
	app_ports(app);
	app_step(old);
}

static bool drains_for(const struct app *old, const struct app *app)
{
	return old->retired && !old->successor && old != app;
}

bool app_drains_for(const struct app *app)
{
	struct app *old = NULL;

	while ((old = node_named(app->name, old)))
		if (drains_for(old, app))
			return true;
	return false;
}

void app_drain_end(const struct app *app)
{
	for (struct app *old = NULL; (old = node_named(app->name, old));) {
		if (!drains_for(old, app) || old->drain == APP_DRAINED)
			continue;
		old->drain = APP_DRAINED;
		app_step(old);
	}
}

/* New clients wait for its end meanwhile, so it gets no longer than for that.
 */
static bool drain_begin(struct app *app)
{
	bool beside = app->retired || app->extra_of;

	if (!reactor_drain(app, beside ? 0 : ZNET_DRAIN_ANSWERS))
		return false;
	app->drain = APP_DRAINS;
	timer_set(app->host->loop, &app->timer,
		  beside ? DRAIN_MAX_MS : app_grace_ms(app));
	return true;
}

bool app_is_drained(struct app *app)
{
	if (app->drain == APP_SERVES && !drain_begin(app))
		return true;
	return app->drain == APP_DRAINED || !app->timer.deadline_ms;
}

/* Of NAME-NUMBER. */
static uint64_t number_of(const char *id)
{
	const char *dash = strrchr(id, '-');
	uint64_t number = 0;

	if (dash)
		span_u64(span_of(dash + 1), UINT32_MAX, &number);
	return number;
}

void app_swap(struct app *app, struct app *other)
{
	struct app between = { 0 };

	instance_move(&between, other);
	instance_move(other, app);
	instance_move(app, &between);
}

void app_pair(struct app *app, struct app *other)
{
	if (number_of(other->id) > number_of(app->id))
		app_swap(app, other);
	other->retired = true;
	if (app->alive && other->alive && !app_is_outdated(app))
		pair(app, other);
}
