/* The containers that the connections of one listener lead to: one, or several
 * of one application that share the work.
 *
 * A connection is led to the first that works on fewer requests than it may,
 * so that the last ones are the first to have nothing to do. Whether one that
 * is new takes connections is found out by a single one, its trial: while
 * others are known to, a refusal costs that one no time.
 *
 * Rule of use: targets are found again by their id, for a route may change
 * while a connection is on its way. */
#ifndef NET_TARGET_H
#define NET_TARGET_H

#include <stdbool.h>
#include <stdint.h>

#include "route.h"
#include "stock.h"
#include "traffic.h"

enum { TARGETS_MAX = 1 + NET_ROUTE_OTHERS };

enum target_proof {
	TARGET_UNTRIED,
	TARGET_TRYING, /* nobody else is led to it */
	TARGET_KNOWN,
};

struct target {
	uint32_t id; /* 0: none, and none after it */
	char container[64];
	uint8_t address[16]; /* inside; v4 is mapped */
	struct stock *stock; /* NULL: no room for one */
	struct traffic *traffic;
	unsigned int datagrams; /* flows; in_datagram.c's */
	enum target_proof proof;
	uint8_t refusals;  /* in a row, while others took clients: */
	uint64_t after_ms; /* it is not tried before */
};

struct targets {
	struct target at[TARGETS_MAX];
	uint16_t concurrency; /* requests that each may work on; 0: any */
};

/* Those of an open route of `app`, or none. Those that were there before stay
 * what they are. */
void targets_set(struct targets *all, const struct net_route *route,
		 const char *app);

/* The target after t, the first one after NULL; NULL at the end. */
struct target *target_next(struct targets *all, struct target *t);
struct target *target_by_id(struct targets *all, uint32_t id);

/* Whether target_pick() would find one; finds one. Of one whose proof is
 * TARGET_TRYING then, the connection is the trial. */
bool targets_ready(struct targets *all);
struct target *target_pick(struct targets *all);

/* A trial ended: it takes connections (known), or that is open still. */
void target_tried(struct targets *all, uint32_t id, bool known);
/* It refused one. Whether another one can be picked for that. */
bool target_refused(struct targets *all, uint32_t id);

/* How many more requests they work on than they may; less: negative. 0 where
 * nothing is said of that. */
int targets_excess(struct targets *all);

#endif
