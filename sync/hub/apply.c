/* Applications: what operators put, checked against all that is already there,
 * so that no node gets a document that it cannot run. */
#define _GNU_SOURCE
#include "apply.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "api.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/stamp.h"
#include "handlers.h"
#include "images.h"
#include "oci/desired.h"
#include "registry.h"
#include "secret.h"
#include "upstream.h"

enum { NODES_MAX = 10000 };

/* One PUT in hand. */
struct put {
	struct api_call *call;
	const char *name;
	yyjson_val *nodes;   /* of the body */
	yyjson_val *written; /* its apps, and what they say */
	struct desired apps;
	int status; /* of the reply when there is a problem */
	char problem[API_ERROR_SIZE];
};

__attribute__((format(printf, 2, 3))) static int problem(struct put *put,
							 const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(put->problem, sizeof(put->problem), fmt, args);
	va_end(args);
	return -EINVAL;
}

/* ---- checks ---- */

static int nodes_check(struct put *put)
{
	yyjson_arr_iter iter;
	yyjson_val *v;

	if (!yyjson_is_arr(put->nodes) || !yyjson_arr_size(put->nodes) ||
	    yyjson_arr_size(put->nodes) > NODES_MAX)
		return problem(put, "nodes: want names of nodes, or \"*\"");
	yyjson_arr_iter_init(put->nodes, &iter);
	while ((v = yyjson_arr_iter_next(&iter))) {
		if (yyjson_equals_str(v, "*"))
			continue;
		if (!yyjson_is_str(v) ||
		    !node_named(put->call->hub, yyjson_get_str(v)))
			return problem(put, "no node %.63s is enrolled",
				       yyjson_is_str(v) ? yyjson_get_str(v)
							: "of that name");
	}
	return 0;
}

/* What an image is now: as the operator said, as the registry's tag says, or as
 * another registry says, which takes a while. 0, -EINPROGRESS, -EINVAL. */
static int digests_resolve(struct put *put)
{
	for (unsigned i = 0; i < put->apps.n_apps; i++) {
		struct desired_app *app = &put->apps.app[i];
		struct registry_name name;
		int err = app->has_digest ? 0
					  : registry_name(put->call->hub,
							  app->image, &name);

		if (err < 0)
			return problem(
				put,
				"%s: image %s: want "
				"hub/NAME:TAG or HOST/NAME:TAG (for names "
				"without, the hub's hub.json needs "
				"\"upstreams\": [{\"host\": \"HOST\", "
				"\"default\": true}, {\"host\": \"*\"}])",
				app->name, app->image);
		if (app->has_digest || upstream_named(span_of(name.repo)))
			continue;
		if (registry_reference_find(put->call->hub, name.repo,
					    name.reference, &app->digest) < 0)
			return problem(put,
				       "%s: this hub has no image %s: "
				       "push it first",
				       app->name, app->image);
		app->has_digest = true;
	}
	return images_resolve(put->call, &put->apps, put->problem,
			      &put->status);
}

static bool lists_meet(yyjson_val *a, yyjson_val *b)
{
	yyjson_arr_iter iter, other;
	yyjson_val *v, *w;

	yyjson_arr_iter_init(a, &iter);
	while ((v = yyjson_arr_iter_next(&iter))) {
		yyjson_arr_iter_init(b, &other);
		while ((w = yyjson_arr_iter_next(&other)))
			if (yyjson_equals_str(v, "*") ||
			    yyjson_equals_str(w, "*") ||
			    !strcmp(yyjson_get_str(v), yyjson_get_str(w)))
				return true;
	}
	return false;
}

/* Whether a port, as it is stored, is that one. */
static bool port_meets(const struct desired_port *port, yyjson_val *stored)
{
	const char *protocol =
		yyjson_get_str(yyjson_obj_get(stored, "protocol"));
	bool udp = protocol && !strcmp(protocol, "udp");

	return port->host == member_u64(stored, "host", 0) && port->udp == udp;
}

/* Whether an app of another application stands in the way of one of ours. */
static int app_meets(struct put *put, const char *application,
		     yyjson_val *other)
{
	const char *name = yyjson_get_str(yyjson_obj_get(other, "name"));
	yyjson_val *ports = yyjson_obj_get(other, "ports"), *port;
	yyjson_arr_iter iter;

	for (unsigned i = 0; i < put->apps.n_apps; i++) {
		const struct desired_app *app = &put->apps.app[i];

		if (name && !strcmp(app->name, name))
			return problem(put,
				       "application %s has an app %s on "
				       "the same node; call this one "
				       "otherwise, by container_name:",
				       application, name);
		yyjson_arr_iter_init(ports, &iter);
		while ((port = yyjson_arr_iter_next(&iter)))
			for (unsigned j = 0; j < app->n_ports; j++)
				if (port_meets(&app->port[j], port))
					return problem(
						put,
						"port %u of %s is "
						"taken by %s of application "
						"%s on the same node",
						app->port[j].host, app->name,
						name, application);
	}
	return 0;
}

