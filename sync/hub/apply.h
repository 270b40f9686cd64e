/* From the applications that operators put to each node's desired document. */
#ifndef HUB_APPLY_H
#define HUB_APPLY_H

#include "node.h"

/* What a value of desired/ID starts with: "EPOCH REVISION\n", then the signed
 * envelope. */
struct desired_head {
	uint64_t epoch, revision;
};

/* Takes such a value apart. 0 or -EINVAL. */
int desired_stored(struct span value, struct desired_head *head,
		   struct span *envelope);

/* The node's document may be outdated: it is made anew soon, a few nodes in
 * each turn of the loop, and only signed when it says something else. */
void desired_mark(struct hub *hub, struct node *node);
void desired_mark_all(struct hub *hub);
void desired_unmark(struct hub *hub, struct node *node);

/* Whether the list "nodes" of an application names the node. */
bool application_names(yyjson_val *nodes, const struct node *node);

/* Calls each for every application with its parsed record. */
int applications_each(struct hub *hub,
		      int (*each)(void *context, const char *name,
				  yyjson_val *record),
		      void *context);

#endif
