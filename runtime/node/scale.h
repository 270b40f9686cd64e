/* More instances of one application while it has more to do than its
 * `concurrency`, up to `max`.
 *
 *	ZNET_CROWD ---> one more is started, in a slot of its own
 *	it is ready --> it is in the route of the ports; if there is still too
 *			much to do znet says so at once, and the next one comes
 *	nothing is said to it for freeze_after, nobody is connected --> it ends
 *
 * The first is led to before the others (net/target.h), so with less to do the
 * last of them fall idle. The extra ones are no more than that: none is frozen
 * for long, replaced or started again; one that is old or of another content
 * drains, and if it is missed the next one comes.
 *
 * Rule of use: app->extra_of is set exactly in the slots of extra instances;
 * everything that is looked up by name, or shown, is of the first. */
#ifndef NODE_SCALE_H
#define NODE_SCALE_H

#include <stdbool.h>

#include "net/route.h"
#include "usage.h"

struct app;

/* znet has said that there is too much to do for those of that name. */
void scale_crowd(const char *name);
/* An extra instance is not wanted any more, or not as it is: it is not led to
 * from now on, and drains. */
bool scale_is_surplus(const struct app *extra);
void scale_step(struct app *extra);
/* What is so of `app` may have changed; they are to be other ones. */
void scale_follow(struct app *app);
void scale_restart(struct app *app);
/* Whether there are any of `app`; how many run. */
bool scale_has_extras(const struct app *app);
unsigned scale_alive(const struct app *app);
/* What `app` and its extras use together. */
struct usage scale_usage(const struct app *app);
/* Adds to a route of `app` those that are ready, and what they may have to do.
 * One that names nobody yet gets the first of them. */
void scale_route(struct app *app, struct net_route *route);
/* The slot of `app` is about to be freed: its extras end. */
void scale_forget(struct app *app);
/* Of the instances that were found when znode started: sorts out which are
 * extras of `app`, the slot of that name. */
void scale_adopt(struct app *app);

#endif
