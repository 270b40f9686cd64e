/* What an application waits for before it starts: that others of its document
 * run, are healthy, or have done their work. Once it runs, what they do is
 * nothing to it, but for the one whose namespaces it shares. */
#include "app_step.h"

static bool is_met(const struct app *app, enum desired_condition condition)
{
	/* A connection of theirs could not be written to its checkpoint. */
	bool runs = app->alive && !app->checkpoint.makes;
	bool completed = app->final && app->record && app_ended_well(app);
	/* It is there for who asks. */
	bool rests = (app->reactor.rests && app->state == ZNODE_IMAGE) ||
		     app->state == ZNODE_ASLEEP;

	switch (condition) {
	case DESIRED_STARTED:
		return runs || completed || rests;
	case DESIRED_HEALTHY:
		return rests || (runs && (app->health.state == ZNODE_HEALTHY ||
					  !app->health.is_checked));
	case DESIRED_COMPLETED:
		return completed;
	}
	return false;
}

const struct desired_dependency *app_waits_for(const struct app *app)
{
	const struct desired_app *want = app->want;

	if (!app_should_run(app) || app->alive || app->state != ZNODE_IMAGE)
		return NULL;
	if (want->pod.on.app && !app_pod_is_ready(app))
		return &want->pod.on;
	for (unsigned i = 0; i < want->n_depends; i++) {
		const struct desired_dependency *d = &want->depends_on[i];
		const struct app *other = app->host->find(d->app);

		if (!other || !is_met(other, d->condition))
			return d;
	}
	return NULL;
}

void app_met(struct app *app)
{
	uint8_t met = 0;

	for (int i = DESIRED_STARTED;
	     app->in_use && app->want && i <= DESIRED_COMPLETED; i++)
		met |= (uint8_t)(is_met(app, (enum desired_condition)i) << i);
	if (app->in_use && app_pod_is_open(app))
		met |= 1 << (DESIRED_COMPLETED + 1);
	if (met == app->met)
		return;
	app->met = met;
	app->host->met(app);
}
