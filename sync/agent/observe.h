/* Observed state: what runs here, told to the hub when it changes.
 *
 * The latest wins: there is one report under way at most, and whatever changed
 * meanwhile makes one more. Counters never make one; they go along. */
#ifndef AGENT_OBSERVE_H
#define AGENT_OBSERVE_H

#include "node/znode.h"

/* Something may have changed. */
void observe_changed(void);
/* The hub wants it anew, changed or not. */
void observe_now(void);
/* A connection is there, and the hub may know nothing; or it went. */
void observe_online(void);
void observe_offline(void);

/* All rows of znode, answer to node_list(). */
void observe_rows(const struct znode_app *rows, unsigned n);

#endif