static int application_meets(void *context, const char *name,
			     yyjson_val *record)
{
	struct put *put = context;
	yyjson_arr_iter iter;
	yyjson_val *app;
	int err = 0;

	if (!strcmp(name, put->name) ||
	    !lists_meet(put->nodes, yyjson_obj_get(record, "nodes")))
		return 0;
	yyjson_arr_iter_init(yyjson_obj_get(record, "apps"), &iter);
	while (err == 0 && (app = yyjson_arr_iter_next(&iter)))
		err = app_meets(put, name, app);
	return err;
}

static int ports_meet(struct put *put)
{
	for (unsigned i = 0; i < put->apps.n_apps; i++)
		for (unsigned j = 0; j < i; j++)
			for (unsigned k = 0; k < put->apps.app[i].n_ports; k++)
				for (unsigned l = 0;
				     l < put->apps.app[j].n_ports; l++)
					if (desired_port_same(
						    &put->apps.app[i].port[k],
						    &put->apps.app[j].port[l]))
						return problem(
							put,
							"%s and %s both want "
							"port %u",
							put->apps.app[j].name,
							put->apps.app[i].name,
							put->apps.app[i]
								.port[k]
								.host);
	return 0;
}

/* ---- what is stored ---- */

/* As the operator put it, with the digest that it has now. Nothing is in it but
 * what was checked: what is not known is refused. */
static yyjson_mut_val *app_document(yyjson_mut_doc *doc, const struct put *put,
				    unsigned i)
{
	yyjson_mut_val *app =
		yyjson_val_mut_copy(doc, yyjson_arr_get(put->written, i));
	char digest[DIGEST_TEXT_SIZE];

	digest_text(&put->apps.app[i].digest, digest);
	yyjson_mut_obj_remove_key(app, "digest");
	yyjson_mut_obj_remove_key(app, "origin");
	yyjson_mut_obj_add_strcpy(doc, app, "digest", digest);
	secrets_keep(put->call->hub, doc, app);
	return app;
}

static yyjson_mut_doc *record_make(struct put *put, yyjson_val *source)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc), *apps;
	char at[STAMP_SIZE];

	stamp_make(time(NULL), at);
	yyjson_mut_doc_set_root(doc, root);
	yyjson_mut_obj_add_val(doc, root, "nodes",
			       yyjson_val_mut_copy(doc, put->nodes));
	apps = yyjson_mut_obj_add_arr(doc, root, "apps");
	for (unsigned i = 0; i < put->apps.n_apps; i++)
		yyjson_mut_arr_append(apps, app_document(doc, put, i));
	if (yyjson_is_str(source))
		yyjson_mut_obj_add_val(doc, root, "source",
				       yyjson_val_mut_copy(doc, source));
	yyjson_mut_obj_add_strcpy(doc, root, "by", put->call->caller.name);
	yyjson_mut_obj_add_strcpy(doc, root, "at", at);
	return doc;
}

/* ---- handlers ---- */

struct mark {
	struct hub *hub;
	yyjson_val *nodes;
};

static int mark_named(void *context, struct node *node)
{
	struct mark *m = context;

	if (!node->revoked && application_names(m->nodes, node))
		desired_mark(m->hub, node);
	return 0;
}

static void mark_nodes(struct hub *hub, yyjson_val *nodes)
{
	struct mark m = { hub, nodes };

	nodes_each(hub, mark_named, &m);
}

/* The nodes of what is stored under key now. */
static void mark_old(struct hub *hub, const char *key)
{
	yyjson_doc *old = stored_document(hub->store, key);

	if (old)
		mark_nodes(hub,
			   yyjson_obj_get(yyjson_doc_get_root(old), "nodes"));
	yyjson_doc_free(old);
}

static int put_check(struct put *put, yyjson_val *body)
{
	autofree char *apps = yyjson_val_write(yyjson_obj_get(body, "apps"), 0,
					       NULL);
	int err;

	put->written = yyjson_obj_get(body, "apps");
	put->nodes = yyjson_obj_get(body, "nodes");
	if (!apps)
		return problem(put, "apps: want an array of apps");
	err = nodes_check(put);
	if (err == 0)
		err = desired_parse_apps(span_of(apps), &put->apps,
					 put->problem);
	if (err == 0)
		err = ports_meet(put);
	if (err == 0)
		err = applications_each(put->call->hub, application_meets, put);
	if (err == 0)
		err = digests_resolve(put);
	return err;
}

