/* A node's document is what all applications that name it say together. It is
 * made from the store alone, so a hub that was killed between taking an
 * application and making the documents makes them when it starts. A digest of
 * what was last signed (the note plan/ID) keeps documents that say nothing new
 * from being signed: revisions mean changes. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apply.h"
#include "base/fd.h"
#include "base/log.h"
#include "oci/desired.h"
#include "oci/envelope.h"
#include "secret.h"
#include "wire/sign.h"

enum { NODES_A_TURN = 16, RETRY_MS = 5000, PLAN_SIZE = 160 };

int desired_stored(struct span value, struct desired_head *head,
		   struct span *envelope)
{
	struct span line, word;

	*envelope = value;
	if (!span_cut(envelope, '\n', &line) || !envelope->data ||
	    !span_cut(&line, ' ', &word) ||
	    span_u64(word, UINT64_MAX, &head->epoch) < 0 ||
	    span_u64(line, UINT64_MAX, &head->revision) < 0)
		return -EINVAL;
	return 0;
}

/* ---- what applications say of a node ---- */

bool application_names(yyjson_val *nodes, const struct node *node)
{
	yyjson_arr_iter iter;
	yyjson_val *v;

	yyjson_arr_iter_init(nodes, &iter);
	while ((v = yyjson_arr_iter_next(&iter)))
		if (yyjson_equals_str(v, node->name) ||
		    yyjson_equals_str(v, "*"))
			return true;
	return false;
}

struct each_context {
	int (*each)(void *, const char *, yyjson_val *);
	void *context;
};

static int each_record(void *context, const struct store_entry *e)
{
	struct each_context *c = context;
	yyjson_doc *doc = yyjson_read(e->value.data, e->value.size, 0);
	int err = doc ? c->each(c->context, e->key.data + strlen("app/"),
				yyjson_doc_get_root(doc))
		      : -EBADMSG;

	yyjson_doc_free(doc);
	return err;
}

int applications_each(struct hub *hub,
		      int (*each)(void *, const char *, yyjson_val *),
		      void *context)
{
	struct each_context c = { each, context };

	return store_range(hub->store, "app/", "", UINT32_MAX, each_record, &c);
}

struct build {
	const struct node *node;
	yyjson_mut_doc *doc;
	yyjson_mut_val *apps;
};

static int application_add(void *context, const char *name, yyjson_val *record)
{
	struct build *b = context;
	yyjson_arr_iter iter;
	yyjson_val *app;

	if (!application_names(yyjson_obj_get(record, "nodes"), b->node))
		return 0;
	yyjson_arr_iter_init(yyjson_obj_get(record, "apps"), &iter);
	while ((app = yyjson_arr_iter_next(&iter))) {
		yyjson_mut_val *copy = yyjson_val_mut_copy(b->doc, app);
		yyjson_mut_val *origin;

		yyjson_mut_obj_remove_key(copy, "origin");
		origin = yyjson_mut_obj_add_obj(b->doc, copy, "origin");
		yyjson_mut_obj_add_strcpy(b->doc, origin, "application", name);
		yyjson_mut_obj_add_val(
			b->doc, origin, "by",
			yyjson_val_mut_copy(b->doc,
					    yyjson_obj_get(record, "by")));
		yyjson_mut_obj_add_val(
			b->doc, origin, "at",
			yyjson_val_mut_copy(b->doc,
					    yyjson_obj_get(record, "at")));
		secrets_give(b->node->hub, b->node->id, b->doc, copy);
		yyjson_mut_arr_append(b->apps, copy);
	}
	return 0;
}

/* ---- signing ---- */

static int document_sign(struct hub *hub, const struct node *node,
			 const char *payload, uint64_t revision)
{
	autofree char *envelope = NULL, *value = NULL;
	char key[96];
	size_t size;
	int err;

	err = envelope_sign(ENVELOPE_DESIRED, span_of(payload),
			    hub->ca.sign_key, span_of(hub->ca.sign_chain),
			    &envelope, &size);
	if (err < 0) {
		log_error(node->name, "cannot sign its document: %s",
			  strerror(-err));
		return err;
	}
	if (size > ENVELOPE_SIZE_MAX || strlen(payload) > DESIRED_SIZE_MAX)
		return -E2BIG;
	if (asprintf(&value, "%llu %llu\n%s",
		     (unsigned long long)store_epoch(hub->store),
		     (unsigned long long)revision, envelope) < 0) {
		value = NULL;
		return -ENOMEM;
	}
	snprintf(key, sizeof(key), "desired/%s", node->id);
	return store_put(hub->store, key, span_of(value), STORE_ANY, NULL);
}

