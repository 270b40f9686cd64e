/* The walk through a Compose file. */
#include "compose_walk.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

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
	n = snprintf(to, COMPOSE_LINE_SIZE, "%s:%u: %s%s%s",
		     w->file[line >> 24], compose_line(line), w->path,
		     w->path_used ? ": " : "", text);
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

void walk_ignore(struct walk *w, const struct compose_node *value, void *into)
{
	(void)w, (void)value, (void)into;
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

		if (map->item[2 * i + 1]->tag == COMPOSE_RESET)
			walk_fail(w, map->item[2 * i]->line,
				  "!reset: no earlier file says it");
		else
			member_read(w, &map->item[2 * i], keys, n, others,
				    into);
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

void walk_list(struct walk *w, const struct compose_node *list,
	       void (*read)(struct walk *w, const struct compose_node *value,
			    void *into),
	       void *into)
{
	if (list->kind != COMPOSE_LIST) {
		walk_fail(w, list->line, "want a list");
		return;
	}
	for (unsigned i = 0; i < list->n; i++) {
		size_t used = walk_item(w, i);

		read(w, list->item[i], into);
		walk_back(w, used);
	}
}

const struct compose_node *walk_member(const struct compose_node *map,
				       const char *key)
{
	for (unsigned i = 0; map && map->kind == COMPOSE_MAP && i < map->n; i++)
		if (!strcmp(map->item[2 * i]->text.data, key))
			return map->item[2 * i + 1];
	return NULL;
}

const char *walk_keep(struct walk *w, unsigned line, struct span text)
{
	char *kept = compose_alloc(&w->arena, text.size + 1);

	if (!kept)
		walk_fail(w, line, "the file is too large");
	else if (text.size)
		memcpy(kept, text.data, text.size);
	return kept;
}

char *walk_file(struct walk *w, const struct compose_node *node,
		size_t max_bytes)
{
	const char *path = walk_text(w, node, "a file");
	char *text = NULL;
	size_t size;
	int err;

	if (!path)
		return NULL;
	err = w->config->read ? w->config->read(path, max_bytes, &text, &size)
			      : -ENOENT;
	if (err == -EFBIG) {
		walk_fail(w, node->line, "%.80s is larger than %zu KB", path,
			  max_bytes >> 10);
	} else if (err < 0) {
		walk_fail(w, node->line, "%.80s: %s", path, strerror(-err));
	} else if (!text_is_utf8((struct span){ text, size })) {
		walk_fail(w, node->line, "%.80s is no text in UTF-8", path);
		free(text);
		return NULL;
	}
	return err < 0 ? NULL : text;
}

bool walk_file_exists(struct walk *w, const struct compose_node *node)
{
	const char *path = walk_text(w, node, "a file");
	char *text = NULL;
	size_t size;
	int err = path && w->config->read
			  ? w->config->read(path, SIZE_MAX, &text, &size)
			  : -ENOENT;

	free(text);
	return err != -ENOENT;
}