static yyjson_mut_doc *put_reply(struct put *put, uint64_t revision)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc), *apps;

	yyjson_mut_doc_set_root(doc, root);
	yyjson_mut_obj_add_strcpy(doc, root, "application", put->name);
	yyjson_mut_obj_add_uint(doc, root, "revision", revision);
	yyjson_mut_obj_add_val(doc, root, "nodes",
			       yyjson_val_mut_copy(doc, put->nodes));
	apps = yyjson_mut_obj_add_arr(doc, root, "apps");
	for (unsigned i = 0; i < put->apps.n_apps; i++)
		yyjson_mut_arr_append(apps, app_document(doc, put, i));
	return doc;
}

static void put_do(struct put *put, yyjson_val *body)
{
	struct api_call *call = put->call;
	struct hub *hub = call->hub;
	char key[96];
	int err = put_check(put, body);

	if (err == -EINPROGRESS)
		return;
	if (err < 0) {
		api_fail(call,
			 put->status			   ? put->status
			 : err == -EINVAL || err == -E2BIG ? 400
							   : 500,
			 "%s", put->problem[0] ? put->problem : strerror(-err));
		return;
	}
	snprintf(key, sizeof(key), "app/%s", put->name);
	mark_old(hub, key);
	err = stored_put(hub->store, key,
			 record_make(put, yyjson_obj_get(body, "source")),
			 STORE_ANY);
	if (err < 0) {
		api_fail_errno(call, err);
		return;
	}
	mark_nodes(hub, put->nodes);
	api_settle(call, 200, put_reply(put, store_revision(hub->store)));
	event_add(hub, &(struct event){ .what = "applied",
					.app = put->name,
					.by = call->caller.name });
}

void app_put_handle(struct api_call *call)
{
	struct put put = { .call = call, .name = call->argument[0] };
	yyjson_doc *body = api_body(call);

	if (!body)
		return;
	put_do(&put, yyjson_doc_get_root(body));
	desired_free(&put.apps);
	yyjson_doc_free(body);
}

void app_delete_handle(struct api_call *call)
{
	struct hub *hub = call->hub;
	char key[96];
	int err;

	snprintf(key, sizeof(key), "app/%s", call->argument[0]);
	mark_old(hub, key);
	err = store_delete(hub->store, key, STORE_ANY);
	if (err == -ENOENT) {
		api_fail(call, 404, "no application %s", call->argument[0]);
		return;
	}
	if (err < 0) {
		api_fail_errno(call, err);
		return;
	}
	event_add(hub, &(struct event){ .what = "removed",
					.app = call->argument[0],
					.by = call->caller.name });
	api_settle(call, 200, NULL);
}

struct show {
	yyjson_mut_doc *doc;
	yyjson_mut_val *list;
};

static int application_list(void *context, const char *name, yyjson_val *record)
{
	struct show *show = context;
	yyjson_mut_val *o = yyjson_mut_arr_add_obj(show->doc, show->list);

	yyjson_mut_obj_add_strcpy(show->doc, o, "name", name);
	for (size_t i = 0; i < 4; i++) {
		static const char *const keys[] = { "nodes", "apps", "by",
						    "at" };

		yyjson_mut_obj_add_val(
			show->doc, o, keys[i],
			yyjson_val_mut_copy(show->doc,
					    yyjson_obj_get(record, keys[i])));
	}
	return 0;
}

void apps_handle(struct api_call *call)
{
	struct show show = { .doc = yyjson_mut_doc_new(NULL) };
	yyjson_mut_val *root = yyjson_mut_obj(show.doc);

	store_commit(call->hub->store);
	yyjson_mut_doc_set_root(show.doc, root);
	show.list = yyjson_mut_obj_add_arr(show.doc, root, "apps");
	applications_each(call->hub, application_list, &show);
	api_reply(call, 200, show.doc);
}

void app_handle(struct api_call *call)
{
	yyjson_mut_doc *doc;
	char key[96];
	yyjson_doc *record;

	snprintf(key, sizeof(key), "app/%s", call->argument[0]);
	store_commit(call->hub->store);
	record = stored_document(call->hub->store, key);
	if (!record) {
		api_fail(call, 404, "no application %s", call->argument[0]);
		return;
	}
	doc = yyjson_doc_mut_copy(record, NULL);
	yyjson_mut_obj_add_strcpy(doc, yyjson_mut_doc_get_root(doc), "name",
				  call->argument[0]);
	yyjson_doc_free(record);
	api_reply(call, 200, doc);
}
