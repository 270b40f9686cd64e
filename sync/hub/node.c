#include "node.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "apply.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/stamp.h"
#include "watch.h"

enum {
	LISTS = 1024,
	HEARTBEAT_S = 75, /* unless the node says otherwise */
};

struct nodes {
	struct node *by_id[LISTS], *by_name[LISTS];
};

static unsigned hash(const char *text)
{
	uint32_t h = 2166136261u; /* FNV-1a */

	for (; *text; text++)
		h = (h ^ (unsigned char)*text) * 16777619u;
	return h % LISTS;
}

struct node *node_find(struct hub *hub, const char *id)
{
	struct node *n = hub->nodes->by_id[hash(id)];

	while (n && strcmp(n->id, id))
		n = n->next;
	return n;
}

struct node *node_named(struct hub *hub, const char *name)
{
	struct node *n = hub->nodes->by_name[hash(name)];

	while (n && strcmp(n->name, name))
		n = n->next_named;
	return n;
}

struct node *node_either(struct hub *hub, const char *text)
{
	struct node *n = node_find(hub, text);

	return n ? n : node_named(hub, text);
}

bool node_is_revoked(struct hub *hub, const char *id)
{
	const struct node *n = node_find(hub, id);

	return n && n->revoked;
}

static struct node *node_new(struct hub *hub, const char *id, const char *name,
			     bool revoked)
{
	struct node *n = calloc(1, sizeof(*n)), **list;

	if (!n)
		return NULL;
	text_copy(n->id, sizeof(n->id), id);
	text_copy(n->name, sizeof(n->name), name);
	n->revoked = revoked;
	n->heartbeat_s = HEARTBEAT_S;
	n->hub = hub;
	list = &hub->nodes->by_id[hash(id)];
	n->next = *list;
	*list = n;
	/* The name of one that was revoked is free. */
	if (!revoked) {
		list = &hub->nodes->by_name[hash(name)];
		n->next_named = *list;
		*list = n;
	}
	return n;
}

static void name_forget(struct hub *hub, struct node *node)
{
	struct node **p = &hub->nodes->by_name[hash(node->name)];

	while (*p && *p != node)
		p = &(*p)->next_named;
	if (*p)
		*p = node->next_named;
}

/* ---- what the store holds ---- */

/* The acknowledgement and the last sign of life are notes. */
static void notes_load(struct hub *hub, struct node *n)
{
	autofree char *text = NULL;
	yyjson_doc *doc;
	char key[96];
	size_t size;

	snprintf(key, sizeof(key), "acknowledged/%s", n->id);
	if (store_note_get(hub->store, key, &text, &size) < 0)
		return;
	doc = yyjson_read(text, size, 0);
	n->acknowledged_epoch = member_u64(yyjson_doc_get_root(doc), "epoch",
					   0);
	n->acknowledged_revision = member_u64(yyjson_doc_get_root(doc),
					      "revision", 0);
	n->seen = (int64_t)member_u64(yyjson_doc_get_root(doc), "seen", 0);
	yyjson_doc_free(doc);
}

static int node_load(void *context, const struct store_entry *e)
{
	struct hub *hub = context;
	yyjson_doc *doc = yyjson_read(e->value.data, e->value.size, 0);
	yyjson_val *root = yyjson_doc_get_root(doc);
	char name[64];
	struct node *n;

	if (!doc || member_text(root, "name", name, sizeof(name)) < 0) {
		log_error(e->key.data, "cannot be read: left out");
		yyjson_doc_free(doc);
		return 0;
	}
	n = node_new(hub, e->key.data + strlen("node/"), name,
		     yyjson_get_bool(yyjson_obj_get(root, "revoked")));
	yyjson_doc_free(doc);
	if (!n)
		return -ENOMEM;
	notes_load(hub, n);
	return 0;
}

int nodes_load(struct hub *hub)
{
	hub->nodes = calloc(1, sizeof(*hub->nodes));
	if (!hub->nodes)
		return -ENOMEM;
	return store_range(hub->store, "node/", "", UINT32_MAX, node_load, hub);
}

