/* The nodes that this hub knows: their records (node/ID of the store) and what
 * is known of them just now. Records are JSON:
 *	{"name","board","arch","place","labels","key","token","enrolled",
 *	 "revoked"}
 * where key is the sha256 of the node's public key. */
#ifndef HUB_NODE_H
#define HUB_NODE_H

#include "hub.h"

struct watch_stream;

struct node {
	char id[64], name[64];
	bool revoked;
	bool dirty;   /* its desired document may be outdated */
	bool awaited; /* was asked to tell and may in time */
	uint64_t asked_ms;
	struct watch_stream *stream; /* while it is connected */
	unsigned heartbeat_s;
	int64_t seen; /* when it was last heard, while it is not connected */
	/* For pulls; dies with the hub, the node asks for another. */
	char pull_token[65];
	int64_t pull_expires;
	uint64_t acknowledged_epoch, acknowledged_revision;
	struct node *next, *next_named;
	struct node *next_dirty;
	struct hub *hub;
	struct store_wait settled; /* of a newcomer */
};

/* The newcomer of nodes_add(). */
struct node_record {
	char id[64], name[64], board[64], arch[32], place[128], key[65],
		token[64];
	yyjson_val *labels; /* or NULL */
};

/* Reads all records. 0 or -errno. */
int nodes_load(struct hub *hub);
void nodes_free(struct hub *hub);

struct node *node_find(struct hub *hub, const char *id);
struct node *node_named(struct hub *hub, const char *name);
/* By id or else by name. */
struct node *node_either(struct hub *hub, const char *text);
bool node_is_revoked(struct hub *hub, const char *id);

/* Puts the record into the open round and makes the node known. 0, -EAGAIN (the
 * id is taken), -errno of store_put(). */
int node_add(struct hub *hub, const struct node_record *record,
	     struct node **node);
/* A newcomer whose round fails is forgotten again. It has no certificate yet,
 * so nothing can refer to it. */
void node_forget_unless_settled(struct node *node);
/* Marks it as revoked for ever, frees its name, ends its connection. */
int node_revoke(struct hub *hub, struct node *node);

/* Calls each for every node, in no order; anything but 0 ends it. */
int nodes_each(struct hub *hub, int (*each)(void *context, struct node *node),
	       void *context);

enum node_state { NODE_READY, NODE_STALE, NODE_OFFLINE, NODE_REVOKED };

/* What an operator is told; *seen is when it was last heard, or 0. */
enum node_state node_state(const struct node *node, int64_t *seen);
const char *node_state_name(enum node_state state);

#endif
