/* A service of a Compose file: configs and secrets, files that the document
 * itself holds. */
#include <stdlib.h>
#include <string.h>

#include "compose_service.h"

enum { CONFIG_MAX = 64 << 10 };

struct config {
	bool is_secret;
	const char *source, *target, *content;
	uint64_t uid, gid, mode;
	bool has_owner;
};

static void config_source(struct walk *w, const struct compose_node *value,
			  void *into)
{
	struct config *c = into;

	c->source = walk_text(w, value,
			      c->is_secret ? "the name of a secret"
					   : "the name of a config");
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

	c->has_owner = value_number(w, value, INT32_MAX, &c->uid);
}

static void config_gid(struct walk *w, const struct compose_node *value,
		       void *into)
{
	struct config *c = into;

	c->has_owner = value_number(w, value, INT32_MAX, &c->gid);
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

/* What the top level says of it. The text of a secret in the file itself, which
 * the hub keeps as it is, would be none. */
static void content_find(struct walk *w, unsigned line, struct config *c)
{
	static const struct walk_key keys[] = { { "file", file_read_into },
						{ "environment",
						  variable_read },
						{ "content", content_read } };
	static const char *const others[] = { "external",    "labels",
					      "name",	     "driver",
					      "driver_opts", "template_driver",
					      NULL };
	const char *section = c->is_secret ? "secrets" : "configs";
	const struct compose_node *all = walk_member(w->root, section);
	const struct compose_node *node = walk_member(all, c->source);
	unsigned before = w->n_problems;

	if (!node) {
		walk_fail(w, line, "there is no %.6s %.63s in %s:", section,
			  c->source, section);
		return;
	}
	walk_map(w, node, keys, ARRAY_SIZE(keys) - c->is_secret, others, c);
	if (!c->content && w->n_problems == before)
		walk_fail(w, node->line,
			  c->is_secret ? "want file or environment"
				       : "want file, content or environment");
}

/* Of a secret without a slash it is a name in /run/secrets. */
static const char *target_of(struct walk *w, unsigned line,
			     const struct config *c)
{
	const char *name = c->target ? c->target : c->source;
	const char *folder = c->is_secret ? "/run/secrets/" : "/";
	char target[256];

	if (c->target && (c->target[0] == '/' || !c->is_secret))
		return c->target;
	if (strlen(name) > 200) {
		walk_fail(w, line, "want a shorter target");
		return NULL;
	}
	text_copy(target, sizeof(target), folder);
	text_copy(target + strlen(folder), sizeof(target) - strlen(folder),
		  name);
	return walk_keep(w, line, span_of(target));
}

static void one_read(struct walk *w, const struct compose_node *value,
		     struct service *s, bool is_secret)
{
	static const struct walk_key keys[] = {
		{ "source", config_source }, { "target", config_target },
		{ "uid", config_uid },	     { "gid", config_gid },
		{ "mode", config_mode },
	};
	struct config c = { .is_secret = is_secret,
			    .mode = is_secret ? 0400 : 0444 };
	unsigned before = w->n_problems;

	if (value->kind == COMPOSE_MAP)
		walk_map(w, value, keys, ARRAY_SIZE(keys), NULL, &c);
	else
		config_source(w, value, &c);
	if (c.source && w->n_problems == before)
		content_find(w, value->line, &c);
	else if (w->n_problems == before)
		walk_fail(w, value->line, "want source");
	if (w->n_problems != before || !c.source)
		return;
	c.target = target_of(w, value->line, &c);
	if (c.target)
		mount_add(w, s, value->line,
			  (struct desired_mount){
				  .type = is_secret ? DESIRED_MOUNT_SECRET
						    : DESIRED_MOUNT_FILE,
				  .target = c.target,
				  .content = c.content,
				  .uid = (uint32_t)c.uid,
				  .gid = (uint32_t)c.gid,
				  .has_owner = c.has_owner,
				  .mode = (uint32_t)c.mode });
}

static void config_read(struct walk *w, const struct compose_node *value,
			void *into)
{
	one_read(w, value, into, false);
}

static void secret_read(struct walk *w, const struct compose_node *value,
			void *into)
{
	one_read(w, value, into, true);
}

void configs_read(struct walk *w, const struct compose_node *value, void *into)
{
	walk_list(w, value, config_read, into);
}

void secrets_read(struct walk *w, const struct compose_node *value, void *into)
{
	walk_list(w, value, secret_read, into);
}
