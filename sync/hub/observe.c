/* What nodes tell of themselves, and where operators see it. The newest is kept
 * as a note, "SECONDS\n" and the node's own JSON: it may be lost with the last
 * second before a crash, since nodes tell it again when they connect. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "api.h"
#include "apply.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/stamp.h"
#include "enrol.h"
#include "handlers.h"
#include "observe.h"

enum { APPLICATIONS_MAX = 1024 };

/* ---- acknowledged ---- */

void acknowledged_handle(struct api_call *call)
{
	struct node *node = node_adopt(call->hub, call->request->peer);
	yyjson_doc *body = api_body(call);
	yyjson_val *root = yyjson_doc_get_root(body);

	if (!body)
		return;
	if (!node || !yyjson_is_uint(yyjson_obj_get(root, "epoch")) ||
	    !yyjson_is_uint(yyjson_obj_get(root, "revision"))) {
		api_fail(call, 400, "want epoch and revision");
	} else {
		node->acknowledged_epoch = member_u64(root, "epoch", 0);
		node->acknowledged_revision = member_u64(root, "revision", 0);
		api_reply(call, 200, NULL);
	}
	yyjson_doc_free(body);
}

/* ---- observed ---- */

/* The note of a node taken apart; NULL when it told nothing yet. */
static yyjson_doc *observed_load(struct hub *hub, const struct node *node,
				 int64_t *at)
{
	autofree char *text = NULL;
	struct span rest, line;
	uint64_t seconds = 0;
	char key[96];
	size_t size;

	snprintf(key, sizeof(key), "observed/%s", node->id);
	if (store_note_get(hub->store, key, &text, &size) < 0)
		return NULL;
	rest = (struct span){ text, size };
	if (!span_cut(&rest, '\n', &line) || !rest.data)
		return NULL;
	span_u64(line, INT64_MAX, &seconds);
	*at = (int64_t)seconds;
	return yyjson_read(rest.data, rest.size, 0);
}

static void count_app(struct observe_counts *c, yyjson_val *app)
{
	const char *state = yyjson_get_str(yyjson_obj_get(app, "state"));
	uint64_t p99 = yyjson_get_uint(yyjson_obj_get(app, "wake_p99_us"));

	for (unsigned i = 0; state && i < ZNODE_STATE_COUNT; i++)
		c->apps[i] += !strcmp(state, znode_state_name(i));
	c->extras += yyjson_get_uint(yyjson_obj_get(app, "extras"));
	c->wakes += yyjson_get_uint(yyjson_obj_get(app, "wakes"));
	if (p99 > c->wake_p99_us)
		c->wake_p99_us = p99;
}

struct counting {
	struct hub *hub;
	struct observe_counts *counts;
};

static int count_node(void *context, struct node *node)
{
	struct counting *c = context;
	int64_t at;
	yyjson_doc *doc = node->revoked ? NULL
					: observed_load(c->hub, node, &at);
	yyjson_arr_iter iter;
	yyjson_val *app;

	yyjson_arr_iter_init(yyjson_obj_get(yyjson_doc_get_root(doc), "apps"),
			     &iter);
	while ((app = yyjson_arr_iter_next(&iter)))
		count_app(c->counts, app);
	yyjson_doc_free(doc);
	return 0;
}

void observe_count(struct hub *hub, struct observe_counts *counts)
{
	*counts = (struct observe_counts){ 0 };
	nodes_each(hub, count_node, &(struct counting){ hub, counts });
}

static yyjson_val *app_named(yyjson_val *observed, const char *name)
{
	yyjson_arr_iter iter;
	yyjson_val *app;

	yyjson_arr_iter_init(yyjson_obj_get(observed, "apps"), &iter);
	while ((app = yyjson_arr_iter_next(&iter)))
		if (yyjson_equals_str(yyjson_obj_get(app, "name"), name))
			return app;
	return NULL;
}

/* What an app ran into since it was last reported. */
static void limit_event(struct hub *hub, const struct node *node,
			const char *name, yyjson_val *before, yyjson_val *app)
{
	char limit[160];

	if (member_text(app, "limit", limit, sizeof(limit)) == 0 && limit[0] &&
	    !yyjson_equals_str(yyjson_obj_get(before, "limit"), limit))
		event_add(hub, &(struct event){ .what = "limit",
						.node = node->name,
						.app = name,
						.text = limit });
}

