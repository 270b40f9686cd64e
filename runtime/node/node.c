#define _GNU_SOURCE
#include "node.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/log.h"

/* Leaves room for "-" and the number of an instance in an id. */
enum { NAME_MAX_LENGTH = 52 };

struct node node;

static void (*on_ready)(void);

/* ------------------------------------------------------------- node.json */

static int parse(char *text, size_t size)
{
	size_t scratch_size = NODE_SCRATCH_SIZE(size);
	autofree void *scratch = malloc(scratch_size);
	char error[NODE_ERROR_SIZE];
	int r;

	if (!scratch)
		return -ENOMEM;
	r = node_json_parse(text, size, scratch, scratch_size, &node.json,
			    error);
	if (r)
		log_error(NULL, "%s; no application is started", error);
	return r;
}

static void add_apps(void)
{
	for (unsigned i = 0; i < node.json.n_app; i++) {
		const struct node_app *want = &node.json.app[i];

		if (strlen(want->name) <= NAME_MAX_LENGTH)
			app_init(&node.app[i], &node.host, want, i);
		else
			log_error(want->name,
				  "name longer than %d letters: "
				  "not started",
				  NAME_MAX_LENGTH);
	}
}

void node_load(void)
{
	autofree char *text = NULL;
	size_t size;
	int r;

	if (node.host.boot < 0)
		return;
	r = file_read(node.host.boot, "node.json", NODE_JSON_SIZE_MAX, &text,
		      &size);
	if (r == -ENOENT) {
		log_notice(NULL, "no node.json: no application is started");
		return;
	}
	if (r)
		log_error("node.json", "%s", strerror(-r));
	else if (parse(text, size) == 0)
		node.readable = true;
	add_apps();
}

/* ---------------------------------------------------------------- events */

struct app *node_find(const char *name)
{
	for (int i = 0; i < NODE_SLOTS; i++)
		if (node.app[i].in_use && node.app[i].want &&
		    strcmp(node.app[i].name, name) == 0)
			return &node.app[i];
	return NULL;
}

/* The application whose instance has this id, and the instance's number. */
static struct app *find_by_id(const char *id, uint32_t *instance)
{
	const char *dash = strrchr(id, '-');
	char name[ZNODE_NAME_SIZE];
	uint64_t number;

	if (!dash || span_u64(span_of(dash + 1), UINT32_MAX, &number))
		return NULL;
	text_copy(name, sizeof(name), id);
	name[dash - id] = '\0';
	*instance = (uint32_t)number;
	return node_find(name);
}

/* A container that no application wants: one taken out of node.json, or an
 * instance that was replaced. It is stopped and deleted; but not while
 * node.json cannot be read, for then nobody knows what is wanted. */
static struct app *stray(const char *id)
{
	struct app *unused = NULL;

	for (int i = 0; i < NODE_SLOTS; i++) {
		struct app *app = &node.app[i];

		if (app->in_use && !app->want && strcmp(app->id, id) == 0)
			return app;
		if (!app->in_use && !unused)
			unused = app;
	}
	if (!unused || !node.readable)
		return NULL;
	app_init(unused, &node.host, NULL, 0);
	text_copy(unused->name, sizeof(unused->name), id);
	text_copy(unused->id, sizeof(unused->id), id);
	log_notice(id, "not in node.json, removed");
	return unused;
}

static void process_event(const struct init_event *event)
{
	const char *id = event->key.container;
	uint32_t instance = 0;
	struct app *app = find_by_id(id, &instance);

	if (event->key.n != 0) /* a process that was executed in it */
		return;
	if (app && !app->id[0]) {
		text_copy(app->id, sizeof(app->id), id);
		app->instance = instance;
	} else if (!app || strcmp(app->id, id) != 0) {
		if (event->head.verb == INIT_EVENT_GONE)
			return;
		app = stray(id);
	}
	if (!app || event->head.verb == INIT_EVENT_GONE)
		return;
	app_process(app, event);
	if (on_ready == NULL)
		app_step(app);
}

/* Only what was there before is news; later changes are znode's own. */
static void listen_event(const struct init_event *event)
{
	struct app *app = node_find(event->key.container);

	if (event->head.verb != INIT_EVENT_ADDED || !on_ready)
		return;
	if (app)
		app_listener(app, event);
	if (!app && node.readable)
		link_call(&node.host.link, INIT_DROP, &event->key, NULL, 0);
}

static void event(struct link *link, const struct init_event *e)
{
	(void)link;
	if (e->key.kind == INIT_KIND_PIDFD)
		process_event(e);
	else if (e->key.kind == INIT_KIND_LISTEN)
		listen_event(e);
}

static void synced(struct link *link)
{
	void (*ready)(void) = on_ready;

	(void)link;
	on_ready = NULL;
	ready();
	for (int i = 0; i < NODE_SLOTS; i++) {
		if (node.app[i].in_use)
			app_adopt(&node.app[i]);
		app_step(&node.app[i]);
	}
}

int node_open(void (*ready)(void))
{
	on_ready = ready;
	node.host.loop = &node.loop;
	node.host.link.event = event;
	node.host.link.ready = synced;
	return link_open(&node.host.link, &node.loop);
}
