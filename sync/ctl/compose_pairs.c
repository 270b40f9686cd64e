/* A service of a Compose file: what is a map, or a list of KEY=VALUE. */
#include <stdlib.h>
#include <string.h>

#include "base/gateway.h"
#include "compose_service.h"

enum { ENV_FILE_MAX = 64 << 10 };

/* The last of a name stands, as in a list of Compose's. */
static void pair_set(struct walk *w, struct pairs *pairs, unsigned line,
		     struct walk_variable v)
{
	unsigned i = 0;

	if (!v.name[0]) {
		walk_fail(w, line, "want a name");
		return;
	}
	while (i < pairs->n && strcmp(pairs->pair[i].name, v.name) != 0)
		i++;
	if (i == DESIRED_ENV_MAX) {
		walk_fail(w, line, "want at most %u variables",
			  DESIRED_ENV_MAX);
		return;
	}
	if (i == pairs->n)
		pairs->n++;
	pairs->pair[i] = v;
}

/* What a name without a value means. */
typedef const char *without_value(struct walk *w, unsigned line,
				  const char *name);

static const char *empty(struct walk *w, unsigned line, const char *name)
{
	(void)w;
	(void)line;
	(void)name;
	return "";
}

static void map_read(struct walk *w, const struct compose_node *map,
		     struct pairs *pairs, without_value *without)
{
	for (unsigned i = 0; i < map->n; i++) {
		const struct compose_node *key = map->item[2 * i];
		const struct compose_node *value = map->item[2 * i + 1];
		size_t used = walk_key(w, key->text.data);
		struct walk_variable v = { key->text.data, NULL };
		bool is_null = compose_is_null(value);

		if (value->tag == COMPOSE_RESET)
			walk_fail(w, key->line,
				  "!reset: no earlier file says it");
		v.value = is_null ? without(w, key->line, v.name)
				  : walk_text(w, value, "text");
		if (strchr(v.name, '='))
			walk_fail(w, key->line, "want a name without \"=\"");
		else if (is_null || v.value)
			pair_set(w, pairs, key->line, v);
		walk_back(w, used);
	}
}

static void list_read(struct walk *w, const struct compose_node *list,
		      struct pairs *pairs, without_value *without)
{
	for (unsigned i = 0; i < list->n; i++) {
		const struct compose_node *item = list->item[i];
		size_t used = walk_item(w, i);
		const char *text = walk_text(w, item, "KEY=VALUE");
		const char *equals = text ? strchr(text, '=') : NULL;
		struct walk_variable v = { text, NULL };

		if (equals)
			v = (struct walk_variable){
				walk_keep(w, item->line,
					  (struct span){
						  text,
						  (size_t)(equals - text) }),
				equals + 1
			};
		else if (text)
			v.value = without(w, item->line, text);
		if (v.name)
			pair_set(w, pairs, item->line, v);
		walk_back(w, used);
	}
}

static void pairs_read(struct walk *w, const struct compose_node *value,
		       struct pairs *pairs, without_value *without)
{
	if (value->kind == COMPOSE_MAP)
		map_read(w, value, pairs, without);
	else if (value->kind == COMPOSE_LIST)
		list_read(w, value, pairs, without);
	else
		walk_fail(w, value->line, "want a map or a list");
}

static void limit_check(struct walk *w, const struct compose_node *value,
			const struct pairs *pairs)
{
	if (pairs->n > DESIRED_LIST_MAX)
		walk_fail(w, value->line, "want at most %u", DESIRED_LIST_MAX);
}

void environment_read(struct walk *w, const struct compose_node *value,
		      void *into)
{
	struct service *s = into;

	pairs_read(w, value, &s->environment, text_variable);
}

/* The node's own words in a container's configuration are not for labels. */
void labels_read(struct walk *w, const struct compose_node *value, void *into)
{
	struct service *s = into;

	pairs_read(w, value, &s->labels, empty);
	limit_check(w, value, &s->labels);
	for (unsigned i = 0; i < s->labels.n; i++)
		if (!strncmp(s->labels.pair[i].name, "org.zooid.", 10))
			walk_fail(w, value->line,
				  "labels org.zooid.* are the node's own");
}

void sysctls_read(struct walk *w, const struct compose_node *value, void *into)
{
	static const char *const own[] = { "net.", "kernel.msg", "kernel.sem",
					   "kernel.shm", "fs.mqueue." };
	struct service *s = into;

	pairs_read(w, value, &s->sysctls, empty);
	limit_check(w, value, &s->sysctls);
	for (unsigned i = 0; i < s->sysctls.n; i++) {
		const char *name = s->sysctls.pair[i].name;
		size_t j = 0;

		while (j < ARRAY_SIZE(own) &&
		       strncmp(name, own[j], strlen(own[j])) != 0)
			j++;
		if (j == ARRAY_SIZE(own))
			walk_fail(w, value->line,
				  "%.40s: belongs to no container; want net.*, "
				  "kernel.msg*, kernel.sem, kernel.shm* or "
				  "fs.mqueue.*",
				  name);
	}
}

