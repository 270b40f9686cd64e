/* Applications that share namespaces: one has them, the others join. The first
 * is started first. When it is started anew the others run in what is left of
 * the earlier instance, which no address leads to any more, so they are started
 * anew after it. */
#include "app_step.h"

struct app *app_pod_owner(const struct app *app)
{
	const struct desired_app *want = app->want;

	return want && want->pod.on.app ? app->host->find(want->pod.on.app)
					: NULL;
}

/* An older instance that still serves is about to go. */
bool app_pod_is_open(const struct app *app)
{
	return app->alive && app->state == ZNODE_RUNNING && !app->old;
}

bool app_pod_is_ready(const struct app *app)
{
	const struct app *owner = app_pod_owner(app);

	return owner && app_pod_is_open(owner);
}

/* While the other one is down there is nothing to join. */
bool app_pod_is_lost(const struct app *app)
{
	return app->note.pod && app_pod_is_ready(app) &&
	       app_pod_owner(app)->instance != app->note.pod;
}
