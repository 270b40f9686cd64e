/* What nodes told of their apps, counted over all of them. */
#ifndef HUB_OBSERVE_H
#define HUB_OBSERVE_H

#include <stdint.h>

#include "base/znode_state.h"
#include "hub.h"

struct observe_counts {
	uint64_t apps[ZNODE_STATE_COUNT];
	uint64_t extras;      /* instances beside the first of an app */
	uint64_t wakes;	      /* since each node's znode was started */
	uint64_t wake_p99_us; /* of the app that takes longest */
};

void observe_count(struct hub *hub, struct observe_counts *counts);

#endif