/* ---- extra_hosts ---- */

static bool is_address(const char *text)
{
	uint8_t address[16];

	return !strcmp(text, GATEWAY_WORD) ||
	       desired_address(span_of(text), address) == 0;
}

static bool is_host(const char *text)
{
	size_t n = strlen(text);

	return n > 0 && n <= 253 &&
	       strspn(text, "abcdefghijklmnopqrstuvwxyz"
			    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == n;
}

/* "NAME:ADDRESS" and "NAME=ADDRESS". */
static void host_read(struct walk *w, const struct compose_node *value,
		      void *into)
{
	struct service *s = into;
	const char *text = walk_text(w, value, "NAME=ADDRESS");
	size_t n = text ? strcspn(text, "=:") : 0;
	const char *address = text && text[n] ? text + n + 1 : "";
	struct walk_variable v;

	if (!text)
		return;
	v.name = walk_keep(w, value->line, (struct span){ text, n });
	v.value = address;
	if (address[0] == '[' && address[strlen(address) - 1] == ']')
		v.value = walk_keep(
			w, value->line,
			(struct span){ address + 1, strlen(address) - 2 });
	if (v.name && v.value)
		pair_set(w, &s->extra_hosts, value->line, v);
}

void extra_hosts_read(struct walk *w, const struct compose_node *value,
		      void *into)
{
	struct service *s = into;

	if (value->kind == COMPOSE_LIST)
		walk_list(w, value, host_read, into);
	else
		pairs_read(w, value, &s->extra_hosts, empty);
	limit_check(w, value, &s->extra_hosts);
	for (unsigned i = 0; i < s->extra_hosts.n; i++) {
		const struct walk_variable *v = &s->extra_hosts.pair[i];

		if (!is_host(v->name) || !is_address(v->value))
			walk_fail(w, value->line,
				  "%.40s: want NAME=ADDRESS, the address in "
				  "digits, or host-gateway",
				  v->name);
		else if (!strcmp(v->value, GATEWAY_WORD))
			s->gateway_line = value->line;
	}
}

/* ---- env_file ---- */

static void file_variable(struct walk *w, unsigned line,
			  const struct walk_variable *v, void *into)
{
	struct service *s = into;

	if (strchr(v->name, '='))
		walk_fail(w, line, "want a name without \"=\"");
	else
		pair_set(w, &s->files, line, *v);
}

struct env_file {
	const struct compose_node *path;
	bool is_optional;
};

static void path_read(struct walk *w, const struct compose_node *value,
		      void *into)
{
	struct env_file *f = into;

	(void)w;
	f->path = value;
}

static void required_read(struct walk *w, const struct compose_node *value,
			  void *into)
{
	struct env_file *f = into;
	bool required = true;

	value_bool(w, value, &required);
	f->is_optional = !required;
}

static void one_file(struct walk *w, const struct compose_node *value,
		     void *into)
{
	static const struct walk_key keys[] = {
		{ "path", path_read },
		{ "required", required_read },
	};
	static const char *const others[] = { "format", NULL };
	struct env_file f = { .path = value };
	char *text;

	if (value->kind == COMPOSE_MAP) {
		f.path = NULL;
		walk_map(w, value, keys, ARRAY_SIZE(keys), others, &f);
		if (!f.path) {
			walk_fail(w, value->line, "want path");
			return;
		}
	}
	if (f.is_optional && !walk_file_exists(w, f.path))
		return;
	text = walk_file(w, f.path, ENV_FILE_MAX);
	if (text)
		env_read(w, &(struct env_text){ span_of(text), value->line },
			 file_variable, into);
	free(text);
}

void env_file_read(struct walk *w, const struct compose_node *value, void *into)
{
	if (value->kind == COMPOSE_LIST)
		walk_list(w, value, one_file, into);
	else
		one_file(w, value, into);
}

/* ---- what is sent ---- */

static bool is_said(const struct pairs *pairs, const char *name)
{
	for (unsigned i = 0; i < pairs->n; i++)
		if (!strcmp(pairs->pair[i].name, name))
			return true;
	return false;
}

void pairs_write(const struct service *s, const char *key,
		 const struct pairs *pairs)
{
	yyjson_mut_val *object = yyjson_mut_obj_get(s->app, key);

	for (unsigned i = 0; i < pairs->n; i++) {
		const struct walk_variable *v = &pairs->pair[i];

		if (!v->value ||
		    (pairs == &s->files && is_said(&s->environment, v->name)))
			continue;
		if (!object)
			object = yyjson_mut_obj_add_obj(s->doc, s->app, key);
		yyjson_mut_obj_add(object, yyjson_mut_strcpy(s->doc, v->name),
				   yyjson_mut_strcpy(s->doc, v->value));
	}
}
