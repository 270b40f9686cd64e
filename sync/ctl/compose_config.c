/* A service of a Compose file: configs, files that the document itself holds.
 */
#include <stdlib.h>

#include "compose_service.h"

enum { CONFIG_MAX = 64 << 10 };

struct config {
	const char *source, *target, *content;
	uint64_t uid, gid, mode;
};

static void config_source(struct walk *w, const struct compose_node *value,
			  void *into)
{
	struct config *c = into;

	c->source = walk_text(w, value, "the name of a config");
}

static void config_target(struct walk *w, const struct compose_node *value,
			  void *into)
{
	struct config *c = into;

	c->target = walk_text(w, value, "a path");
}

static void config_uid(struct walk *w, const struct compose_node *value,
		       void *into)
{
	struct config *c = into;

	value_number(w, value, INT32_MAX, &c->uid);
}

static void config_gid(struct walk *w, const struct compose_node *value,
		       void *into)
{
	struct config *c = into;

	value_number(w, value, INT32_MAX, &c->gid);
}

static void config_mode(struct walk *w, const struct compose_node *value,
			void *into)
{
	struct config *c = into;

	value_mode(w, value, &c->mode);
}

static void file_read_into(struct walk *w, const struct compose_node *value,
			   void *into)
{
	struct config *c = into;
	char *text = walk_file(w, value, CONFIG_MAX);

	if (text)
		c->content = walk_keep(w, value->line, span_of(text));
	free(text);
}

static void content_read(struct walk *w, const struct compose_node *value,
			 void *into)
{
	struct config *c = into;

	c->content = walk_text(w, value, "text");
}

static void variable_read(struct walk *w, const struct compose_node *value,
			  void *into)
{
	struct config *c = into;
	const char *name = walk_text(w, value, "a variable");

	c->content = name ? text_variable(w, value->line, name) : NULL;
	if (name && !c->content)
		walk_fail(w, value->line, "the variable %.63s is not set",
			  name);
}

/* What the top level says of the config. */
static void content_find(struct walk *w, unsigned line, struct config *c)
{
	static const struct walk_key keys[] = { { "file", file_read_into },
						{ "content", content_read },
						{ "environment",
						  variable_read } };
	static const char *const others[] = { "external", "labels", "name",
					      "template_driver", NULL };
	const struct compose_node *all = walk_member(w->root, "configs");
	const struct compose_node *node = walk_member(all, c->source);
	unsigned before = w->n_problems;

	if (!node) {
		walk_fail(w, line,
			  "there is no config %.63s in configs:", c->source);
		return;
	}
	walk_map(w, node, keys, ARRAY_SIZE(keys), others, c);
	if (!c->content && w->n_problems == before)
		walk_fail(w, node->line, "want file, content or environment");
}

static void config_read(struct walk *w, const struct compose_node *value,
			void *into)
{
	static const struct walk_key keys[] = {
		{ "source", config_source }, { "target", config_target },
		{ "uid", config_uid },	     { "gid", config_gid },
		{ "mode", config_mode },
	};
	struct config c = { .mode = 0444 };
	unsigned before = w->n_problems;
	char target[80] = "/";

	if (value->kind == COMPOSE_MAP)
		walk_map(w, value, keys, ARRAY_SIZE(keys), NULL, &c);
	else
		config_source(w, value, &c);
	if (c.source && w->n_problems == before)
		content_find(w, value->line, &c);
	else if (w->n_problems == before)
		walk_fail(w, value->line, "want source");
	if (w->n_problems != before)
		return;
	text_copy(target + 1, sizeof(target) - 1, c.source);
	if (!c.target)
		c.target = walk_keep(w, value->line, span_of(target));
	if (c.target)
		mount_add(w, into, value->line,
			  (struct desired_mount){ .type = DESIRED_MOUNT_FILE,
						  .target = c.target,
						  .content = c.content,
						  .uid = (uint32_t)c.uid,
						  .gid = (uint32_t)c.gid,
						  .mode = (uint32_t)c.mode });
}

void configs_read(struct walk *w, const struct compose_node *value, void *into)
{
	walk_list(w, value, config_read, into);
}
