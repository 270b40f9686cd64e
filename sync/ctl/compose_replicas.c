/* A service of a Compose file that is to run more than once on a node becomes
 * so many apps, NAME-1, NAME-2 ..., that others find by the one name. */
#include <stdio.h>
#include <string.h>

#include "compose_service.h"

enum { REPLICAS_MAX = 64 };

void replicas_read(struct walk *w, const struct compose_node *value, void *into)
{
	struct service *s = into;
	uint64_t n;

	if (!value_number(w, value, UINT32_MAX, &n))
		return;
	if (!n || n > REPLICAS_MAX)
		walk_fail(w, value->line, "want 1 to %u", REPLICAS_MAX);
	else if (s->seen->replicas_line && s->seen->replicas != n)
		walk_fail(w, value->line, "differs from line %u",
			  compose_line(s->seen->replicas_line));
	s->seen->replicas = (unsigned)n;
	s->seen->replicas_line = value->line;
}

struct expansion {
	struct walk *w;
	const struct service_seen *seen;
	unsigned n;
	yyjson_mut_doc *doc;
	yyjson_mut_val *apps; /* the new array */
};

static const struct service_seen *seen_find(const struct expansion *e,
					    const char *id)
{
	for (unsigned i = 0; i < e->n; i++)
		if (!strcmp(e->seen[i].id, id))
			return &e->seen[i];
	return NULL;
}

/* What the several would have to share, or be. */
static bool may_expand(const struct expansion *e, const struct service_seen *s)
{
	char name[80];

	if (s->has_ports) {
		walk_fail(e->w, s->replicas_line,
			  "%.63s publishes ports, which one of several cannot "
			  "share with the others yet",
			  s->name);
		return false;
	}
	for (unsigned i = 1; i <= s->replicas; i++) {
		snprintf(name, sizeof(name), "%.63s-%u", s->id, i);
		if (!seen_find(e, name) && id_valid(span_of(name)))
			continue;
		walk_fail(e->w, s->replicas_line,
			  "\"%.70s\" is another service, or no name", name);
		return false;
	}
	return true;
}

static bool may_be_shared(const struct expansion *e,
			  const struct service_seen *s)
{
	const struct service_seen *on = service_find(e->seen, e->n, s->pod);

	if (!on || on->replicas <= 1)
		return true;
	walk_fail(e->w, s->pod_line,
		  "%.63s has replicas: want the namespaces of one service",
		  on->name);
	return false;
}

static void depend_add(const struct expansion *e, yyjson_mut_val *list,
		       yyjson_mut_val *depends)
{
	const char *name =
		yyjson_mut_get_str(yyjson_mut_obj_get(depends, "app"));
	const struct service_seen *on = seen_find(e, name);
	char each[80];

	if (!on || on->replicas <= 1) {
		yyjson_mut_arr_append(list,
				      yyjson_mut_val_mut_copy(e->doc, depends));
		return;
	}
	for (unsigned i = 1; i <= on->replicas; i++) {
		yyjson_mut_val *o = yyjson_mut_val_mut_copy(e->doc, depends);

		snprintf(each, sizeof(each), "%.63s-%u", name, i);
		yyjson_mut_obj_put(o, yyjson_mut_str(e->doc, "app"),
				   yyjson_mut_strcpy(e->doc, each));
		yyjson_mut_arr_append(list, o);
	}
}

/* All of those that are several. */
static void depends_expand(const struct expansion *e, yyjson_mut_val *app)
{
	yyjson_mut_val *old = yyjson_mut_obj_get(app, "depends_on"), *list, *o;
	yyjson_mut_arr_iter iter;

	if (!old)
		return;
	list = yyjson_mut_arr(e->doc);
	yyjson_mut_arr_iter_init(old, &iter);
	while ((o = yyjson_mut_arr_iter_next(&iter)))
		depend_add(e, list, o);
	if (yyjson_mut_arr_size(list) > DESIRED_LIST_MAX)
		walk_fail(e->w, e->seen->line,
			  "want at most %u apps to wait for", DESIRED_LIST_MAX);
	yyjson_mut_obj_put(app, yyjson_mut_str(e->doc, "depends_on"), list);
}

static void app_add(const struct expansion *e, yyjson_mut_val *app)
{
	const char *name = yyjson_mut_get_str(yyjson_mut_obj_get(app, "name"));
	const struct service_seen *s = seen_find(e, name);
	char each[80];

	for (unsigned i = 1; i <= s->replicas; i++) {
		yyjson_mut_val *copy = yyjson_mut_val_mut_copy(e->doc, app);

		if (s->replicas > 1) {
			snprintf(each, sizeof(each), "%.63s-%u", name, i);
			yyjson_mut_obj_put(copy, yyjson_mut_str(e->doc, "name"),
					   yyjson_mut_strcpy(e->doc, each));
			if (!yyjson_mut_obj_get(copy, "service"))
				yyjson_mut_obj_add_strcpy(e->doc, copy,
							  "service", name);
		}
		depends_expand(e, copy);
		yyjson_mut_arr_append(e->apps, copy);
	}
}

void replicas_expand(struct walk *w, const struct service_seen *seen,
		     unsigned n)
{
	struct expansion e = {
		.w = w, .seen = seen, .n = n, .doc = w->compose->apps
	};
	unsigned total = 0, before = w->n_problems;
	yyjson_mut_arr_iter iter;
	yyjson_mut_val *app;

	for (unsigned i = 0; i < n; i++) {
		total += seen[i].replicas;
		if (seen[i].replicas > 1 && !may_expand(&e, &seen[i]))
			return;
		if (!may_be_shared(&e, &seen[i]))
			return;
	}
	if (total == n || w->n_problems != before)
		return;
	if (total > DESIRED_APPS_MAX) {
		walk_fail(w, seen->line,
			  "want at most %u services and "
			  "replicas",
			  DESIRED_APPS_MAX);
		return;
	}
	e.apps = yyjson_mut_arr(e.doc);
	yyjson_mut_arr_iter_init(yyjson_mut_doc_get_root(e.doc), &iter);
	while ((app = yyjson_mut_arr_iter_next(&iter)))
		app_add(&e, app);
	yyjson_mut_doc_set_root(e.doc, e.apps);
}