/* An app whose state is another one than before is an event. */
static void events_of(struct hub *hub, const struct node *node, yyjson_val *old,
		      yyjson_val *new)
{
	yyjson_arr_iter iter;
	yyjson_val *app;

	yyjson_arr_iter_init(yyjson_obj_get(new, "apps"), &iter);
	while ((app = yyjson_arr_iter_next(&iter))) {
		char name[64], state[32], reason[160];
		yyjson_val *before;

		if (member_text(app, "name", name, sizeof(name)) < 0 ||
		    member_text(app, "state", state, sizeof(state)) < 0 ||
		    member_text(app, "reason", reason, sizeof(reason)) < 0)
			continue;
		before = app_named(old, name);
		limit_event(hub, node, name, before, app);
		if (before &&
		    yyjson_equals_str(yyjson_obj_get(before, "state"), state))
			continue;
		event_add(hub, &(struct event){ .what = state,
						.node = node->name,
						.app = name,
						.text = reason });
	}
}

static void observed_keep(struct api_call *call, struct node *node)
{
	autofree char *note = NULL;
	char key[96];
	int n, err;

	n = asprintf(&note, "%lld\n%.*s", (long long)time(NULL),
		     (int)call->size, call->body);
	if (n < 0) {
		note = NULL;
		api_fail(call, 500, "out of memory");
		return;
	}
	snprintf(key, sizeof(key), "observed/%s", node->id);
	err = store_note(call->hub->store, key,
			 (struct span){ note, (size_t)n });
	if (err < 0)
		api_fail_errno(call, err);
	else
		api_reply(call, 200, NULL);
	fresh_told(call->hub, node);
}

void observed_handle(struct api_call *call)
{
	struct node *node = node_adopt(call->hub, call->request->peer);
	yyjson_doc *body = api_body(call), *old;
	int64_t at;

	if (!body)
		return;
	if (!node) {
		api_fail(call, 500, "out of memory");
		yyjson_doc_free(body);
		return;
	}
	old = observed_load(call->hub, node, &at);
	events_of(call->hub, node, yyjson_doc_get_root(old),
		  yyjson_doc_get_root(body));
	yyjson_doc_free(old);
	yyjson_doc_free(body);
	observed_keep(call, node);
}

/* ---- nodes ---- */

static void copy_members(yyjson_mut_doc *doc, yyjson_mut_val *to,
			 yyjson_val *from, const char *const *keys)
{
	for (; *keys; keys++) {
		yyjson_val *v = yyjson_obj_get(from, *keys);

		if (v)
			yyjson_mut_obj_add_val(doc, to, *keys,
					       yyjson_val_mut_copy(doc, v));
	}
}

static void add_head(yyjson_mut_doc *doc, yyjson_mut_val *to, const char *key,
		     uint64_t epoch, uint64_t revision)
{
	yyjson_mut_val *o = yyjson_mut_obj_add_obj(doc, to, key);

	yyjson_mut_obj_add_uint(doc, o, "epoch", epoch);
	yyjson_mut_obj_add_uint(doc, o, "revision", revision);
}

/* The newest document of a node; false when it has none. */
static bool desired_newest(struct hub *hub, const struct node *node,
			   struct desired_head *head)
{
	autofree char *value = NULL;
	struct span envelope;
	char key[96];
	size_t size;

	snprintf(key, sizeof(key), "desired/%s", node->id);
	return store_get(hub->store, key, &value, &size, NULL) == 0 &&
	       desired_stored((struct span){ value, size }, head, &envelope) ==
		       0;
}

/* Whether what a node told is of all that is wanted of it now. */
static bool node_is_current(struct hub *hub, const struct node *node,
			    yyjson_val *observed)
{
	yyjson_val *told = yyjson_obj_get(observed, "desired");
	struct desired_head head;

	return !node->dirty && told && desired_newest(hub, node, &head) &&
	       member_u64(told, "epoch", 0) == head.epoch &&
	       member_u64(told, "revision", 0) == head.revision;
}

static void add_desired(yyjson_mut_doc *doc, yyjson_mut_val *to,
			struct hub *hub, const struct node *node)
{
	struct desired_head head;

