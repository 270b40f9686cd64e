/* #syscalls: inotify_add_watch inotify_rm_watch */
#define _GNU_SOURCE
#include "limits.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/log.h"
#include "base/path.h"
#include "zrun/serve.h"

#include "app_step.h"
#include "node.h"
#include "usage.h"

enum { AGAIN_MS = 60000 };

static const struct {
	const char *file, *key;
} counters[] = {
	[LIMIT_PIDS] = { "pids.events", "max " },
	[LIMIT_MEMORY] = { "memory.events", "oom_kill " },
};

_Static_assert(sizeof(counters) / sizeof(counters[0]) == LIMIT_WATCHED,
	       "a file for each");

static struct watch events = { .fd = -1 };

static void describe(const struct app *app, enum limit_kind kind,
		     unsigned long long times, char text[LIMIT_TEXT_SIZE])
{
	unsigned long long mb = app->want->memory_bytes >> 20;
	char most[32] = "";

	switch (kind) {
	case LIMIT_PIDS:
		if (app->want->pids)
			snprintf(most, sizeof(most), "%llu ",
				 (unsigned long long)app->want->pids);
		snprintf(text, LIMIT_TEXT_SIZE,
			 "ran into its limit of %sprocesses (%llu times)", most,
			 times);
		break;
	case LIMIT_MEMORY:
		if (mb)
			snprintf(most, sizeof(most), "%llu ", mb);
		snprintf(text, LIMIT_TEXT_SIZE,
			 "ran out of its %sMB of memory (%llu killed)", most,
			 times);
		break;
	case LIMIT_LOG:
		snprintf(text, LIMIT_TEXT_SIZE,
			 "floods its log (%llu lines dropped)", times);
		break;
	case LIMIT_COUNT:
		break;
	}
}

static uint64_t counted(const struct app *app, enum limit_kind kind)
{
	return kind == LIMIT_LOG ? app->limits.count[kind]
				 : usage_count(app->id, counters[kind].file,
					       counters[kind].key);
}

static void say(struct app *app, enum limit_kind kind, uint64_t now)
{
	struct app_limits *l = &app->limits;

	describe(app, kind, now - l->seen[kind], l->text);
	l->seen[kind] = now;
	l->last = kind;
	log_warning(app->name, "%s %s", app->id, l->text);
	timer_set(&node.loop, &l->timer, AGAIN_MS);
}

/* What was counted since the last look: of one limit, the next one in turn, so
 * that one which is run into all the time hides no other. */
static void look(struct app *app)
{
	struct app_limits *l = &app->limits;

	for (int i = 1; app->want && i <= LIMIT_COUNT; i++) {
		enum limit_kind kind = (l->last + (unsigned)i) % LIMIT_COUNT;
		uint64_t now = counted(app, kind);

		if (now > l->seen[kind]) {
			say(app, kind, now);
			return;
		}
	}
}

static void watches_end(struct app_limits *l)
{
	for (int k = 0; k < LIMIT_WATCHED; k++) {
		if (l->watch[k] >= 0)
			inotify_rm_watch(events.fd, l->watch[k]);
		l->watch[k] = -1;
	}
}

/* To be looked at after it: what comes from then on is told. */
static void watches_begin(struct app *app)
{
	char path[4096];

	for (int k = 0; k < LIMIT_WATCHED; k++) {
		snprintf(path, sizeof(path), "%s/" ZRUN_CGROUP_LINKS "/%s/%s",
			 path_run(), app->id, counters[k].file);
		app->limits.watch[k] = inotify_add_watch(events.fd, path,
							 IN_MODIFY);
	}
}

/* A container that forks without bound must not keep znode busy: after a look
 * that found something nothing is watched until the next. */
static void look_once(struct app *app)
{
	look(app);
	if (app->limits.timer.deadline_ms)
		watches_end(&app->limits);
	app->host->changed(app);
}

static void timer_fire(struct timer *t)
{
	struct app *app = container_of(t, struct app, limits.timer);

	watches_begin(app);
	look_once(app);
}

static void event_take(int watch)
{
	for (int i = 0; i < node.n_slots; i++) {
		struct app *app = &node.app[i];

		for (int k = 0; app->in_use && k < LIMIT_WATCHED; k++) {
			if (app->limits.watch[k] == watch) {
				look_once(app);
				return;
			}
		}
	}
}

/* Their names are empty: files are watched, not directories. */
static void events_ready(struct watch *w, uint32_t ready)
{
	struct inotify_event e[16];
	ssize_t n = read(w->fd, e, sizeof(e));

	(void)ready;
	for (ssize_t i = 0; i * (ssize_t)sizeof(*e) < n; i++)
		if (e[i].mask & IN_MODIFY)
			event_take(e[i].wd);
}

void limits_open(struct loop *loop)
{
	int fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	int r = fd < 0 ? -errno : 0;

	events.ready = events_ready;
	if (r == 0)
		r = watch_add(loop, &events, fd, EPOLLIN);
	if (r < 0)
		log_error("limits", "not watched: %s", strerror(-r));
}

void limits_init(struct app *app)
{
	app->limits.timer.fire = timer_fire;
	for (int k = 0; k < LIMIT_WATCHED; k++)
		app->limits.watch[k] = -1;
}

void limits_begin(struct app *app)
{
	struct app_limits *l = &app->limits;

	limits_end(app);
	watches_begin(app);
	/* Of one that an earlier znode started it was said then. */
	for (int k = 0; k < LIMIT_COUNT; k++)
		l->seen[k] = counted(app, (enum limit_kind)k);
	l->last = LIMIT_COUNT - 1;
}

void limits_end(struct app *app)
{
	timer_cancel(&app->limits.timer);
	watches_end(&app->limits);
	app->limits.text[0] = '\0';
	/* Of the next instance it is said anew. */
	app->limits.full = app->limits.full_seen = false;
}

void limits_count(struct app *app, enum limit_kind kind, uint64_t n)
{
	app->limits.count[kind] += n;
	if (!app->limits.timer.deadline_ms)
		look_once(app);
}

void limits_say_full(struct app *app, const char *text)
{
	struct app_limits *l = &app->limits;

	l->full_seen = true;
	if (l->full)
		return;
	l->full = true;
	text_copy(l->text, sizeof(l->text), text);
	log_warning(app->name, "%s %s", app->id, l->text);
	app->host->changed(app);
}

void limits_full_seen(struct app *app)
{
	app->limits.full = app->limits.full_seen;
	app->limits.full_seen = false;
}
