/* How one instance takes the place of another without a gap: the new one is
 * started beside it, clients are led to it once it is ready, then the old one
 * is asked to end and drains. If the new one fails, the old one serves on. */
#include <string.h>

#include "app_step.h"

bool app_may_overlap(const struct app *app)
{
	const struct desired_app *want = app->want;

	if (app->old || app->local)
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
	old->retired = true;
	instance_move(old, app);
	pair(app, old);
	app_set(old, ZNODE_RUNNING);
	app_set(app, ZNODE_IMAGE);
	return true;
}

bool app_is_ready(const struct app *app)
{
	return app->state == ZNODE_RUNNING && app->alive &&
	       (!app->want->health.test.n ||
		app->health.state == ZNODE_HEALTHY);
}

void app_release(struct app *app)
{
	struct app *old = app->old;

	app->old = old->successor = NULL;
	app_ports(app);
	app_step(old);
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

void app_pair(struct app *app, struct app *other)
{
	struct app newer = { 0 };

	if (number_of(other->id) > number_of(app->id)) {
		instance_move(&newer, other);
		instance_move(other, app);
		instance_move(app, &newer);
	}
	other->retired = true;
	if (app->alive && other->alive && !app_is_outdated(app))
		pair(app, other);
}
