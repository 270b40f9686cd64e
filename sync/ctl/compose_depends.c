/* A service of a Compose file: what it waits for. */
#include <string.h>

#include "compose_service.h"

void depend(struct walk *w, struct service *s, struct dependency_said said)
{
	for (unsigned i = 0; i < s->n_depends; i++)
		if (!strcmp(s->depends[i].name, said.name)) {
			/* links: ask for less than depends_on. */
			if (said.condition > s->depends[i].condition)
				s->depends[i] = said;
			return;
		}
	if (s->n_depends == DESIRED_LIST_MAX)
		walk_fail(w, said.line, "want at most %u services",
			  DESIRED_LIST_MAX);
	else
		s->depends[s->n_depends++] = said;
}

static void condition_read(struct walk *w, const struct compose_node *value,
			   void *into)
{
	static const char *const words[] = {
		[DESIRED_STARTED] = "service_started",
		[DESIRED_HEALTHY] = "service_healthy",
		[DESIRED_COMPLETED] = "service_completed_successfully",
	};
	struct dependency_said *said = into;
	const char *text = walk_text(w, value, words[0]);

	for (size_t i = 0; text && i < ARRAY_SIZE(words); i++)
		if (!strcmp(text, words[i])) {
			said->condition = (enum desired_condition)i;
			return;
		}
	if (text)
		walk_fail(w, value->line, "\"%.40s\": want %s, %s or %s", text,
			  words[0], words[1], words[2]);
}

static void required_read(struct walk *w, const struct compose_node *value,
			  void *into)
{
	struct dependency_said *said = into;
	bool is = true;

	if (value_bool(w, value, &is))
		said->is_optional = !is;
}

static void restart_notice(struct walk *w, const struct compose_node *value,
			   void *into)
{
	bool is = false;

	(void)into;
	if (value_bool(w, value, &is) && is)
		walk_notice(w, value->line,
			    "is not used: it goes on when that one is started "
			    "again");
}

static void name_read(struct walk *w, const struct compose_node *value,
		      void *into)
{
	const char *text = walk_text(w, value, "a service");

	if (text)
		depend(w, into,
		       (struct dependency_said){ .name = text,
						 .line = value->line });
}

static bool is_there(struct walk *w, const char *name)
{
	const struct compose_node *node =
		walk_member(walk_member(w->root, "services"), name);

	return node && service_is_on(w, node);
}

void depends_on_read(struct walk *w, const struct compose_node *value,
		     void *into)
{
	static const struct walk_key keys[] = {
		{ "condition", condition_read },
		{ "required", required_read },
		{ "restart", restart_notice },
	};

	if (value->kind != COMPOSE_MAP) {
		walk_list(w, value, name_read, into);
		return;
	}
	for (unsigned i = 0; i < value->n; i++) {
		const struct compose_node *key = value->item[2 * i];
		struct dependency_said said = { .name = key->text.data,
						.line = key->line };
		size_t used = walk_key(w, said.name);

		if (!compose_is_null(value->item[2 * i + 1]))
			walk_map(w, value->item[2 * i + 1], keys,
				 ARRAY_SIZE(keys), NULL, &said);
		if (!said.is_optional || is_there(w, said.name))
			depend(w, into, said);
		walk_back(w, used);
	}
}

static void link_read(struct walk *w, const struct compose_node *value,
		      void *into)
{
	const char *text = walk_text(w, value, "a service");
	const char *alias = text ? strchr(text, ':') : NULL;

	if (alias)
		text = walk_keep(w, value->line,
				 (struct span){ text, (size_t)(alias - text) });
	if (text)
		depend(w, into,
		       (struct dependency_said){ .name = text,
						 .line = value->line });
	if (alias && text)
		link_add(w, into, value->line, text, alias + 1);
}

/* Services know each other by name anyway. */
void links_read(struct walk *w, const struct compose_node *value, void *into)
{
	walk_list(w, value, link_read, into);
}

void depends_write(struct walk *w, const struct service *s)
{
	static const char *const words[] = {
		[DESIRED_STARTED] = "started",
		[DESIRED_HEALTHY] = "healthy",
		[DESIRED_COMPLETED] = "completed",
	};
	size_t size = s->n_depends * sizeof(*s->depends);
	yyjson_mut_val *list, *o;

	if (!s->n_depends)
		return;
	s->seen->depends = compose_alloc(&w->arena, size);
	if (!s->seen->depends) {
		walk_fail(w, s->seen->line, "the file is too large");
		return;
	}
	memcpy(s->seen->depends, s->depends, size);
	s->seen->n_depends = s->n_depends;
	list = yyjson_mut_obj_add_arr(s->doc, s->app, "depends_on");
	for (unsigned i = 0; i < s->n_depends; i++) {
		o = yyjson_mut_arr_add_obj(s->doc, list);
		yyjson_mut_obj_add_strcpy(s->doc, o, "app", s->depends[i].name);
		yyjson_mut_obj_add_str(s->doc, o, "condition",
				       words[s->depends[i].condition]);
	}
}

/* ---- all of them ---- */

struct checked {
	struct walk *w;
	const struct service_seen *seen;
	unsigned n;
	uint8_t visited[DESIRED_APPS_MAX]; /* 1: on the way, 2: done */
};

static unsigned find(const struct checked *c, const char *name)
{
	unsigned i = 0;

	while (i < c->n && strcmp(c->seen[i].name, name) != 0)
		i++;
	return i;
}

/* What an image says is not known here. */
static void health_notice(const struct checked *c,
			  const struct service_seen *seen)
{
	for (unsigned k = 0; k < seen->n_depends; k++) {
		const struct dependency_said *said = &seen->depends[k];
		unsigned other = find(c, said->name);

		if (other < c->n && said->condition == DESIRED_HEALTHY &&
		    !c->seen[other].has_health && !c->seen[other].no_health)
			walk_notice(c->w, said->line,
				    "%.63s has no healthcheck: where its image "
				    "has none it counts as healthy once it "
				    "runs",
				    said->name);
	}
}

static void one_check(struct checked *c, unsigned i)
{
	const struct service_seen *seen = &c->seen[i];

	c->visited[i] = 1;
	health_notice(c, seen);
	for (unsigned k = 0; k < seen->n_depends; k++) {
		const struct dependency_said *said = &seen->depends[k];
		unsigned other = find(c, said->name);

		if (other == c->n)
			walk_fail(c->w, said->line,
				  "there is no service %.63s, or its profiles "
				  "are off",
				  said->name);
		else if (c->visited[other] == 1)
			walk_fail(c->w, said->line,
				  "%s and %.63s wait for each other",
				  seen->name, said->name);
		else if (said->condition == DESIRED_HEALTHY &&
			 c->seen[other].no_health)
			walk_fail(c->w, said->line,
				  "the healthcheck: of %.63s is off",
				  said->name);
		else if (!c->visited[other])
			one_check(c, other);
	}
	c->visited[i] = 2;
}

void depends_check(struct walk *w, const struct service_seen *seen, unsigned n)
{
	struct checked c = { .w = w, .seen = seen, .n = n };

	for (unsigned i = 0; i < n; i++) {
		size_t used = walk_key(w, "services");

		if (!c.visited[i])
			one_check(&c, i);
		walk_back(w, used);
	}
}