	if (desired_newest(hub, node, &head))
		add_head(doc, to, "desired", head.epoch, head.revision);
	if (node->acknowledged_epoch)
		add_head(doc, to, "acknowledged", node->acknowledged_epoch,
			 node->acknowledged_revision);
}

static void add_state(yyjson_mut_doc *doc, yyjson_mut_val *to, const char *key,
		      const struct node *node)
{
	char text[STAMP_SIZE];
	int64_t seen;

	yyjson_mut_obj_add_str(doc, to, key,
			       node_state_name(node_state(node, &seen)));
	if (!seen)
		return;
	stamp_make(seen, text);
	yyjson_mut_obj_add_strcpy(doc, to, "seen", text);
	yyjson_mut_obj_add_sint(doc, to, "silent_s",
				time(NULL) > seen ? time(NULL) - seen : 0);
}

struct table {
	struct hub *hub;
	yyjson_mut_doc *doc;
	yyjson_mut_val *rows;
	yyjson_doc *application[APPLICATIONS_MAX];
	char name[APPLICATIONS_MAX][64];
	unsigned n;
	bool current; /* of the node in hand: see node_is_current() */
};

static int node_row(void *context, struct node *node)
{
	static const char *const record_keys[] = { "board",    "arch",
						   "place",    "labels",
						   "enrolled", NULL };
	struct table *t = context;
	yyjson_mut_val *row = yyjson_mut_arr_add_obj(t->doc, t->rows);
	yyjson_doc *record, *observed;
	yyjson_val *facts;
	char key[96];
	int64_t at;

	yyjson_mut_obj_add_strcpy(t->doc, row, "id", node->id);
	yyjson_mut_obj_add_strcpy(t->doc, row, "name", node->name);
	add_state(t->doc, row, "state", node);
	snprintf(key, sizeof(key), "node/%s", node->id);
	record = stored_document(t->hub->store, key);
	copy_members(t->doc, row, yyjson_doc_get_root(record), record_keys);
	yyjson_doc_free(record);
	add_desired(t->doc, row, t->hub, node);
	observed = observed_load(t->hub, node, &at);
	facts = yyjson_obj_get(yyjson_doc_get_root(observed), "node");
	if (facts)
		yyjson_mut_obj_add_val(t->doc, row, "facts",
				       yyjson_val_mut_copy(t->doc, facts));
	yyjson_doc_free(observed);
	return 0;
}

static struct table *table_new(struct hub *hub, const char *key)
{
	struct table *t = calloc(1, sizeof(*t));
	yyjson_mut_val *root;

	if (!t)
		return NULL;
	store_commit(hub->store);
	t->hub = hub;
	t->doc = yyjson_mut_doc_new(NULL);
	root = yyjson_mut_obj(t->doc);
	yyjson_mut_doc_set_root(t->doc, root);
	t->rows = yyjson_mut_obj_add_arr(t->doc, root, key);
	return t;
}

static void table_reply(struct api_call *call, struct table *t)
{
	for (unsigned i = 0; i < t->n; i++)
		yyjson_doc_free(t->application[i]);
	api_reply(call, 200, t->doc);
	free(t);
}

void nodes_handle(struct api_call *call)
{
	struct table *t = table_new(call->hub, "nodes");

	if (!t) {
		api_fail(call, 500, "out of memory");
		return;
	}
	nodes_each(call->hub, node_row, t);
	table_reply(call, t);
}

/* ---- ps ---- */

static int application_keep(void *context, const struct store_entry *e)
{
	struct table *t = context;
	yyjson_doc *doc = yyjson_read(e->value.data, e->value.size, 0);

	if (!doc)
		return 0;
	text_copy(t->name[t->n], sizeof(t->name[0]),
		  e->key.data + strlen("app/"));
	t->application[t->n++] = doc;
	return t->n == APPLICATIONS_MAX;
}

