/* All who ask at the same time wait for the same answers: the first starts the
 * clock, the others join in. */
#include "fresh.h"

#include <stdlib.h>

#include "api.h"
#include "node.h"
#include "watch.h"

struct fresh_wait {
	struct api_call *call;
	void (*ready)(struct api_call *call);
	struct fresh_wait *next, **prevp;
};

static void wait_del(struct api_call *call)
{
	struct fresh_wait *w = call->state;

	*w->prevp = w->next;
	if (w->next)
		w->next->prevp = w->prevp;
	free(w);
	call->state = NULL;
	call->gone = NULL;
}

static void ready_all(struct hub *hub)
{
	timer_cancel(&hub->fresh.late);
	while (hub->fresh.waits) {
		struct api_call *call = hub->fresh.waits->call;
		void (*ready)(struct api_call *) = hub->fresh.waits->ready;

		wait_del(call);
		ready(call);
	}
}

static int give_up(void *hub, struct node *node)
{
	(void)hub;
	node->awaited = false;
	return 0;
}

static void late_fire(struct timer *t)
{
	struct hub *hub = container_of(t, struct hub, fresh.late);

	nodes_each(hub, give_up, NULL);
	hub->fresh.n_awaited = 0;
	ready_all(hub);
}

void fresh_told(struct hub *hub, struct node *node)
{
	if (!node->awaited)
		return;
	node->awaited = false;
	if (--hub->fresh.n_awaited == 0)
		ready_all(hub);
}

static int node_ask(void *context, struct node *node)
{
	struct hub *hub = context;
	uint64_t now = clock_ms();
	int64_t seen;

	if (node_state(node, &seen) != NODE_READY || node->awaited ||
	    (node->asked_ms && now - node->asked_ms < FRESH_AGAIN_MS))
		return 0;
	node->asked_ms = now;
	node->awaited = true;
	hub->fresh.n_awaited++;
	watch_observe(node->stream);
	return 0;
}

void fresh_ask(struct api_call *call, void (*ready)(struct api_call *call))
{
	struct hub *hub = call->hub;
	struct fresh_wait *w;

	nodes_each(hub, node_ask, hub);
	w = hub->fresh.n_awaited ? calloc(1, sizeof(*w)) : NULL;
	if (!w) {
		ready(call);
		return;
	}
	w->call = call;
	w->ready = ready;
	w->next = hub->fresh.waits;
	if (w->next)
		w->next->prevp = &w->next;
	w->prevp = &hub->fresh.waits;
	hub->fresh.waits = w;
	call->state = w;
	call->gone = wait_del;
	hub->fresh.late.fire = late_fire;
	if (!hub->fresh.late.deadline_ms)
		timer_set(&hub->loop, &hub->fresh.late, FRESH_WAIT_MS);
}
