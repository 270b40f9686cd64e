#include "compose_tree.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <yaml.h>

#define TAG_PREFIX "tag:yaml.org,2002:"

/* ---- memory ---- */

enum { BLOCK_SIZE = 16 << 10 };

struct compose_block {
	struct compose_block *next;
	size_t used, size;
	max_align_t data[];
};

void *compose_alloc(struct compose_arena *arena, size_t size)
{
	struct compose_block *b = arena->blocks;
	size_t need = (size + sizeof(max_align_t) - 1) &
		      ~(sizeof(max_align_t) - 1);

	if (size > COMPOSE_MEMORY_MAX)
		return NULL;
	if (!b || b->size - b->used < need) {
		size_t room = need > BLOCK_SIZE ? need : BLOCK_SIZE;

		if (arena->total + room > COMPOSE_MEMORY_MAX)
			return NULL;
		b = calloc(1, sizeof(*b) + room);
		if (!b)
			return NULL;
		b->size = room;
		b->next = arena->blocks;
		arena->blocks = b;
		arena->total += room;
	}
	b->used += need;
	return (char *)b->data + b->used - need;
}

void compose_free(struct compose_arena *arena)
{
	while (arena->blocks) {
		struct compose_block *b = arena->blocks;

		arena->blocks = b->next;
		free(b);
	}
	arena->total = 0;
}

/* ---- what is being read ---- */

struct anchor {
	const char *name;
	struct compose_node *node;
};

/* A list or map whose end was not seen yet. */
struct level {
	struct compose_node *node;
	unsigned room;
};

struct reader {
	struct compose_arena *arena;
	struct compose_fault *fault;
	struct compose_node *root;
	struct level level[COMPOSE_DEPTH_MAX];
	unsigned depth, n_nodes, n_anchors, n_documents, n_merged;
	unsigned file;
	struct anchor anchor[COMPOSE_ANCHORS_MAX];
};

__attribute__((format(printf, 3, 4))) static int fail(struct reader *r,
						      unsigned line,
						      const char *fmt, ...)
{
	va_list args;

	r->fault->line = line;
	va_start(args, fmt);
	vsnprintf(r->fault->text, sizeof(r->fault->text), fmt, args);
	va_end(args);
	return -EINVAL;
}

static unsigned place_of(const struct reader *r, const yaml_mark_t *mark)
{
	return compose_place(r->file, (unsigned)mark->line + 1);
}

static int too_large(struct reader *r, unsigned line)
{
	return fail(r, line, "the file is too large");
}

static bool same(struct span a, struct span b)
{
	return a.size == b.size && !memcmp(a.data, b.data, a.size);
}

/* Puts node into the innermost list or map. */
static int attach(struct reader *r, struct compose_node *node)
{
	struct level *l = r->depth ? &r->level[r->depth - 1] : NULL;
	unsigned per, used;

	if (!l) {
		r->root = node;
		return 0;
	}
	per = l->node->kind == COMPOSE_MAP ? 2 : 1;
	used = l->node->n;
	if (used == COMPOSE_MEMBERS_MAX * per)
		return fail(r, node->line, "more than %u members in one place",
			    COMPOSE_MEMBERS_MAX);
	if (used == l->room) {
		unsigned room = l->room ? 2 * l->room : 8;
		struct compose_node **grown = compose_alloc(
			r->arena, room * sizeof(struct compose_node *));

		if (!grown)
			return too_large(r, node->line);
		if (used)
			memcpy(grown, l->node->item,
			       used * sizeof(struct compose_node *));
		l->node->item = grown;
		l->room = room;
	}
	/* Counted one by one until its end, also in a map. */
	l->node->item[l->node->n++] = node;
	return 0;
}

static struct compose_node *node_new(struct reader *r, enum compose_kind kind,
				     const yaml_mark_t *mark)
{
	struct compose_node *node = NULL;
	unsigned line = place_of(r, mark);

	if (r->n_nodes < COMPOSE_NODES_MAX)
		node = compose_alloc(r->arena, sizeof(*node));
	if (!node) {
		too_large(r, line);
		return NULL;
	}
	r->n_nodes++;
	node->kind = kind;
	node->line = line;
	return node;
}

static char *text_keep(struct reader *r, const void *data, size_t size)
{
	char *text = compose_alloc(r->arena, size + 1);

	if (text && size)
		memcpy(text, data, size);
	return text;
}

/* ---- anchors, tags ---- */

static int anchor_add(struct reader *r, const yaml_char_t *name,
		      struct compose_node *node)
{
	const char *text = (const char *)name;

	if (!name)
		return 0;
	if (r->n_anchors == COMPOSE_ANCHORS_MAX)
		return fail(r, node->line, "more than %u anchors",
			    COMPOSE_ANCHORS_MAX);
	text = text_keep(r, text, strlen(text));
	if (!text)
		return too_large(r, node->line);
	r->anchor[r->n_anchors++] = (struct anchor){ text, node };
	return 0;
}

