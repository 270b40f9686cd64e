/* znode, which runs what the hub wants here (znode.h). It may come and go: what
 * is to be said to it waits, the newest of each kind. */
#ifndef AGENT_NODE_H
#define AGENT_NODE_H

#include "base/span.h"
#include "node/znode.h"

/* Starts to speak to it. */
void node_open(void);

/* Hands it a desired document in its envelope, instead of one that still
 * waits; watch_acknowledge() follows when it is on stable storage. */
void node_desired(struct span envelope);
/* Why the last document was not taken, or "". */
const char *node_refusal(void);

/* Lists what runs; observe_rows() follows. */
void node_list(void);

#endif
