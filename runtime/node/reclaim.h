/* The memory of who is frozen for longer is given back: zrun pushes it out to
 * compressed memory (ZRUN_RECLAIM), from which it comes back page by page as it
 * is used. That costs work, so it is done once somebody has been frozen for as
 * long again as it took to freeze him; at once where a person froze him. One
 * after another: what runs is not to be held up by those that do not.
 * Private to app*.c and reactor.c. */
#ifndef NODE_RECLAIM_H
#define NODE_RECLAIM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"

struct app;

struct app_reclaim {
	struct timer timer; /* from frozen to there */
	bool due;	    /* waits its turn */
};

void reclaim_init(struct app *app);
/* It was frozen, to be pushed out in so many ms; it was thawed, or is gone,
 * which zrun sees for itself where it has begun. */
void reclaim_frozen(struct app *app, uint32_t after_ms);
void reclaim_thawed(struct app *app);

#endif
