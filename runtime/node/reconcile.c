/* From the desired document to applications. Each has one slot by its name for
 * as long as anything of it is there, so one that is taken out and put in again
 * meanwhile finds its container. */
#define _GNU_SOURCE
#include <stdio.h>
#include <string.h>

#include "base/log.h"

#include "node.h"

static const struct desired_app *wanted_as(const char *name)
{
	const struct desired *d = &node.host.document.desired;

	for (unsigned i = 0; i < d->n_apps; i++)
		if (strcmp(d->app[i].name, name) == 0)
			return &d->app[i];
	return NULL;
}

void reconcile_unwanted(struct app *app)
{
	bool local = node.readable, hub = node.host.document.known;
	bool was_kept = app->kept;

	if (!app->id[0]) /* only a listener is left: of whom? */
		app->kept = !local || !hub;
	else
		app->kept = app_is_from_hub(app) ? !hub : !local;
	if (app->id[0] && !app->kept)
		log_notice(app->id, "not in node.json or the document, "
				    "removed");
	else if (app->id[0] && !was_kept)
		log_notice(app->id, "left alone: what is wanted is not known");
}

/* Those that the document had before, and what nobody wanted. */
static void update_slots(void)
{
	for (int i = 0; i < node.n_slots; i++) {
		struct app *app = &node.app[i];

		if (!app->in_use || app->local)
			continue;
		if (app->want) {
			app_want(app, wanted_as(app->name), NULL);
			if (!app->want)
				reconcile_unwanted(app);
		} else if (app->kept && !wanted_as(app->name)) {
			reconcile_unwanted(app);
		}
	}
}

/* Why an application cannot run as it is wanted, or NULL. */
static const char *objection(const struct desired_app *want)
{
	const struct app *app = node_slot(want->name);

	if (app && app->local)
		return "node.json has an application of that name, which "
		       "goes first: rename one of them";
	if (strlen(want->name) > APP_NAME_MAX)
		return "its name is longer than 52 letters";
	return NULL;
}

static bool has_slot(const struct desired_app *want)
{
	struct app *app = NULL;

	while ((app = node_named(want->name, app)) && app->want != want)
		;
	return app;
}

/* What ended while nobody knew whether it was wanted is judged now. */
static void adopt(struct app *app, const struct desired_app *want)
{
	bool was_kept = app->kept;

	app->kept = false;
	app_want(app, want, NULL);
	if (was_kept && node.synced)
		app_adopt(app);
}

static void add(const struct desired_app *want)
{
	const char *reason = objection(want);
	struct app *app = reason ? NULL : node_slot(want->name);

	if (!app)
		app = node_slot_new(want->name);
	if (!app)
		return;
	adopt(app, want);
	if (reason)
		app_refuse(app, reason);
}

void reconcile(void)
{
	struct desired *d = &node.host.document.desired;

	update_slots();
	node.depends = false;
	for (unsigned i = 0; i < d->n_apps; i++) {
		node.depends |= d->app[i].n_depends || d->app[i].pod.on.app;
		if (!has_slot(&d->app[i]))
			add(&d->app[i]);
	}
	for (int i = 0; node.synced && i < node.n_slots; i++)
		if (node.app[i].in_use && !node.app[i].alive)
			app_ports_want(&node.app[i]);
}
