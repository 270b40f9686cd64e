/* changed -> (damper) -> rows of znode -> report -> PUT. `stale` says that
 * something may have changed since the rows that were last asked for; it alone
 * decides whether there is another round. */
#define _GNU_SOURCE
#include "observe.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent.h"
#include "base/fd.h"
#include "base/log.h"
#include "identity.h"
#include "json.h"
#include "link.h"
#include "node.h"
#include "pace.h"
#include "report.h"
#include "watch.h"

enum { ANSWER_MS = 15000, AGAIN_MS = 10000, NODE_MS = 3000 };

static struct {
	bool stale, forced, listing, sending;
	struct timer timer; /* until the next round may begin */
	struct timer late;  /* znode does not answer: tell without it */
	struct damper damper;
	uint64_t epoch, revision; /* obeyed when the rows were asked for */
	bool told;		  /* `last` is what the hub knows */
	struct digest last, now;
} observe;

static void consider(void);

static void timer_fire(struct timer *t)
{
	(void)t;
	consider();
}

/* Begins a round when one is due. */
static void consider(void)
{
	uint64_t wait = damper_wait_ms(&observe.damper, clock_ms());

	if ((!observe.stale && !observe.forced) || observe.listing ||
	    observe.sending || !link_client())
		return;
	observe.timer.fire = timer_fire;
	if (wait && !observe.forced) {
		timer_set(&agent.loop, &observe.timer, wait);
		return;
	}
	timer_cancel(&observe.timer);
	observe.stale = false;
	observe.listing = true;
	timer_set(&agent.loop, &observe.late, NODE_MS);
	/* Of a document that comes meanwhile the rows may not know yet. */
	watch_obeyed(&observe.epoch, &observe.revision);
	node_list();
}

static void answered(void *user, int error, int status, struct span body)
{
	char why[200];

	(void)user;
	observe.sending = false;
	if (error == -ECANCELED)
		return;
	if (error == 0 && status == 200) {
		observe.told = true;
		observe.last = observe.now;
		consider();
		return;
	}
	if (error == -ETIMEDOUT)
		link_suspect();
	if (error == 0) {
		error_text(status, body, why, sizeof(why));
		log_warning("hub", "does not take the state of this node: %s",
			    why);
	}
	observe.stale = true;
	observe.timer.fire = timer_fire;
	timer_set(&agent.loop, &observe.timer, AGAIN_MS);
}

static void put(const char *json, size_t size)
{
	char path[128];
	struct http_call_config config = {
		.method = "PUT",
		.path = path,
		.body = http_bytes((struct span){ json, size }),
		.timeout_ms = ANSWER_MS,
	};

	snprintf(path, sizeof(path), "/v1/nodes/%s/observed", identity.node);
	if (http_fetch(link_client(), &config, 4096, answered, NULL) < 0)
		return; /* it ends: the next connection tells */
	observe.sending = true;
	/* What was asked for is at the asker's cost, not the next change's. */
	if (!observe.forced)
		damper_sent(&observe.damper, clock_ms());
	observe.forced = false;
}

static void tell(const struct znode_app *rows, unsigned n)
{
	autofree char *json = NULL;
	size_t size;

	timer_cancel(&observe.late);
	observe.listing = false;
	if (!link_client())
		return;
	json = report_make(&(struct report){ .rows = rows,
					     .n = n,
					     .epoch = observe.epoch,
					     .revision = observe.revision,
					     .refusal = node_refusal() },
			   &size, &observe.now);
	if (json && (observe.forced || !observe.told ||
		     !digest_equal(&observe.now, &observe.last)))
		put(json, size);
	consider();
}

void observe_rows(const struct znode_app *rows, unsigned n)
{
	if (observe.listing)
		tell(rows, n);
}

/* The hub should know of a node whose znode is away; it keeps what it was told
 * of the apps, so nothing is sent in their place. */
static void late_fire(struct timer *t)
{
	(void)t;
	observe.listing = false;
	observe.stale = true;
}

void observe_changed(void)
{
	observe.stale = true;
	consider();
}

void observe_now(void)
{
	observe.forced = true;
	consider();
}

void observe_online(void)
{
	observe.told = false;
	observe.stale = true;
	observe.late.fire = late_fire;
	consider();
}

void observe_offline(void)
{
	timer_cancel(&observe.timer);
	timer_cancel(&observe.late);
	observe.listing = observe.sending = false;
	observe.told = false;
}
