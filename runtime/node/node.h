/* All applications of the node, and the daemon around them. */
#ifndef NODE_NODE_H
#define NODE_NODE_H

#include "app.h"

/* Room for applications and for containers that none of them wants. */
enum { NODE_SLOTS = 2 * NODE_APPS_MAX };

struct node {
	struct loop loop;
	struct app_host host;
	struct node_json json;
	bool readable; /* node.json could be read: strays are not wanted */
	struct app app[NODE_SLOTS];
};

extern struct node node;

/* Reads node.json in directory node.host.boot and makes its applications. Never
 * fails: a node without a good file runs none, and says why. */
void node_load(void);

/* Connects to init; applications are stepped once all that exists is known,
 * then `ready` is called. 0 or -errno, logged. */
int node_open(void (*ready)(void));

/* The application of that name, or NULL. */
struct app *node_find(const char *name);

#endif
