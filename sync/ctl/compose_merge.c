/* Several files, and services that extend others: trees laid over trees, by the
 * rules of Compose (13-merge.md of its specification): maps key by key, lists
 * one after the other, all else replaced; a command is replaced as a whole; a
 * list of KEY=VALUE and a map are the same; !override replaces, !reset takes
 * away. Nodes are shared, never changed. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "compose_walk.h"

enum { EXTENDS_MAX = 8 };

static struct compose_node *node_new(struct walk *w, enum compose_kind kind,
				     unsigned line, size_t n_items)
{
	struct compose_node *node = compose_alloc(&w->arena, sizeof(*node));
	/* NOLINTNEXTLINE(bugprone-sizeof-expression): pointers are meant */
	size_t size = n_items * sizeof(*node->item);

	if (node)
		node->item = compose_alloc(&w->arena, size);
	if (!node || !node->item) {
		walk_fail(w, line, "the file is too large");
		return NULL;
	}
	node->kind = kind;
	node->line = line;
	return node;
}

static bool is_among(const char *key, const char *const *list)
{
	for (; *list; list++)
		if (!strcmp(*list, key))
			return true;
	return false;
}

/* ---- lists that are maps ---- */

static struct compose_node *text_new(struct walk *w, unsigned line,
				     struct span text)
{
	struct compose_node *node = node_new(w, COMPOSE_TEXT, line, 0);
	const char *kept = node ? walk_keep(w, line, text) : NULL;

	if (!kept)
		return NULL;
	node->text = (struct span){ kept, text.size };
	return node;
}

/* "KEY=VALUE", "KEY" for null; of hosts also "KEY:VALUE". */
static int pair_split(struct walk *w, const struct compose_node *item,
		      struct compose_node **pair)
{
	struct span rest = item->text, key;
	bool has_equals = memchr(rest.data, '=', rest.size);

	span_cut(&rest, has_equals ? '=' : ':', &key);
	pair[0] = text_new(w, item->line, key);
	pair[1] = text_new(w, item->line,
			   rest.data ? rest : (struct span){ "", 0 });
	if (pair[1])
		pair[1]->plain = !rest.data;
	return pair[0] && pair[1] ? 0 : -EINVAL;
}

/* Of depends_on and networks the keys alone. */
static const struct compose_node *as_map(struct walk *w,
					 const struct compose_node *node,
					 const char *key)
{
	static const char *const pairs[] = { "environment", "labels",
					     "annotations", "sysctls",
					     "extra_hosts", NULL };
	static const char *const names[] = { "depends_on", "networks", NULL };
	struct compose_node *map;

	if (node->kind != COMPOSE_LIST ||
	    (!is_among(key, pairs) && !is_among(key, names)))
		return node;
	map = node_new(w, COMPOSE_MAP, node->line, 2 * (size_t)node->n);
	for (unsigned i = 0; map && i < node->n; i++) {
		const struct compose_node *item = node->item[i];

		/* What is wrong with it is told where it is read. */
		if (item->kind != COMPOSE_TEXT)
			return node;
		if (is_among(key, pairs)) {
			if (pair_split(w, item, &map->item[2 * i]) < 0)
				return NULL;
		} else {
			map->item[2 * i] = node->item[i];
			map->item[2 * i + 1] = text_new(w, item->line,
							(struct span){ "", 0 });
			if (!map->item[2 * i + 1])
				return NULL;
			map->item[2 * i + 1]->plain = true;
		}
		map->n++;
	}
	return map;
}

/* ---- merging ---- */

static struct compose_node *lists_merge(struct walk *w,
					const struct compose_node *base,
					const struct compose_node *over)
{
	struct compose_node *list = node_new(w, COMPOSE_LIST, over->line,
					     base->n + over->n);

	for (unsigned i = 0; list && i < base->n; i++)
		list->item[list->n++] = base->item[i];
	for (unsigned i = 0; list && i < over->n; i++)
		list->item[list->n++] = over->item[i];
	return list;
}

static void member_remove(struct compose_node *map, unsigned i)
{
	map->n--;
	for (unsigned k = 2 * i; k < 2 * map->n; k++)
		map->item[k] = map->item[k + 2];
}

static int member_merge(struct walk *w, struct compose_node *map,
			struct compose_node *const pair[2])
{
	for (unsigned i = 0; i < map->n; i++) {
		if (strcmp(map->item[2 * i]->text.data, pair[0]->text.data) !=
		    0)
			continue;
		if (pair[1]->tag == COMPOSE_RESET) {
			member_remove(map, i);
			return 0;
		}
		map->item[2 * i] = pair[0];
		map->item[2 * i + 1] = merge_nodes(w, map->item[2 * i + 1],
						   pair[1], pair[0]->text.data);
		return map->item[2 * i + 1] ? 0 : -EINVAL;
	}
	if (pair[1]->tag == COMPOSE_RESET)
		return 0;
	map->item[2 * map->n] = pair[0];
	map->item[2 * map->n++ + 1] = pair[1];
	return 0;
}

static struct compose_node *maps_merge(struct walk *w,
				       const struct compose_node *base,
				       const struct compose_node *over)
{
	struct compose_node *map = node_new(w, COMPOSE_MAP, over->line,
					    2 * ((size_t)base->n + over->n));

	for (unsigned i = 0; map && i < 2 * base->n; i++)
		map->item[i] = base->item[i];
	if (map)
		map->n = base->n;
	for (unsigned i = 0; map && i < over->n; i++)
		if (member_merge(w, map, &over->item[2 * i]) < 0)
			return NULL;
	return map;
}

