/* YAML as a tree, with the line of everything in it; the one user of libyaml.
 *
 * Who chose the bytes: whoever wrote the file, which may come from anywhere.
 * What must not happen: that a small file takes much memory or time. So depth,
 * nodes, members of one node and merges are counted; an alias is a pointer to
 * what it names, never a copy, and none can lie within itself; merge keys are
 * resolved here, against a budget. Scalars stay as they were written: nothing
 * becomes a number or a boolean, so "no" and 22:22 are the text that they look
 * like. */
#ifndef CTL_COMPOSE_TREE_H
#define CTL_COMPOSE_TREE_H

#include "base/span.h"

enum {
	COMPOSE_DEPTH_MAX = 32,
	COMPOSE_NODES_MAX = 20000,
	COMPOSE_MEMBERS_MAX = 2048, /* of one list or map */
	COMPOSE_ANCHORS_MAX = 256,
	COMPOSE_MERGES_MAX = 20000, /* members taken over by merge keys */
	COMPOSE_MEMORY_MAX = 8 << 20,
};

struct compose_node {
	enum compose_kind { COMPOSE_TEXT, COMPOSE_LIST, COMPOSE_MAP } kind;
	bool plain; /* TEXT: without quotes, so it may be null */
	bool open;  /* its end was not seen yet */
	/* What becomes of what an earlier file says: it is gone, and this with
	 * it; or it is replaced instead of merged. */
	enum compose_tag {
		COMPOSE_TAG_NONE,
		COMPOSE_RESET,
		COMPOSE_OVERRIDE
	} tag;
	unsigned line;	  /* a place, see compose_place() */
	struct span text; /* TEXT: UTF-8, NUL-terminated, no NUL within */
	unsigned n;	  /* LIST, MAP: items; pairs */
	/* LIST: items. MAP: key, value, key, value; keys are TEXT and differ.
	 */
	struct compose_node **item;
};

/* Memory that is freed as a whole. */
struct compose_arena {
	struct compose_block *blocks;
	size_t total;
};

/* Zeroed memory; NULL beyond COMPOSE_MEMORY_MAX. */
void *compose_alloc(struct compose_arena *arena, size_t size);
void compose_free(struct compose_arena *arena);

/* A line, from 1, of one of several files as one number. */
static inline unsigned compose_place(unsigned file, unsigned line)
{
	return file << 24 | line;
}

static inline unsigned compose_line(unsigned place)
{
	return place & 0xffffff;
}

struct compose_fault {
	unsigned line; /* a place */
	char text[120];
};

/* What is read, and where to. */
struct compose_input {
	struct span text;
	unsigned file; /* its number */
	struct compose_arena *arena;
};

/* Reads one document. 0, *root NULL when it is empty; -EINVAL with *fault. */
int compose_tree(const struct compose_input *input, struct compose_node **root,
		 struct compose_fault *fault);

/* Whether it is null: nothing, ~ or null without quotes. */
bool compose_is_null(const struct compose_node *node);

#endif