static void add_observed(struct table *t, yyjson_mut_val *row, yyjson_val *app,
			 int64_t at)
{
	static const char *const keys[] = {
		"state",  "reason",	  "restarts",	 "started",
		"cpu_ms", "memory_bytes", "container",	 "why",
		"wakes",  "wake_p50_us",  "wake_p99_us", "rests",
		"extras", "limit",	  "warm",	 NULL
	};

	copy_members(t->doc, row, app, keys);
	yyjson_mut_obj_add_sint(t->doc, row, "observed_s",
				time(NULL) > at ? time(NULL) - at : 0);
	yyjson_mut_obj_add_bool(t->doc, row, "current",
				t->current && !yyjson_get_bool(yyjson_obj_get(
						      app, "outdated")));
}

static yyjson_mut_val *app_row(struct table *t, const struct node *node)
{
	yyjson_mut_val *row = yyjson_mut_arr_add_obj(t->doc, t->rows);

	yyjson_mut_obj_add_strcpy(t->doc, row, "node", node->name);
	add_state(t->doc, row, "node_state", node);
	return row;
}

/* A row for each app that an application wants of the node. */
static void desired_rows(struct table *t, const struct node *node, unsigned i,
			 yyjson_val *observed, int64_t at)
{
	static const char *const keys[] = { "name", "image", "digest", "ports",
					    NULL };
	yyjson_val *record = yyjson_doc_get_root(t->application[i]), *app;
	yyjson_arr_iter iter;

	if (!application_names(yyjson_obj_get(record, "nodes"), node))
		return;
	yyjson_arr_iter_init(yyjson_obj_get(record, "apps"), &iter);
	while ((app = yyjson_arr_iter_next(&iter))) {
		yyjson_mut_val *row = app_row(t, node);
		yyjson_val *seen = app_named(
			observed, yyjson_get_str(yyjson_obj_get(app, "name")));

		yyjson_mut_obj_add_str(t->doc, row, "application", t->name[i]);
		copy_members(t->doc, row, app, keys);
		if (seen)
			add_observed(t, row, seen, at);
		else
			yyjson_mut_obj_add_str(t->doc, row, "state", "pending");
	}
}

static bool is_desired(const struct table *t, const struct node *node,
		       const char *name)
{
	for (unsigned i = 0; i < t->n; i++) {
		yyjson_val *record = yyjson_doc_get_root(t->application[i]);

		if (application_names(yyjson_obj_get(record, "nodes"), node) &&
		    app_named(record, name))
			return true;
	}
	return false;
}

/* And one for each that runs without: of the node's own node.json, or about to
 * be stopped. */
static void other_rows(struct table *t, const struct node *node,
		       yyjson_val *observed, int64_t at)
{
	static const char *const keys[] = { "name", "image", "digest", NULL };
	yyjson_arr_iter iter;
	yyjson_val *app;

	yyjson_arr_iter_init(yyjson_obj_get(observed, "apps"), &iter);
	while ((app = yyjson_arr_iter_next(&iter))) {
		const char *name = yyjson_get_str(yyjson_obj_get(app, "name"));
		yyjson_mut_val *row;

		if (!name || is_desired(t, node, name))
			continue;
		row = app_row(t, node);
		copy_members(t->doc, row, app, keys);
		add_observed(t, row, app, at);
	}
}

static int node_rows(void *context, struct node *node)
{
	struct table *t = context;
	yyjson_doc *observed;
	int64_t at = 0;

	if (node->revoked)
		return 0;
	observed = observed_load(t->hub, node, &at);
	t->current = node_is_current(t->hub, node,
				     yyjson_doc_get_root(observed));
	for (unsigned i = 0; i < t->n; i++)
		desired_rows(t, node, i, yyjson_doc_get_root(observed), at);
	other_rows(t, node, yyjson_doc_get_root(observed), at);
	yyjson_doc_free(observed);
	return 0;
}

static void ps_reply(struct api_call *call)
{
	struct table *t = table_new(call->hub, "rows");

	if (!t) {
		api_fail(call, 500, "out of memory");
		return;
	}
	store_range(call->hub->store, "app/", "", APPLICATIONS_MAX,
		    application_keep, t);
	nodes_each(call->hub, node_rows, t);
	table_reply(call, t);
}

void ps_handle(struct api_call *call)
{
	char text[4];

	if (http_query(call->request, "fresh", text, sizeof(text)) == 0 &&
	    !strcmp(text, "0"))
		ps_reply(call);
	else
		fresh_ask(call, ps_reply);
}