static int alias(struct reader *r, const yaml_event_t *event)
{
	const char *name = (const char *)event->data.alias.anchor;
	unsigned line = place_of(r, &event->start_mark);

	/* The latest of that name. */
	for (unsigned i = r->n_anchors; i-- > 0;) {
		if (strcmp(r->anchor[i].name, name) != 0)
			continue;
		if (r->anchor[i].node->open)
			return fail(r, line, "*%.60s lies within itself", name);
		if (r->n_nodes++ == COMPOSE_NODES_MAX)
			return too_large(r, line);
		return attach(r, r->anchor[i].node);
	}
	return fail(r, line, "*%.60s: there is no such anchor above", name);
}

/* "!!str" and its like say nothing that matters here, but "!!str" that it is
 * not null; "!reset" and "!override" are Compose's own. */
static int tag_check(struct reader *r, const yaml_char_t *tag,
		     struct compose_node *node)
{
	static const char *const known[] = { "str",  "int", "float", "bool",
					     "null", "seq", "map" };
	const char *text = (const char *)tag;

	if (!tag || !strcmp(text, "!"))
		return 0;
	if (!strcmp(text, "!reset"))
		node->tag = COMPOSE_RESET;
	else if (!strcmp(text, "!override"))
		node->tag = COMPOSE_OVERRIDE;
	if (node->tag)
		return 0;
	if (!strcmp(text, TAG_PREFIX "str"))
		node->plain = false;
	if (!strncmp(text, TAG_PREFIX, strlen(TAG_PREFIX)))
		for (size_t i = 0; i < sizeof(known) / sizeof(*known); i++)
			if (!strcmp(text + strlen(TAG_PREFIX), known[i]))
				return 0;
	return fail(r, node->line, "tag %.60s: not supported yet", text);
}

/* ---- merge keys ---- */

static bool map_has(const struct compose_node *map, unsigned n_items,
		    struct span key)
{
	for (unsigned i = 0; i < n_items; i += 2)
		if (same(map->item[i]->text, key))
			return true;
	return false;
}

static bool is_merge(const struct compose_node *key)
{
	return key->plain && span_is(key->text, "<<");
}

/* A map that others are merged into. */
struct merging {
	struct reader *r;
	struct compose_node *into;
	unsigned room, line; /* items; that of the "<<" */
};

/* What `from` has beyond the map goes into it. */
static int merge_map(struct merging *m, const struct compose_node *from)
{
	struct compose_node *into = m->into;

	if (from->kind != COMPOSE_MAP)
		return fail(m->r, m->line, "<<: want a map or a list of maps");
	for (unsigned i = 0; i < 2 * from->n; i += 2) {
		if (m->r->n_merged++ == COMPOSE_MERGES_MAX)
			return fail(m->r, m->line, "<<: merges too much");
		if (map_has(into, into->n, from->item[i]->text))
			continue;
		if (into->n + 2 > m->room)
			return fail(m->r, m->line,
				    "<<: more than %u members in one place",
				    COMPOSE_MEMBERS_MAX);
		into->item[into->n++] = from->item[i];
		into->item[into->n++] = from->item[i + 1];
	}
	return 0;
}

static int merge_value(struct merging *m, const struct compose_node *value)
{
	int err = 0;

	if (value->kind != COMPOSE_LIST)
		return merge_map(m, value);
	for (unsigned i = 0; i < value->n && err == 0; i++)
		err = merge_map(m, value->item[i]);
	return err;
}

/* How many items a map may come to have. */
static unsigned merged_room(const struct compose_node *map, unsigned n_items)
{
	uint64_t room = n_items;

	for (unsigned i = 0; i < n_items; i += 2) {
		const struct compose_node *v = map->item[i + 1];

		if (!is_merge(map->item[i]))
			continue;
		room += v->kind == COMPOSE_MAP ? 2 * v->n : 0;
		for (unsigned j = 0; v->kind == COMPOSE_LIST && j < v->n; j++)
			room += v->item[j]->kind == COMPOSE_MAP
					? 2 * v->item[j]->n
					: 0;
	}
	return room < 2 * COMPOSE_MEMBERS_MAX ? (unsigned)room
					      : 2 * COMPOSE_MEMBERS_MAX;
}

/* The map's own members first, since they win; then, in order, what is merged
 * into it. n still counts items. */
static int merge(struct reader *r, struct compose_node *map)
{
	struct compose_node **own = map->item;
	unsigned n_own = map->n;
	struct merging m = { .r = r,
			     .into = map,
			     .room = merged_room(map, n_own) };
	int err = 0;

	map->item = compose_alloc(r->arena,
				  m.room * sizeof(struct compose_node *));
	if (!map->item)
		return too_large(r, map->line);
	map->n = 0;
	for (unsigned i = 0; i < n_own; i += 2)
		if (!is_merge(own[i])) {
			map->item[map->n++] = own[i];
			map->item[map->n++] = own[i + 1];
		}
	for (unsigned i = 0; i < n_own && err == 0; i += 2) {
		m.line = own[i]->line;
		if (is_merge(own[i]))
			err = merge_value(&m, own[i + 1]);
	}
	return err;
}