void nodes_free(struct hub *hub)
{
	for (unsigned i = 0; hub->nodes && i < LISTS; i++)
		while (hub->nodes->by_id[i]) {
			struct node *n = hub->nodes->by_id[i];

			hub->nodes->by_id[i] = n->next;
			store_wait_cancel(&n->settled);
			free(n);
		}
	free(hub->nodes);
	hub->nodes = NULL;
}

int node_add(struct hub *hub, const struct node_record *r, struct node **node)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc);
	char at[STAMP_SIZE], key[96];
	int err;

	stamp_make(time(NULL), at);
	yyjson_mut_doc_set_root(doc, root);
	yyjson_mut_obj_add_str(doc, root, "name", r->name);
	yyjson_mut_obj_add_str(doc, root, "board", r->board);
	yyjson_mut_obj_add_str(doc, root, "arch", r->arch);
	yyjson_mut_obj_add_str(doc, root, "place", r->place);
	if (r->labels)
		yyjson_mut_obj_add_val(doc, root, "labels",
				       yyjson_val_mut_copy(doc, r->labels));
	yyjson_mut_obj_add_str(doc, root, "key", r->key);
	yyjson_mut_obj_add_str(doc, root, "token", r->token);
	yyjson_mut_obj_add_str(doc, root, "enrolled", at);
	snprintf(key, sizeof(key), "node/%s", r->id);
	err = stored_put(hub->store, key, doc, STORE_NEW);
	if (err < 0)
		return err;
	snprintf(key, sizeof(key), "key/%s", r->key);
	err = store_put(hub->store, key, span_of(r->id), STORE_ANY, NULL);
	if (err < 0)
		return err;
	*node = node_new(hub, r->id, r->name, false);
	return *node ? 0 : -ENOMEM;
}

static void node_settled(struct store_wait *w, int error)
{
	struct node *n = container_of(w, struct node, settled), **p;
	struct hub *hub = n->hub;

	if (error == 0)
		return;
	for (p = &hub->nodes->by_id[hash(n->id)]; *p != n; p = &(*p)->next)
		;
	*p = n->next;
	name_forget(hub, n);
	desired_unmark(hub, n);
	free(n);
}

void node_forget_unless_settled(struct node *n)
{
	n->settled.done = node_settled;
	store_settled(n->hub->store, &n->settled);
}

int node_revoke(struct hub *hub, struct node *node)
{
	char key[96];
	yyjson_doc *old;
	yyjson_mut_doc *doc;
	int err;

	snprintf(key, sizeof(key), "node/%s", node->id);
	old = stored_document(hub->store, key);
	if (!old)
		return -EIO;
	doc = yyjson_doc_mut_copy(old, NULL);
	yyjson_doc_free(old);
	yyjson_mut_obj_add_bool(doc, yyjson_mut_doc_get_root(doc), "revoked",
				true);
	err = stored_put(hub->store, key, doc, STORE_ANY);
	if (err < 0)
		return err;
	name_forget(hub, node);
	node->revoked = true;
	node->pull_token[0] = '\0';
	if (node->stream)
		watch_disconnect(node->stream);
	return 0;
}

int nodes_each(struct hub *hub, int (*each)(void *context, struct node *node),
	       void *context)
{
	int err = 0;

	for (unsigned i = 0; i < LISTS; i++)
		for (struct node *n = hub->nodes->by_id[i]; n && err == 0;
		     n = n->next)
			err = each(context, n);
	return err;
}

/* ---- state ---- */

static const char *const state_names[] = {
	[NODE_READY] = "ready",
	[NODE_STALE] = "stale",
	[NODE_OFFLINE] = "offline",
	[NODE_REVOKED] = "revoked",
};

const char *node_state_name(enum node_state state)
{
	return state_names[state];
}

/* Two heartbeats and a half without a byte, PING included, make it stale. */
enum node_state node_state(const struct node *n, int64_t *seen)
{
	uint64_t silent_ms;

	*seen = n->seen;
	if (n->revoked)
		return NODE_REVOKED;
	if (!n->stream)
		return NODE_OFFLINE;
	silent_ms = clock_ms() - watch_heard_ms(n->stream);
	*seen = time(NULL) - (int64_t)(silent_ms / 1000);
	return silent_ms > n->heartbeat_s * 2500ULL ? NODE_STALE : NODE_READY;
}
