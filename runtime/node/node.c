#define _GNU_SOURCE
#include "node.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/hash.h"
#include "base/log.h"

#include "sweep.h"

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

/* What node.json wants has neither digest nor content: it is what lies on the
 * partition, and only changes with a boot. */
static void want_fill(struct desired_app *want, const struct node_app *app)
{
	static const enum desired_restart restarts[] = {
		[NODE_RESTART_ALWAYS] = DESIRED_RESTART_ALWAYS,
		[NODE_RESTART_ON_FAILURE] = DESIRED_RESTART_ON_FAILURE,
		[NODE_RESTART_NO] = DESIRED_RESTART_NO,
	};

	text_copy(want->name, sizeof(want->name), app->name);
	text_copy(want->image, sizeof(want->image), app->image);
	want->command = (struct desired_list){ app->command, app->n_command };
	want->environment = (struct desired_list){ app->environment,
						   app->n_environment };
	for (; want->n_ports < app->n_port; want->n_ports++) {
		const struct node_port *port = &app->port[want->n_ports];

		want->port[want->n_ports] = (struct desired_port){
			.host = port->host, .container = port->container
		};
	}
	want->restart = restarts[app->restart];
	want->memory_bytes = app->memory_bytes;
}

static void add_apps(void)
{
	for (unsigned i = 0; i < node.json.n_app; i++) {
		const struct node_app *from = &node.json.app[i];

		want_fill(&node.local[i], from);
		if (strlen(from->name) > APP_NAME_MAX)
			log_error(from->name,
				  "name longer than %d letters: not started",
				  APP_NAME_MAX);
		else
			app_want(node_slot_new(from->name), &node.local[i],
				 from);
	}
}

static void read_json(void)
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

/* -------------------------------------------------------------- document */

/* What was written last, so that nothing is written twice. */
static char *stopped_names;

static bool outlives_boot(const struct app *app)
{
	return app->in_use && app->want && !app->local &&
	       app->want->restart == DESIRED_RESTART_UNLESS_STOPPED;
}

static void stopped_load(void)
{
	struct span rest, name;

	document_stopped_read(&node.host.document, &stopped_names);
	rest = span_of(stopped_names ? stopped_names : "");
	while (span_cut(&rest, '\n', &name))
		for (int i = 0; i < node.n_slots; i++)
			if (outlives_boot(&node.app[i]) &&
			    span_is(name, node.app[i].name))
				node.app[i].stopped = true;
}

void node_stopped_changed(void)
{
	char *names = malloc(NODE_SLOTS * ZNODE_NAME_SIZE), *p = names;

	if (!names)
		return;
	*p = '\0';
	for (int i = 0; i < node.n_slots; i++)
		if (outlives_boot(&node.app[i]) && node.app[i].stopped)
			p += sprintf(p, "%s\n", node.app[i].name);
	if (strcmp(names, stopped_names ? stopped_names : "") != 0)
		document_stopped_write(&node.host.document, names);
	free(stopped_names);
	stopped_names = names;
}

int node_obey(const struct offer *offer, char error[TRUST_ERROR_SIZE])
{
	struct desired old = { 0 };
	const struct desired *d = &node.host.document.desired;
	int r = document_take(&node.host.document, offer,
			      node.json.hub.n_hub ? node.json.hub.pin : NULL,
			      &old, error);

	if (r)
		return r;
	log_notice("document", "%llu.%llu is obeyed: %u applications",
		   (unsigned long long)d->epoch,
		   (unsigned long long)d->revision, d->n_apps);
	reconcile();
	desired_free(&old);
	document_index_sweep(&node.host.document);
	node_stopped_changed();
	sweep_due();
	for (int i = 0; i < node.n_slots && node.synced; i++)
		app_step(&node.app[i]);
	return 0;
}

void node_load(void)
{
	read_json();
	document_load(&node.host.document);
	reconcile();
	stopped_load();
}

/* ----------------------------------------------------------------- slots */

struct app *node_find(const char *name)
{
	struct app *app = node_slot(name);

	return app && app->want ? app : NULL;
}

/* Never 0. An app is a page and more, so names are compared only where this
 * says that they are the same. */