/* The note of what was signed last: epoch, name and a digest of the apps. */
static void plan_text(struct hub *hub, const struct node *node,
		      const char *apps, char text[PLAN_SIZE])
{
	struct digest digest = digest_of(apps, strlen(apps));
	char hex[DIGEST_HEX_SIZE];

	digest_hex(&digest, hex);
	snprintf(text, PLAN_SIZE, "%llu %s %s",
		 (unsigned long long)store_epoch(hub->store), hex, node->name);
}

static bool plan_is_kept(struct hub *hub, const char *key, const char *text)
{
	autofree char *old = NULL;
	size_t size;

	return store_note_get(hub->store, key, &old, &size) == 0 &&
	       !strcmp(old, text);
}

/* The revision in the document is the one that the put will have. */
static int document_make(struct hub *hub, const struct node *node,
			 struct build *b)
{
	yyjson_mut_val *root = yyjson_mut_obj(b->doc);
	uint64_t revision = store_revision(hub->store) + 1;
	autofree char *apps = yyjson_mut_val_write(b->apps, 0, NULL);
	autofree char *payload = NULL;
	char key[96], plan[PLAN_SIZE];
	int err;

	if (!apps)
		return -ENOMEM;
	snprintf(key, sizeof(key), "plan/%s", node->id);
	plan_text(hub, node, apps, plan);
	if (plan_is_kept(hub, key, plan))
		return 0;
	yyjson_mut_doc_set_root(b->doc, root);
	yyjson_mut_obj_add_str(b->doc, root, "node", node->id);
	yyjson_mut_obj_add_str(b->doc, root, "name", node->name);
	yyjson_mut_obj_add_uint(b->doc, root, "epoch", store_epoch(hub->store));
	yyjson_mut_obj_add_uint(b->doc, root, "revision", revision);
	yyjson_mut_obj_add_str(b->doc, root, "registry", "hub");
	yyjson_mut_obj_add_val(b->doc, root, "apps", b->apps);
	payload = yyjson_mut_write(b->doc, 0, NULL);
	err = payload ? document_sign(hub, node, payload, revision) : -ENOMEM;
	return err < 0 ? err : store_note(hub->store, key, span_of(plan));
}

static int node_build(struct hub *hub, struct node *node)
{
	struct build b = { .node = node, .doc = yyjson_mut_doc_new(NULL) };
	int err;

	b.apps = yyjson_mut_arr(b.doc);
	err = applications_each(hub, application_add, &b);
	if (err == 0)
		err = document_make(hub, node, &b);
	yyjson_mut_doc_free(b.doc);
	return err;
}

/* ---- a few in each turn ---- */

static struct node *dirty_take(struct hub *hub)
{
	struct node *node = hub->dirty;

	hub->dirty = node->next_dirty;
	node->dirty = false;
	return node;
}

static void turn_fire(struct timer *t)
{
	struct hub *hub = container_of(t, struct hub, desired_turn);

	for (int i = 0; i < NODES_A_TURN && hub->dirty; i++) {
		struct node *node = dirty_take(hub);
		int err = node->revoked ? 0 : node_build(hub, node);

		if (err < 0) {
			log_error(node->name, "no new document: %s",
				  strerror(-err));
			desired_mark(hub, node);
			timer_set(&hub->loop, t, RETRY_MS);
			return;
		}
	}
	if (hub->dirty)
		timer_set(&hub->loop, t, 0);
}

void desired_mark(struct hub *hub, struct node *node)
{
	if (node->dirty)
		return;
	node->dirty = true;
	node->next_dirty = hub->dirty;
	hub->dirty = node;
	if (!hub->desired_turn.deadline_ms) {
		hub->desired_turn.fire = turn_fire;
		timer_set(&hub->loop, &hub->desired_turn, 0);
	}
}

void desired_unmark(struct hub *hub, struct node *node)
{
	struct node **p = &hub->dirty;

	while (*p && *p != node)
		p = &(*p)->next_dirty;
	if (*p)
		*p = node->next_dirty;
	node->dirty = false;
}

static int mark(void *hub, struct node *node)
{
	if (!node->revoked)
		desired_mark(hub, node);
	return 0;
}

void desired_mark_all(struct hub *hub)
{
	nodes_each(hub, mark, hub);
}
