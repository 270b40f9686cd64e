/* Names. Compose lets services and volumes be called more than an id of the
 * organism can be: "app_db" is the app app-db, which others find as app_db all
 * the same. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "compose_service.h"

bool name_id(const char *name, char id[64])
{
	size_t n = 0;

	for (; n < 63 && name[n]; n++)
		id[n] = name[n] == '_' || name[n] == '.'
				? '-'
				: (char)tolower((unsigned char)name[n]);
	id[n] = '\0';
	return !name[n] && id_valid((struct span){ id, n });
}

struct walk_volume {
	struct walk_volume *next;
	const char *id, *what;
};

const char *volume_claim(struct walk *w, unsigned line, const char *id,
			 const char *what)
{
	struct walk_volume *v = w->volumes;

	while (v && strcmp(v->id, id) != 0)
		v = v->next;
	if (v && strcmp(v->what, what) != 0) {
		walk_fail(w, line, "%.60s is volume %s on nodes, as %.60s is",
			  what, id, v->what);
		return NULL;
	}
	if (v)
		return v->id;
	v = compose_alloc(&w->arena, sizeof(*v));
	if (!v) {
		walk_fail(w, line, "the file is too large");
		return NULL;
	}
	*v = (struct walk_volume){ .next = w->volumes,
				   .id = walk_keep(w, line, span_of(id)),
				   .what = walk_keep(w, line, span_of(what)) };
	w->volumes = v;
	return v->id && v->what ? v->id : NULL;
}

static bool lower(const char *text, char out[64])
{
	size_t n = text_copy(out, 64, text);

	for (size_t i = 0; out[i]; i++)
		out[i] = (char)tolower((unsigned char)out[i]);
	return n < 64 && desired_name_valid(span_of(out));
}

/* What the service is called on a node: its container's name, if the file has
 * one, so that two applications may both have a "db"; else its own. */
static const char *name_on_nodes(struct walk *w,
				 const struct service_seen *seen,
				 const struct compose_node *node)
{
	const struct compose_node *value = walk_member(node, "container_name");
	size_t used;
	const char *text;

	if (!value)
		return seen->name;
	used = walk_key(w, "container_name");
	text = walk_text(w, value, "a name");
	walk_back(w, used);
	return text ? text : seen->name;
}

void service_names(struct walk *w, struct service_seen *seen, unsigned n,
		   const struct compose_node *node)
{
	const char *name = name_on_nodes(w, &seen[n], node);
	char id[64], own[64];

	if (!name_id(name, id) || !name_id(seen[n].name, own)) {
		walk_fail(w, seen[n].line,
			  "want 1 to 63 of A-Z, a-z, 0-9, -, _ and . for a "
			  "name");
		id[0] = '\0';
	}
	text_copy(seen[n].id, sizeof(seen[n].id), id);
	for (unsigned i = 0; id[0] && i < n; i++)
		if (!strcmp(seen[i].id, id))
			walk_fail(w, seen[n].line,
				  "is called %s on nodes, as services.%.63s is",
				  id, seen[i].name);
}

void service_name_write(const struct service *s)
{
	char name[64];

	yyjson_mut_obj_add_strcpy(s->doc, s->app, "name", s->seen->id);
	if (lower(s->seen->name, name) && strcmp(name, s->seen->id) != 0)
		yyjson_mut_obj_add_strcpy(s->doc, s->app, "service", name);
}

/* ---- other names ---- */

static size_t names_size(yyjson_mut_val *list)
{
	yyjson_mut_arr_iter iter;
	yyjson_mut_val *one;
	size_t size = 0;

	yyjson_mut_arr_iter_init(list, &iter);
	while ((one = yyjson_mut_arr_iter_next(&iter)))
		size += 1 + yyjson_mut_get_len(one);
	return size;
}

static bool names_have(yyjson_mut_val *list, const char *name)
{
	yyjson_mut_arr_iter iter;
	yyjson_mut_val *one;

	yyjson_mut_arr_iter_init(list, &iter);
	while ((one = yyjson_mut_arr_iter_next(&iter)))
		if (!strcmp(yyjson_mut_get_str(one), name))
			return true;
	return false;
}

/* Whether it is found by it anyway. */
static bool is_own(yyjson_mut_val *app, const char *name)
{
	const char *own =
		yyjson_mut_get_str(yyjson_mut_obj_get(app, "service"));

	if (!own)
		own = yyjson_mut_get_str(yyjson_mut_obj_get(app, "name"));
	return own && !strcmp(own, name);
}