static uint32_t name_hash(const char *name)
{
	return (uint32_t)hash_of(name, strlen(name)) | 1;
}

struct app *node_named(const char *name, struct app *app)
{
	uint32_t hash = name_hash(name);

	for (int i = app ? (int)(app - node.app) + 1 : 0; i < node.n_slots; i++)
		if (node.named[i] == hash && node.app[i].in_use &&
		    strcmp(node.app[i].name, name) == 0)
			return &node.app[i];
	return NULL;
}

struct app *node_slot(const char *name)
{
	struct app *app = NULL;

	while ((app = node_named(name, app)) &&
	       (app->refused || app->retired || app->extra_of))
		;
	return app;
}

struct app *node_slot_new(const char *name)
{
	int i = 0;

	while (i < node.n_slots && node.app[i].in_use)
		i++;
	if (i == NODE_SLOTS) {
		log_error(name, "more than %d applications and containers",
			  NODE_SLOTS);
		return NULL;
	}
	if (i == node.n_slots)
		node.n_slots++;
	app_init(&node.app[i], &node.host, name);
	node.named[i] = name_hash(name);
	return &node.app[i];
}

static uint32_t free_number(void)
{
	uint8_t taken[NODE_SLOTS + 1] = { 0 };
	uint32_t number = 1;

	for (int i = 0; i < node.n_slots; i++)
		if (node.app[i].in_use && node.app[i].number <= NODE_SLOTS)
			taken[node.app[i].number] = 1;
	while (number <= NODE_SLOTS && taken[number])
		number++;
	return number;
}

/* Those that wait for a port ask again. */
static void port_freed(void)
{
	for (int i = 0; i < node.n_slots; i++) {
		struct app *app = &node.app[i];

		if (!app->in_use || !app->rebind.deadline_ms)
			continue;
		timer_cancel(&app->rebind);
		timer_set(&node.loop, &app->rebind, 0);
	}
}

/* The same image is pulled once, however many applications want it. */
static bool is_same_image(const struct app *a, const struct app *b)
{
	return a != b && a->in_use && a->want && !a->local && b->want &&
	       digest_equal(&a->want->digest, &b->want->digest);
}

static bool others_fetch(const struct app *app)
{
	for (int i = 0; i < node.n_slots; i++)
		if (is_same_image(&node.app[i], app) &&
		    app_image_comes(&node.app[i]))
			return true;
	return false;
}

static void fetched(struct app *app)
{
	for (int i = 0; i < node.n_slots; i++)
		if (is_same_image(&node.app[i], app) && !node.app[i].pulled)
			app_step(&node.app[i]);
}

/* One that shares its namespaces does so also while it runs. */
static bool waits_for(const struct app *other, const struct app *app)
{
	if (!other->want)
		return false;
	return app_pod_owner(other) == app ||
	       (other->want->n_depends && other->state == ZNODE_IMAGE);
}

static void met(struct app *app)
{
	for (int i = 0; i < node.n_slots && node.depends; i++) {
		struct app *other = &node.app[i];

		if (other->in_use && other != app && waits_for(other, app))
			app_step(other);
	}
}

static void looked(void)
{
	for (int i = 0; i < node.n_slots; i++)
		if (node.app[i].in_use && node.app[i].state == ZNODE_IMAGE)
			app_step(&node.app[i]);
}

static bool is_shared(const struct app *app)
{
	for (int i = 0; i < node.n_slots && node.depends; i++)
		if (node.app[i].in_use && app_pod_owner(&node.app[i]) == app)
			return true;
	return false;
}

/* ---------------------------------------------------------------- events */

/* A container id in its parts. */
static void split_id(const char *id, char name[ZNODE_NAME_SIZE],
		     uint32_t *instance)
{
	const char *dash = strrchr(id, '-');
	uint64_t number = 0;

	text_copy(name, ZNODE_NAME_SIZE, id);
	if (dash && span_u64(span_of(dash + 1), UINT32_MAX, &number) == 0)
		name[dash - id] = '\0';
	*instance = (uint32_t)number;
}