struct compose_node *merge_nodes(struct walk *w,
				 const struct compose_node *base,
				 const struct compose_node *over,
				 const char *key)
{
	static const char *const replaced[] = { "command", "entrypoint", "test",
						NULL };

	if (is_among(key, replaced) || compose_is_null(base) ||
	    over->tag == COMPOSE_OVERRIDE)
		return (struct compose_node *)over;
	if (compose_is_null(over))
		return (struct compose_node *)base;
	base = as_map(w, base, key);
	over = as_map(w, over, key);
	if (!base || !over)
		return NULL;
	if (base->kind == COMPOSE_MAP && over->kind == COMPOSE_MAP)
		return maps_merge(w, base, over);
	if (base->kind == COMPOSE_LIST && over->kind == COMPOSE_LIST)
		return lists_merge(w, base, over);
	return (struct compose_node *)over;
}

/* ---- files ---- */

struct compose_node *merge_file_read(struct walk *w, const char *name,
				     struct span text)
{
	struct compose_input input = { text, w->n_files, &w->arena };
	struct compose_fault fault = { 0 };
	struct compose_node *root = NULL;
	int err;

	if (w->n_files == COMPOSE_FILES_MAX) {
		walk_fail(w, compose_place(0, 1), "more than %u files",
			  COMPOSE_FILES_MAX);
		return NULL;
	}
	w->file[w->n_files++] = name;
	if (text.size > COMPOSE_SOURCE_MAX) {
		walk_fail(w, compose_place(input.file, 1),
			  "is larger than %u KB", COMPOSE_SOURCE_MAX >> 10);
		return NULL;
	}
	err = compose_tree(&input, &root, &fault);
	if (err == -EINVAL)
		walk_fail(w, fault.line, "%s", fault.text);
	else if (err < 0)
		walk_fail(w, compose_place(input.file, 1), "%s",
			  strerror(-err));
	return root;
}

/* ---- extends ---- */

/* A service that is being put together, and whence. */
struct extending {
	struct walk *w;
	unsigned depth;
};

static struct compose_node *extend(struct extending *e,
				   const struct compose_node *services,
				   const char *name);

/* The services of another file, which `node` names. */
static const struct compose_node *other_services(
	struct walk *w, const struct compose_node *node)
{
	const char *name = walk_text(w, node, "a file");
	char *text = name ? walk_file(w, node, COMPOSE_SOURCE_MAX) : NULL;
	const struct compose_node *root =
		text ? merge_file_read(w, name, span_of(text)) : NULL;

	free(text); /* the tree has copies */
	return walk_member(root, "services");
}

static struct compose_node *without_extends(struct walk *w,
					    const struct compose_node *node)
{
	struct compose_node *map = node_new(w, COMPOSE_MAP, node->line,
					    2 * (size_t)node->n);

	for (unsigned i = 0; map && i < node->n; i++) {
		if (!strcmp(node->item[2 * i]->text.data, "extends"))
			continue;
		map->item[2 * map->n] = node->item[2 * i];
		map->item[2 * map->n++ + 1] = node->item[2 * i + 1];
	}
	return map;
}

static struct compose_node *extend_by(struct extending *e,
				      const struct compose_node *services,
				      const struct compose_node *node,
				      const struct compose_node *by)
{
	struct walk *w = e->w;
	const struct compose_node *service = by, *file = NULL;
	struct compose_node *base, *own;
	const char *name;

	if (by->kind == COMPOSE_MAP) {
		service = walk_member(by, "service");
		file = walk_member(by, "file");
	}
	name = service ? walk_text(w, service, "a service") : NULL;
	if (!service)
		walk_fail(w, by->line,
			  "want service, and file if it is "
			  "another");
	if (file)
		services = other_services(w, file);
	if (!name || !services)
		return NULL;
	base = extend(e, services, name);
	if (!base && w->n_problems == 0)
		walk_fail(w, by->line, "there is no service %.63s", name);
	own = base ? without_extends(w, node) : NULL;
	return own ? merge_nodes(w, base, own, "") : NULL;
}

static struct compose_node *extend(struct extending *e,
				   const struct compose_node *services,
				   const char *name)
{
	const struct compose_node *node = walk_member(services, name);
	const struct compose_node *by = walk_member(node, "extends");
	struct compose_node *whole;

	if (!by)
		return (struct compose_node *)node;
	if (++e->depth > EXTENDS_MAX) {
		walk_fail(e->w, by->line,
			  "services extend each other in a ring, or too deep");
		return NULL;
	}
	whole = extend_by(e, services, node, by);
	e->depth--;
	return whole;
}

const struct compose_node *merge_extends(struct walk *w,
					 const struct compose_node *services,
					 const char *name)
{
	struct extending e = { .w = w };
	unsigned before = w->n_problems;
	const struct compose_node *node;
	size_t used;

	if (!walk_member(walk_member(services, name), "extends"))
		return walk_member(services, name);
	used = walk_key(w, "extends");
	node = extend(&e, services, name);
	if (!node && w->n_problems == before)
		walk_fail(w, walk_member(services, name)->line,
			  "names a service that is not there");
	walk_back(w, used);
	return node;
}
