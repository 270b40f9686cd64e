/* The walk through a Compose file, and its top level. */
#include "compose.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "compose_walk.h"
#include "oci/desired.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

/* ---- the walk ---- */

static void path_add(struct walk *w, const char *fmt, const char *key,
		     unsigned i)
{
	size_t room = WALK_PATH_SIZE - w->path_used;
	int n = key ? snprintf(w->path + w->path_used, room, fmt, key)
		    : snprintf(w->path + w->path_used, room, fmt, i);

	w->path_used += (size_t)n < room ? (size_t)n : room - 1;
}

size_t walk_key(struct walk *w, const char *key)
{
	size_t used = w->path_used;

	path_add(w, used ? ".%.63s" : "%.63s", key, 0);
	return used;
}

size_t walk_item(struct walk *w, unsigned i)
{
	size_t used = w->path_used;

	path_add(w, "[%u]", NULL, i);
	return used;
}

void walk_back(struct walk *w, size_t used)
{
	w->path_used = used;
	w->path[used] = '\0';
}

static void line_add(struct walk *w, struct compose_lines *lines, unsigned line,
		     const char *text)
{
	char *to;
	int n;

	if (lines->n == COMPOSE_PROBLEMS_MAX) {
		lines->more++;
		return;
	}
	to = lines->line[lines->n++];
	n = snprintf(to, COMPOSE_LINE_SIZE, "%s:%u: %s%s%s", w->config->file,
		     line, w->path, w->path_used ? ": " : "", text);
	if (n >= COMPOSE_LINE_SIZE)
		memcpy(to + COMPOSE_LINE_SIZE - 4, "...", 4);
}

void walk_fail(struct walk *w, unsigned line, const char *fmt, ...)
{
	char text[COMPOSE_LINE_SIZE];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	w->n_problems++;
	line_add(w, &w->compose->problems, line, text);
}

void walk_notice(struct walk *w, unsigned line, const char *fmt, ...)
{
	char text[COMPOSE_LINE_SIZE];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	line_add(w, &w->compose->notices, line, text);
}

static bool is_among(const char *const *list, const char *name)
{
	for (; list && *list; list++)
		if (!strcmp(*list, name))
			return true;
	return false;
}

static void member_read(struct walk *w, struct compose_node *const pair[2],
			const struct walk_key *keys, size_t n,
			const char *const *others, void *into)
{
	const char *name = pair[0]->text.data;

	for (size_t i = 0; i < n; i++)
		if (!strcmp(keys[i].name, name)) {
			keys[i].read(w, pair[1], into);
			return;
		}
	/* Extensions are for others, but this one is for us. */
	if (!strncmp(name, "x-", 2) && strcmp(name, "x-zooid") != 0)
		return;
	walk_fail(w, pair[0]->line,
		  is_among(others, name) || !strcmp(name, "x-zooid")
			  ? "not supported yet"
			  : "no such key");
}

void walk_map(struct walk *w, const struct compose_node *map,
	      const struct walk_key *keys, size_t n, const char *const *others,
	      void *into)
{
	if (map->kind != COMPOSE_MAP) {
		walk_fail(w, map->line, "want a map");
		return;
	}
	for (unsigned i = 0; i < map->n; i++) {
		size_t used = walk_key(w, map->item[2 * i]->text.data);

		member_read(w, &map->item[2 * i], keys, n, others, into);
		walk_back(w, used);
	}
}

const char *walk_text(struct walk *w, const struct compose_node *node,
		      const char *want)
{
	if (node->kind != COMPOSE_TEXT || compose_is_null(node)) {
		walk_fail(w, node->line, "want %s", want);
		return NULL;
	}
	return text_interpolate(w, node->line, node->text);
}

/* ---- the top level ---- */

static void name_read(struct walk *w, const struct compose_node *value,
		      void *into)
{
	static const char want[] = "1 to 63 of a-z, 0-9 and -";
	const char *text = walk_text(w, value, want);

	(void)into;
	if (!text)
		return;
	if (!id_valid(span_of(text)))
		walk_fail(w, value->line, "\"%.63s\": want %s", text, want);
	else
		text_copy(w->compose->name, sizeof(w->compose->name), text);
}

static void version_read(struct walk *w, const struct compose_node *value,
			 void *into)
{
	(void)into;
	walk_notice(w, value->line, "is obsolete and ignored");
}

static void services_read(struct walk *w, const struct compose_node *value,
			  void *into)
{
	bool *seen = into;

	*seen = true;
	if (value->kind != COMPOSE_MAP || !value->n) {
		walk_fail(w, value->line, "want at least one service");
		return;
	}
	if (value->n > DESIRED_APPS_MAX) {
		walk_fail(w, value->line, "want at most %u services",
			  DESIRED_APPS_MAX);
		return;
	}
	for (unsigned i = 0; i < value->n; i++) {
		const struct compose_node *key = value->item[2 * i];
		size_t used = walk_key(w, key->text.data);

		service_read(w, key->text.data, key->line,
			     value->item[2 * i + 1]);
		walk_back(w, used);
	}
}

static void top_read(struct walk *w, const struct compose_node *root)
{
	static const struct walk_key keys[] = {
		{ "name", name_read },
		{ "version", version_read },
		{ "services", services_read },
	};
	static const char *const others[] = { "networks", "volumes", "configs",
					      "secrets",  "include", "models",
					      NULL };
	bool has_services = false;

	if (!root || compose_is_null(root)) {
		walk_fail(w, 1, "is empty; want services:");
		return;
	}
	if (root->kind != COMPOSE_MAP) {
		walk_fail(w, root->line, "want a map with services:");
		return;
	}
	walk_map(w, root, keys, ARRAY_SIZE(keys), others, &has_services);
	if (!has_services)
		walk_fail(w, root->line, "services: is missing");
}

int compose_read(struct span text, const struct compose_config *config,
		 struct compose *compose)
{
	struct walk w = { .compose = compose, .config = config };
	struct compose_fault fault = { 0 };
	struct compose_node *root;
	int err;

	*compose = (struct compose){ 0 };
	compose->apps = yyjson_mut_doc_new(NULL);
	if (!compose->apps)
		return -ENOMEM;
	yyjson_mut_doc_set_root(compose->apps, yyjson_mut_arr(compose->apps));
	if (text.size > COMPOSE_SOURCE_MAX) {
		walk_fail(&w, 1, "is larger than %u KB",
			  COMPOSE_SOURCE_MAX >> 10);
		return -EINVAL;
	}
	err = compose_tree(text, &w.arena, &root, &fault);
	if (err == -EINVAL)
		walk_fail(&w, fault.line, "%s", fault.text);
	else if (err == 0)
		top_read(&w, root);
	compose_free(&w.arena);
	return err ? err : w.n_problems ? -EINVAL : 0;
}

void compose_end(struct compose *compose)
{
	yyjson_mut_doc_free(compose->apps);
	compose->apps = NULL;
}
