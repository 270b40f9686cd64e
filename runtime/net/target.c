#define _GNU_SOURCE
#include "target.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "base/loop.h"
#include "base/span.h"
#include "key.h"

enum { REFUSALS_MAX = 7 }; /* that the wait doubles for, from 1 ms on */

struct target *target_next(struct targets *all, struct target *t)
{
	t = t ? t + 1 : all->at;
	return t < all->at + TARGETS_MAX && t->id ? t : NULL;
}

struct target *target_by_id(struct targets *all, uint32_t id)
{
	struct target *t = NULL;

	while ((t = target_next(all, t)) && t->id != id)
		;
	return t;
}

/* ---------------------------------------------------------------- picking */

static bool is_at_hand(const struct target *t)
{
	return t->stock && t->stock->n && t->proof != TARGET_TRYING &&
	       !traffic_is_closed(t->traffic);
}

static bool has_room(const struct targets *all, const struct target *t)
{
	return !all->concurrency ||
	       traffic_in_flight(t->traffic) < all->concurrency;
}

static struct target *pick_known(struct targets *all)
{
	struct target *best = NULL;

	for (struct target *t = NULL; (t = target_next(all, t));) {
		if (t->proof != TARGET_KNOWN || !is_at_hand(t))
			continue;
		if (has_room(all, t))
			return t;
		if (!best || traffic_in_flight(t->traffic) <
				     traffic_in_flight(best->traffic))
			best = t;
	}
	return best;
}

static struct target *pick_untried(struct targets *all)
{
	uint64_t now = clock_ms();

	for (struct target *t = NULL; (t = target_next(all, t));) {
		if (t->proof == TARGET_UNTRIED && is_at_hand(t) &&
		    t->after_ms <= now)
			return t;
	}
	return NULL;
}

bool targets_ready(struct targets *all)
{
	return pick_known(all) || pick_untried(all);
}

struct target *target_pick(struct targets *all)
{
	struct target *known = pick_known(all), *t;

	if (known && has_room(all, known))
		return known;
	t = pick_untried(all);
	if (t)
		t->proof = TARGET_TRYING;
	return t ? t : known;
}

void target_tried(struct targets *all, uint32_t id, bool known)
{
	struct target *t = target_by_id(all, id);

	if (t && known) {
		t->proof = TARGET_KNOWN;
		t->after_ms = t->refusals = 0;
	} else if (t && t->proof == TARGET_TRYING) {
		t->proof = TARGET_UNTRIED;
	}
}

bool target_refused(struct targets *all, uint32_t id)
{
	struct target *t = target_by_id(all, id), *other = NULL;

	while ((other = target_next(all, other)) &&
	       (other == t || other->proof != TARGET_KNOWN ||
		!is_at_hand(other)))
		;
	if (!other || !t)
		return other;
	t->proof = TARGET_UNTRIED;
	t->after_ms = clock_ms() + (UINT64_C(1) << t->refusals);
	if (t->refusals < REFUSALS_MAX)
		t->refusals++;
	return true;
}

int targets_excess(struct targets *all)
{
	int excess = 0;

	for (struct target *t = NULL; (t = target_next(all, t));)
		excess += (int)traffic_in_flight(t->traffic) - all->concurrency;
	return all->concurrency ? excess : 0;
}

/* ---------------------------------------------------------------- opening */

static void target_open(struct target *t, const char *app)
{
	static uint32_t last_id;

	last_id += last_id == UINT32_MAX ? 2 : 1;
	t->id = last_id;
	t->traffic = traffic_get(t->container);
	t->stock = stock_get(t->container,
			     address_is_mapped(t->address) ? 0 : STOCK_V6);
	if (!t->stock)
		log_error(app,
			  "more than %d containers "
			  "with ports: not served",
			  STOCK_COUNT_MAX);
}

static void target_close(struct target *t)
{
	if (t->stock)
		stock_put(t->stock);
	traffic_put(t->traffic);
}

/* Name and address of each, without the rest. */
static void targets_read(struct targets *out, const struct net_route *r,
			 const char *app)
{
	const struct net_route_other *o = r->other;
	struct target *t = out->at;

	*out = (struct targets){ 0 };
	if (r->state != NET_ROUTE_OPEN)
		return;
	out->concurrency = r->concurrency;
	text_copy(t->container, sizeof(t->container), r->container);
	memcpy(t->address, r->address, sizeof(t->address));
	for (; o < r->other + NET_ROUTE_OTHERS && o->instance; o++) {
		t++;
		snprintf(t->container, sizeof(t->container), "%.52s-%u", app,
			 o->instance);
		t->address[10] = t->address[11] = 0xff;
		memcpy(t->address + 12, o->address, sizeof(o->address));
	}
}

static struct target *same(struct targets *all, const struct target *as)
{
	struct target *t = NULL;

	while ((t = target_next(all, t)) &&
	       (strcmp(t->container, as->container) != 0 ||
		memcmp(t->address, as->address, sizeof(t->address)) != 0))
		;
	return t;
}

void targets_set(struct targets *all, const struct net_route *route,
		 const char *app)
{
	struct targets old = *all;
	struct target *t;

	targets_read(all, route, app);
	for (t = all->at; t < all->at + TARGETS_MAX && t->container[0]; t++) {
		struct target *was = same(&old, t);

		if (was)
			*t = *was;
		else
			target_open(t, app);
	}
	for (t = NULL; (t = target_next(&old, t));)
		if (!target_by_id(all, t->id))
			target_close(t);
}