struct app *node_by_id(const char *id)
{
	char name[ZNODE_NAME_SIZE];
	struct app *app = NULL;
	uint32_t instance;

	split_id(id, name, &instance);
	while ((app = node_named(name, app)) && strcmp(app->id, id) != 0)
		;
	return app;
}

/* The slot of a container that none has: that of its name, or one more, where
 * a newer instance took its place. */
static struct app *slot_take(const char *id)
{
	char name[ZNODE_NAME_SIZE];
	uint32_t instance;
	struct app *app;

	split_id(id, name, &instance);
	app = node_slot(name);
	if (app && app->instance < instance)
		app->instance = instance;
	if (!app || app->id[0])
		app = node_slot_new(name);
	if (!app)
		return NULL;
	text_copy(app->id, sizeof(app->id), id);
	app->instance = instance;
	return app;
}

static void process_event(const struct init_event *event)
{
	const char *id = event->key.container;
	struct app *app;
	bool is_new;

	app = node_by_id(id);
	if (event->key.n != 0) { /* a process that was executed in it */
		if (app) {
			reactor_exec_event(app, event);
			app_health_event(app, event);
		}
		return;
	}
	if (event->head.verb == INIT_EVENT_GONE) {
		if (app)
			sleep_gone(app);
		return;
	}
	is_new = !app;
	if (!app)
		app = slot_take(id);
	if (!app)
		return;
	app_process(app, event);
	if (!node.synced) {
		reactor_adopt(app);
		return;
	}
	if (is_new && !app->want)
		reconcile_unwanted(app);
	app_step(app);
}

/* Only what was there before is news; later changes are znode's own. */
static void listen_event(const struct init_event *event)
{
	struct app *app;

	if (event->head.verb != INIT_EVENT_ADDED || node.synced)
		return;
	app = node_slot(event->key.container);
	if (!app)
		app = node_slot_new(event->key.container);
	if (app)
		app_listener(app, event);
}

static void event(struct link *link, const struct init_event *e)
{
	(void)link;
	if (e->key.kind == INIT_KIND_PIDFD)
		process_event(e);
	else if (e->key.kind == INIT_KIND_LISTEN)
		listen_event(e);
}

/* A znode that was killed meanwhile left two instances. */
static void pair_up(struct app *app)
{
	for (struct app *other = NULL; (other = node_named(app->name, other));)
		if (other != app && !other->want && other->alive &&
		    app->alive && !app->old)
			app_pair(app, other);
}

/* Nothing was started yet. */
static void begin(void)
{
	node.synced = true;
	on_ready();
	for (int i = 0; i < node.n_slots; i++)
		if (node.app[i].in_use && node.app[i].want &&
		    !node.app[i].extra_of) {
			scale_adopt(&node.app[i]);
			pair_up(&node.app[i]);
		}
	for (int i = 0; i < node.n_slots; i++) {
		struct app *app = &node.app[i];

		if (!app->in_use)
			continue;
		if (app->extra_of)
			continue;
		if (app->want)
			app_adopt(app);
		else if (!app->retired)
			reconcile_unwanted(app);
		sleep_found(app);
	}
	for (int i = 0; i < node.n_slots; i++)
		app_step(&node.app[i]);
}

/* Of one whose process init knows only its remains are left here. */
static bool asleep_found(const char *id, const struct app_note *note)
{
	struct app *app = node_by_id(id) ? NULL : slot_take(id);

	if (!app)
		return false;
	app_note_take(app, note);
	app->remains = app->sleep.found = true;
	return true;
}

static void synced(struct link *link)
{
	(void)link;
	sleep_search(&node.loop, asleep_found, begin);
}

int node_open(void (*ready)(void))
{
	on_ready = ready;
	node.host.loop = &node.loop;
	node.host.number = free_number;
	node.host.port_freed = port_freed;
	node.host.others_fetch = others_fetch;
	node.host.fetched = fetched;
	node.host.find = node_find;
	node.host.slot = node_slot_new;
	node.host.met = met;
	node.host.is_shared = is_shared;
	node.host.looked = looked;
	node.host.link.event = event;
	node.host.link.ready = synced;
	return link_open(&node.host.link, &node.loop);
}
