/* x-zooid.reactive of a service: how it follows access. */
#include <string.h>

#include "compose_service.h"

struct reactive {
	uint64_t freeze_after, sleep_after, image_after, lifetime, concurrency;
	uint64_t max;
	unsigned sleep_after_line, image_after_line;
	const char *wake, *checkpoint;
};

static void time_read(struct walk *w, const struct compose_node *value,
		      uint64_t *ms)
{
	if (value_duration(w, value, ms) &&
	    (*ms < DESIRED_FREEZE_MIN_MS || *ms > DESIRED_TIME_MAX_MS))
		walk_fail(w, value->line, "want 100ms to 24h");
}

static void freeze_after_read(struct walk *w, const struct compose_node *value,
			      void *into)
{
	struct reactive *r = into;

	time_read(w, value, &r->freeze_after);
}

static void sleep_after_read(struct walk *w, const struct compose_node *value,
			     void *into)
{
	struct reactive *r = into;

	r->sleep_after_line = value->line;
	time_read(w, value, &r->sleep_after);
}

static void image_after_read(struct walk *w, const struct compose_node *value,
			     void *into)
{
	struct reactive *r = into;

	r->image_after_line = value->line;
	time_read(w, value, &r->image_after);
}

static void lifetime_read(struct walk *w, const struct compose_node *value,
			  void *into)
{
	struct reactive *r = into;

	if (value_duration(w, value, &r->lifetime) &&
	    (r->lifetime < DESIRED_LIFETIME_MIN_MS ||
	     r->lifetime > DESIRED_TIME_MAX_MS))
		walk_fail(w, value->line, "want 1s to 24h");
}

static void concurrency_read(struct walk *w, const struct compose_node *value,
			     void *into)
{
	struct reactive *r = into;

	if (value_number(w, value, UINT32_MAX, &r->concurrency) &&
	    (!r->concurrency || r->concurrency > DESIRED_CONCURRENCY_MAX))
		walk_fail(w, value->line, "want 1 to %u",
			  DESIRED_CONCURRENCY_MAX);
}

static void max_read(struct walk *w, const struct compose_node *value,
		     void *into)
{
	struct reactive *r = into;

	if (value_number(w, value, UINT32_MAX, &r->max) &&
	    (!r->max || r->max > DESIRED_INSTANCES_MAX))
		walk_fail(w, value->line, "want 1 to %u",
			  DESIRED_INSTANCES_MAX);
}

static void wake_read(struct walk *w, const struct compose_node *value,
		      void *into)
{
	struct reactive *r = into;

	r->wake = walk_text(w, value, "connect or byte");
	if (r->wake && strcmp(r->wake, "connect") != 0 &&
	    strcmp(r->wake, "byte") != 0)
		walk_fail(w, value->line, "\"%.40s\": want connect or byte",
			  r->wake);
}

static void checkpoint_read(struct walk *w, const struct compose_node *value,
			    void *into)
{
	struct reactive *r = into;

	r->checkpoint = walk_text(w, value, "listen");
	if (r->checkpoint && strcmp(r->checkpoint, "listen") != 0)
		walk_fail(w, value->line, "\"%.40s\": want listen",
			  r->checkpoint);
}

/* `reactive: {}`, and `reactive:` with nothing behind it, take the defaults. */
void reactive_read(struct walk *w, const struct compose_node *value, void *into)
{
	static const struct walk_key keys[] = {
		{ "freeze_after", freeze_after_read },
		{ "sleep_after", sleep_after_read },
		{ "image_after", image_after_read },
		{ "lifetime", lifetime_read },
		{ "concurrency", concurrency_read },
		{ "max", max_read },
		{ "wake", wake_read },
		{ "checkpoint", checkpoint_read },
	};
	struct service *s = into;
	struct reactive r = { 0 };
	yyjson_mut_val *o;

	walk_map(w, value, keys, ARRAY_SIZE(keys), NULL, &r);
	o = yyjson_mut_obj_add_obj(s->doc, s->app, "reactive");
	if (r.freeze_after)
		yyjson_mut_obj_add_uint(s->doc, o, "freeze_after_ms",
					r.freeze_after);
	s->sleep_after_line = r.sleep_after_line;
	if (r.sleep_after)
		yyjson_mut_obj_add_uint(s->doc, o, "sleep_after_ms",
					r.sleep_after);
	s->image_after_line = r.image_after_line;
	if (r.image_after)
		yyjson_mut_obj_add_uint(s->doc, o, "image_after_ms",
					r.image_after);
	if (r.lifetime)
		yyjson_mut_obj_add_uint(s->doc, o, "lifetime_ms", r.lifetime);
	if (!r.concurrency != !r.max)
		walk_fail(w, value->line,
			  "want max with concurrency, and the other way "
			  "round");
	if (r.max > 1)
		s->max_line = value->line;
	if (r.max)
		yyjson_mut_obj_add_uint(s->doc, o, "concurrency",
					r.concurrency);
	if (r.max)
		yyjson_mut_obj_add_uint(s->doc, o, "max", r.max);
	if (r.wake)
		yyjson_mut_obj_add_strcpy(s->doc, o, "wake", r.wake);
	if (r.checkpoint)
		yyjson_mut_obj_add_strcpy(s->doc, o, "checkpoint",
					  r.checkpoint);
}

void reactive_check(struct walk *w, const struct service *s)
{
	if (s->image_after_line && !s->n_ports)
		walk_fail(w, s->image_after_line,
			  "want ports with image_after: nothing else would "
			  "start it");
	if (s->sleep_after_line && !s->n_ports)
		walk_fail(w, s->sleep_after_line,
			  "want ports with sleep_after: nothing else would "
			  "wake it");
	if (s->max_line && !s->n_ports)
		walk_fail(w, s->max_line,
			  "want ports with max: only their clients are "
			  "spread");
}
