#define _GNU_SOURCE
#include "scale.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/log.h"

#include "app_step.h"
#include "node.h"

/* The extra after `e`, the first one after NULL; NULL at the end. */
static struct app *extra_next(const struct app *app, struct app *e)
{
	while ((e = node_named(app->name, e)) && e->extra_of != app)
		;
	return e;
}

bool scale_has_extras(const struct app *app)
{
	return extra_next(app, NULL);
}

unsigned scale_alive(const struct app *app)
{
	unsigned n = 0;

	for (struct app *e = NULL; (e = extra_next(app, e));)
		n += e->alive;
	return n;
}

struct usage scale_usage(const struct app *app)
{
	struct usage all = { 0 }, one;

	if (app->alive)
		all = usage_of(app->id);
	for (struct app *e = NULL; (e = extra_next(app, e));) {
		if (!e->alive)
			continue;
		one = usage_of(e->id);
		all.memory_bytes += one.memory_bytes;
		all.cpu_ms += one.cpu_ms;
	}
	return all;
}

/* ------------------------------------------------------------------- more */

static unsigned max_of(const struct app *app)
{
	return app->want && app->want->reactive.is_on ? app->want->reactive.max
						      : 0;
}

static bool serves(const struct app *app)
{
	return app->alive && !app->reactor.rests && app_is_ready(app);
}

/* How many there are but for those that go, and whether all of them serve:
 * else one is on its way already. */
static unsigned count(const struct app *app, bool *all_serve)
{
	unsigned n = 1;

	*all_serve = serves(app) || app->old;
	for (struct app *e = NULL; (e = extra_next(app, e));) {
		if (scale_is_surplus(e))
			continue;
		*all_serve &= serves(e);
		n++;
	}
	return n;
}

static bool may_grow(const struct app *app)
{
	bool all_serve;

	return app_should_run(app) && count(app, &all_serve) < max_of(app) &&
	       all_serve;
}

static void extra_start(struct app *app)
{
	struct app *e = app->host->slot(app->name);

	if (!e)
		return;
	e->extra_of = app;
	app_want(e, app->want, NULL);
	e->found = app->found;
	e->manifest = app->manifest;
	e->image_bytes = app->image_bytes;
	e->pulled = app->pulled;
	if (e->pulled)
		app_set(e, ZNODE_IMAGE);
	log_info(app->name, "too much to do for %u: one more",
		 1 + scale_alive(app));
	app_step(e);
}

void scale_crowd(const char *name)
{
	struct app *app = node_find(name);

	if (app && may_grow(app) && !app_is_outdated(app))
		extra_start(app);
}

/* ------------------------------------------------------------------- less */

static unsigned rank(const struct app *extra)
{
	unsigned n = 1;

	for (struct app *e = NULL; (e = extra_next(extra->extra_of, e));)
		n += e < extra;
	return n;
}

/* Of another content it serves on until the first is of the new one. */
bool scale_is_surplus(const struct app *e)
{
	const struct app *app = e->extra_of;

	if (e->drain != APP_SERVES || e->reactor.rests || e->final ||
	    e->restart || !app_should_run(app) || rank(e) >= max_of(app))
		return true;
	if (app_is_aged(e))
		return true;
	return app_is_outdated(e) && serves(app) && !app->old &&
	       !app_is_outdated(app);
}

/* Who is not to run at all owes nobody an answer. */
void scale_step(struct app *e)
{
	if (!app_should_run(e->extra_of))
		e->drain = APP_DRAINED;
	else if (e->drain == APP_SERVES && e->alive)
		app_ports(e->extra_of);
}

void scale_follow(struct app *app)
{
	for (struct app *e = NULL; (e = extra_next(app, e));)
		if (scale_is_surplus(e))
			app_step(e);
}

void scale_restart(struct app *app)
{
	for (struct app *e = NULL; (e = extra_next(app, e));) {
		e->restart = true;
		app_step(e);
	}
}

void scale_forget(struct app *app)
{
	for (struct app *e = NULL; (e = extra_next(app, e));) {
		e->extra_of = NULL;
		e->want = NULL;
		e->retired = true;
		e->drain = APP_DRAINED;
		app_step(e);
	}
}

/* ------------------------------------------------------------------ route */

static void other_fill(struct net_route_other *o, struct app *e)
{
	char address[16];

	app_address(e, address);
	o->instance = e->instance;
	inet_pton(AF_INET, address, o->address);
}

/* One that has begun to go is not led to. */
void scale_route(struct app *app, struct net_route *route)
{
	struct net_route_other *o = route->other;
	unsigned max = max_of(app);

	if (max < 2)
		return;
	for (struct app *e = NULL; (e = extra_next(app, e));) {
		if (!serves(e) || scale_is_surplus(e) ||
		    o == route->other + NET_ROUTE_OTHERS)
			continue;
		if (route->state == NET_ROUTE_OPEN) {
			other_fill(o++, e);
			continue;
		}
		route->state = NET_ROUTE_OPEN;
		text_copy(route->container, sizeof(route->container), e->id);
		other_fill(o, e);
		memcpy(route->address + 12, o->address, sizeof(o->address));
		*o = (struct net_route_other){ 0 };
	}
	route->concurrency = (uint16_t)app->want->reactive.concurrency;
	route->grows = may_grow(app);
}

/* ---------------------------------------------------------------- adopted */

static bool is_of(const struct app *e, const struct app *app)
{
	return e != app && e->alive && !e->want && !e->retired;
}

/* What was extra and is the only one left becomes the first. */
void scale_adopt(struct app *app)
{
	struct app *e = NULL;

	while (app->note.extra && (e = node_named(app->name, e)))
		if (is_of(e, app) && !e->note.extra)
			app_swap(app, e);
	app->note.extra = 0;
	for (e = NULL; (e = node_named(app->name, e));) {
		if (!is_of(e, app) || !e->note.extra)
			continue;
		e->extra_of = app;
		app_want(e, app->want, NULL);
		if (e->note.rests)
			e->reactor.rests = true;
	}
}