static void alias_add(struct walk *w, unsigned line, yyjson_mut_val *app,
		      const char *text)
{
	yyjson_mut_doc *doc = w->compose->apps;
	yyjson_mut_val *list = yyjson_mut_obj_get(app, "aliases");
	char name[64];

	if (!lower(text, name)) {
		walk_fail(w, line,
			  "\"%.63s\": want 1 to 63 of a-z, 0-9, -, _ and .",
			  text);
		return;
	}
	if (is_own(app, name) || (list && names_have(list, name)))
		return;
	if (!list)
		list = yyjson_mut_obj_add_arr(doc, app, "aliases");
	if (names_size(list) + 1 + strlen(name) > DESIRED_ALIASES_MAX)
		walk_fail(w, line, "want at most %d bytes of other names",
			  DESIRED_ALIASES_MAX);
	else
		yyjson_mut_arr_add_strcpy(doc, list, name);
}

static void alias_read(struct walk *w, const struct compose_node *value,
		       void *into)
{
	struct service *s = into;
	const char *text = walk_text(w, value, "a name");

	if (text)
		alias_add(w, value->line, s->app, text);
}

void aliases_read(struct walk *w, const struct compose_node *value, void *into)
{
	walk_list(w, value, alias_read, into);
}

/* Others find it by that too, as they do in Compose. */
void container_name_read(struct walk *w, const struct compose_node *value,
			 void *into)
{
	struct service *s = into;
	const char *text = walk_text(w, value, "a name");

	if (text)
		alias_add(w, value->line, s->app, text);
}

void link_add(struct walk *w, struct service *s, unsigned line,
	      const char *service, const char *alias)
{
	struct service_link *link = compose_alloc(&w->arena, sizeof(*link));

	if (!link) {
		walk_fail(w, line, "the file is too large");
		return;
	}
	*link = (struct service_link){ .next = s->seen->links,
				       .service = service,
				       .alias = alias,
				       .line = line };
	s->seen->links = link;
}

const struct service_seen *service_find(const struct service_seen *seen,
					unsigned n, const char *name)
{
	for (unsigned i = 0; name && i < n; i++)
		if (!strcmp(seen[i].name, name))
			return &seen[i];
	return NULL;
}

static yyjson_mut_val *app_find(const struct walk *w, const char *id)
{
	yyjson_mut_arr_iter iter;
	yyjson_mut_val *app;

	yyjson_mut_arr_iter_init(yyjson_mut_doc_get_root(w->compose->apps),
				 &iter);
	while ((app = yyjson_mut_arr_iter_next(&iter)))
		if (!strcmp(yyjson_mut_get_str(yyjson_mut_obj_get(app, "name")),
			    id))
			return app;
	return NULL;
}

/* What object names as the file does is named as on nodes. */
static void reference_settle(struct walk *w, yyjson_mut_val *object,
			     const struct service_seen *seen, unsigned n)
{
	yyjson_mut_doc *doc = w->compose->apps;
	const struct service_seen *on = service_find(
		seen, n, yyjson_mut_get_str(yyjson_mut_obj_get(object, "app")));

	if (on)
		yyjson_mut_obj_put(object, yyjson_mut_str(doc, "app"),
				   yyjson_mut_strcpy(doc, on->id));
}

static void references_settle(struct walk *w, const struct service_seen *seen,
			      unsigned n)
{
	yyjson_mut_arr_iter apps, list;
	yyjson_mut_val *app, *one;

	yyjson_mut_arr_iter_init(yyjson_mut_doc_get_root(w->compose->apps),
				 &apps);
	while ((app = yyjson_mut_arr_iter_next(&apps))) {
		reference_settle(w, yyjson_mut_obj_get(app, "pod"), seen, n);
		yyjson_mut_arr_iter_init(yyjson_mut_obj_get(app, "depends_on"),
					 &list);
		while ((one = yyjson_mut_arr_iter_next(&list)))
			reference_settle(w, one, seen, n);
	}
}

void names_settle(struct walk *w, const struct service_seen *seen, unsigned n)
{
	references_settle(w, seen, n);
	/* A name that one has for another is one for all here. */
	for (unsigned i = 0; i < n; i++)
		for (const struct service_link *l = seen[i].links; l;
		     l = l->next) {
			const struct service_seen *on =
				service_find(seen, n, l->service);
			yyjson_mut_val *app = on ? app_find(w, on->id) : NULL;

			if (app)
				alias_add(w, l->line, app, l->alias);
		}
}