/* Every key is text and none is there twice. */
static int map_end(struct reader *r, struct compose_node *map)
{
	bool merges = false;
	int err;

	for (unsigned i = 0; i < map->n; i += 2) {
		const struct compose_node *key = map->item[i];

		if (key->kind != COMPOSE_TEXT)
			return fail(r, key->line, "want text for a key");
		if (map_has(map, i, key->text))
			return fail(r, key->line, "%.60s: is there twice",
				    key->text.data);
		merges = merges || is_merge(key);
	}
	err = merges ? merge(r, map) : 0;
	map->n /= 2;
	return err;
}

/* ---- events ---- */

static int scalar(struct reader *r, const yaml_event_t *event)
{
	struct compose_node *node = node_new(r, COMPOSE_TEXT,
					     &event->start_mark);
	size_t size = event->data.scalar.length;
	const char *text;
	int err;

	if (!node)
		return -EINVAL;
	if (memchr(event->data.scalar.value, '\0', size))
		return fail(r, node->line, "text with a NUL byte");
	text = text_keep(r, event->data.scalar.value, size);
	if (!text)
		return too_large(r, node->line);
	node->text = (struct span){ text, size };
	node->plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
	err = tag_check(r, event->data.scalar.tag, node);
	if (err == 0)
		err = anchor_add(r, event->data.scalar.anchor, node);
	return err ? err : attach(r, node);
}

static int container(struct reader *r, const yaml_event_t *event)
{
	bool is_map = event->type == YAML_MAPPING_START_EVENT;
	struct compose_node *node = node_new(
		r, is_map ? COMPOSE_MAP : COMPOSE_LIST, &event->start_mark);
	int err;

	if (!node)
		return -EINVAL;
	node->open = true;
	err = tag_check(r,
			is_map ? event->data.mapping_start.tag
			       : event->data.sequence_start.tag,
			node);
	if (err == 0)
		err = anchor_add(r,
				 is_map ? event->data.mapping_start.anchor
					: event->data.sequence_start.anchor,
				 node);
	if (err == 0)
		err = attach(r, node);
	if (err)
		return err;
	if (r->depth == COMPOSE_DEPTH_MAX)
		return fail(r, node->line, "nested deeper than %u",
			    COMPOSE_DEPTH_MAX);
	r->level[r->depth++] = (struct level){ node, 0 };
	return 0;
}

static int container_end(struct reader *r)
{
	struct compose_node *node = r->level[--r->depth].node;

	assert(node); /* events come in pairs */
	node->open = false;
	return node->kind == COMPOSE_MAP ? map_end(r, node) : 0;
}

static int take(struct reader *r, const yaml_event_t *event)
{
	switch (event->type) {
	case YAML_SCALAR_EVENT:
		return scalar(r, event);
	case YAML_ALIAS_EVENT:
		return alias(r, event);
	case YAML_SEQUENCE_START_EVENT:
	case YAML_MAPPING_START_EVENT:
		return container(r, event);
	case YAML_SEQUENCE_END_EVENT:
	case YAML_MAPPING_END_EVENT:
		return container_end(r);
	case YAML_DOCUMENT_START_EVENT:
		if (r->n_documents++)
			return fail(r, place_of(r, &event->start_mark),
				    "a second document: want one a file");
		return 0;
	case YAML_NO_EVENT:
	case YAML_STREAM_START_EVENT:
	case YAML_STREAM_END_EVENT:
	case YAML_DOCUMENT_END_EVENT:
		return 0;
	}
	return 0;
}

static int parser_fail(struct reader *r, const yaml_parser_t *parser)
{
	return fail(r, place_of(r, &parser->problem_mark), "%s%s%s",
		    parser->problem ? parser->problem : "is no YAML",
		    parser->context ? " " : "",
		    parser->context ? parser->context : "");
}

int compose_tree(const struct compose_input *input, struct compose_node **root,
		 struct compose_fault *fault)
{
	struct reader *r = calloc(1, sizeof(*r));
	yaml_parser_t parser;
	bool ended = false;
	int err = 0;

	if (!r || !yaml_parser_initialize(&parser)) {
		free(r);
		return -ENOMEM;
	}
	r->arena = input->arena;
	r->file = input->file;
	r->fault = fault;
	yaml_parser_set_input_string(&parser,
				     (const unsigned char *)input->text.data,
				     input->text.size);
	while (err == 0 && !ended) {
		yaml_event_t event;

		if (!yaml_parser_parse(&parser, &event)) {
			err = parser_fail(r, &parser);
			break;
		}
		err = take(r, &event);
		ended = event.type == YAML_STREAM_END_EVENT;
		yaml_event_delete(&event);
	}
	yaml_parser_delete(&parser);
	*root = err ? NULL : r->root;
	free(r);
	return err;
}

bool compose_is_null(const struct compose_node *node)
{
	static const char *const words[] = { "", "~", "null", "Null", "NULL" };

	for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
		if (node->kind == COMPOSE_TEXT && node->plain &&
		    span_is(node->text, words[i]))
			return true;
	return false;
}
