/* Homeostasis: an instance that has reached its lifetime is replaced as if its
 * content had changed (app_replace.c), so whatever an instance gathers (leaked
 * memory, a stale file, a broken cache) is gone within one lifetime, and what
 * it is made from has reached each instance by then.
 * One that sleeps is forgotten, and the next client gets a new one.
 *
 * One earlier instance at most drains meanwhile: where clients hold on to that,
 * the next one becomes older than its lifetime rather than one more. */
#include <string.h>

#include "base/hash.h"

#include "app_step.h"
#include "node.h"

enum { SPREAD = 8 };

/* Those that were started together are not replaced together: up to an eighth
 * earlier, by the id. */
static uint64_t lifetime_of(const struct app *app)
{
	uint64_t ms = app->want ? app->want->reactive.lifetime_ms : 0;

	return ms -
	       ms / SPREAD * (hash_of(app->id, strlen(app->id)) & 255) / 256;
}

static uint64_t due_ms(const struct app *app)
{
	bool is_there = app->alive || app->state == ZNODE_ASLEEP;
	uint64_t lifetime = is_there ? lifetime_of(app) : 0;

	return lifetime ? app->note.born_ms + lifetime : 0;
}

bool app_is_aged(const struct app *app)
{
	uint64_t due = due_ms(app);

	return due && clock_boot_ms() >= due && !app->old &&
	       !app_drains_for(app);
}

uint32_t app_aged_in_ms(const struct app *app)
{
	uint64_t due = due_ms(app), now = clock_boot_ms();

	return due > now ? (uint32_t)(due - now) : 0;
}

static void fire(struct timer *t)
{
	app_step(container_of(t, struct app, lifetime));
}

void app_lifetime_step(struct app *app)
{
	uint64_t due = due_ms(app), now = clock_boot_ms();

	app->lifetime.fire = fire;
	if (due > now)
		timer_set(app->host->loop, &app->lifetime, due - now);
	else
		timer_cancel(&app->lifetime);
}
