/* Before operators see a table, the nodes in it are asked to tell anew how
 * things stand. Nobody waits for a node that does not: the table comes after
 * FRESH_WAIT_MS at the latest, with what is known. */
#ifndef HUB_FRESH_H
#define HUB_FRESH_H

#include "base/loop.h"

enum {
	FRESH_WAIT_MS = 300,
	FRESH_AGAIN_MS = 2000, /* a node is not asked more often */
};

struct api_call;
struct fresh_wait;
struct hub;
struct node;

/* Member of struct hub. */
struct fresh {
	struct fresh_wait *waits;
	unsigned n_awaited; /* nodes that may still answer in time */
	struct timer late;
};

/* Asks the connected nodes, then calls ready(call), perhaps before this
 * returns, unless the request goes first. Uses call->state and call->gone. */
void fresh_ask(struct api_call *call, void (*ready)(struct api_call *call));

/* The node told, or it cannot any more. */
void fresh_told(struct hub *hub, struct node *node);

#endif
