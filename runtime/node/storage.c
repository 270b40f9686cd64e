#include "storage.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/span.h"

#include "node.h"
#include "volume.h"

enum { STORAGE_MS = 15000, ANSWERS_MAX = 64 };

static struct call call = { .fd = -1, .memfd = -1, .stdio = -1 };
static struct timer timer;

/* What serve says of one that is full. */
struct full {
	struct span what, name;
	uint64_t used, limit; /* MiB */
};

static bool full_read(struct span text, struct full *f)
{
	struct span used;

	return span_cut(&text, ' ', &f->what) &&
	       span_cut(&text, ' ', &f->name) && span_cut(&text, ' ', &used) &&
	       span_u64(used, UINT64_MAX, &f->used) == 0 &&
	       span_u64(text, UINT64_MAX, &f->limit) == 0;
}

static bool has_volume(const struct app *app, struct span name)
{
	char own[VOLUME_NAME_SIZE];

	for (unsigned i = 0; app->want && i < app->want->n_mounts; i++) {
		const struct desired_mount *m = &app->want->mount[i];

		if (m->type != DESIRED_MOUNT_VOLUME)
			continue;
		volume_name(app->want, m, own);
		if (span_is(name, own))
			return true;
	}
	return false;
}

static void tell(struct app *app, const struct full *f)
{
	static const struct {
		const char *what, *text;
	} kinds[] = {
		{ "volume", "volume " },
		{ "container", "what it may write beside volumes" },
		{ "all-volume", "all volumes together" },
		{ "all-container", "all containers together" },
	};
	int name_size = f->name.size < 40 ? (int)f->name.size : 40;
	char text[sizeof(app->limits.text)];

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (!span_is(f->what, kinds[i].what))
			continue;
		snprintf(text, sizeof(text),
			 "has used %llu of the %llu MB of %s%.*s",
			 (unsigned long long)f->used,
			 (unsigned long long)f->limit, kinds[i].text,
			 i == 0 ? name_size : 0, f->name.data);
		limits_say_full(app, text);
	}
}

static bool is_about_container(const struct full *f)
{
	return span_is(f->what, "container") ||
	       span_is(f->what, "all-container");
}

static void take(const struct full *f)
{
	bool by_id = is_about_container(f);

	for (int i = 0; i < node.n_slots; i++) {
		struct app *app = &node.app[i];

		if (app->in_use && (by_id ? span_is(f->name, app->id)
					  : has_volume(app, f->name)))
			tell(app, f);
	}
}

static void round_end(bool whole)
{
	for (int i = 0; whole && i < node.n_slots; i++) {
		if (node.app[i].in_use)
			limits_full_seen(&node.app[i]);
	}
	timer_set(&node.loop, &timer, STORAGE_MS);
}

static void ask(uint32_t number);

static void answered(struct call *c, const union call_reply *any, int fd)
{
	const struct zrun_reply *reply = &any->zrun;
	struct full f;

	(void)fd;
	if (reply->error) {
		round_end(reply->error == -ENOENT);
		return;
	}
	if (full_read(span_of(reply->text), &f))
		take(&f);
	if (c->request.zrun.arg + 1 < ANSWERS_MAX)
		ask(c->request.zrun.arg + 1);
	else
		round_end(true);
}

static void ask(uint32_t number)
{
	call_zrun(&call, "")->arg = number;
	call.done = answered;
	if (call_send(&node.loop, &call, CALL_ZRUN, ZRUN_FULL, -1) < 0)
		round_end(false);
}

static void timer_fire(struct timer *t)
{
	bool any = false;

	/* Who is frozen or asleep writes nothing. */
	for (int i = 0; i < node.n_slots; i++)
		any = any || (node.app[i].in_use &&
			      node.app[i].state == ZNODE_RUNNING);
	if (any)
		ask(0);
	else
		timer_set(&node.loop, t, STORAGE_MS);
}

void storage_begin(void)
{
	timer.fire = timer_fire;
	timer_set(&node.loop, &timer, STORAGE_MS);
}
