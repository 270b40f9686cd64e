/* The connections through znet. See flow.c for how they work. */
#ifndef NET_FLOW_H
#define NET_FLOW_H

#include <stdbool.h>

#include "base/loop.h"
#include "listener.h"
#include "node_address.h"

void flow_init(struct loop *loop);

/* Whether there is room for one more of l's. */
bool flow_room(const struct listener *l);

/* Leads `client` (which becomes the flow's) to l's container. */
void flow_begin(struct listener *l, int client, const union node_address *from);

/* l's route or stock changed: connections that wait for it try again. */
void flow_retry(struct listener *l);

/* Whether a connection waits for a container of l. */
bool flow_waits(const struct listener *l);

/* l is gone: connections that wait for it end; open ones stay. */
void flow_forget(struct listener *l);

void flow_counts(struct znet_counts *out);

#endif
