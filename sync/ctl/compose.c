/* Compose files: how they become one tree, and its top level. */
#include "compose.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "compose_service.h"

static void name_read(struct walk *w, const struct compose_node *value,
		      void *into)
{
	static const char want[] = "1 to 63 of a-z, 0-9, - and _";
	const char *text = walk_text(w, value, want);
	char id[64];

	(void)into;
	if (!text)
		return;
	if (!name_id(text, id)) {
		walk_fail(w, value->line, "\"%.63s\": want %s", text, want);
		return;
	}
	if (strcmp(id, text) != 0)
		walk_notice(w, value->line, "it is called %s here", id);
	text_copy(w->compose->name, sizeof(w->compose->name), id);
}

static void version_read(struct walk *w, const struct compose_node *value,
			 void *into)
{
	(void)into;
	walk_notice(w, value->line, "is obsolete and ignored");
}

/* ---- services ---- */

static void services_read(struct walk *w, const struct compose_node *services)
{
	struct service_seen *seen = compose_alloc(&w->arena,
						  services->n * sizeof(*seen));
	unsigned n = 0;

	if (!seen) {
		walk_fail(w, services->line, "the file is too large");
		return;
	}
	for (unsigned i = 0; i < services->n; i++) {
		const struct compose_node *key = services->item[2 * i];
		size_t used = walk_key(w, key->text.data);
		const struct compose_node *node = merge_extends(w, services,
								key->text.data);

		if (node && service_is_on(w, node)) {
			seen[n] = (struct service_seen){ .name = key->text.data,
							 .line = key->line,
							 .replicas = 1 };
			service_names(w, seen, n, node);
			service_read(w, &seen[n++], node);
		}
		walk_back(w, used);
	}
	walk_back(w, 0);
	depends_check(w, seen, n);
	pods_check(w, seen, n);
	networks_check(w, seen, n);
	addresses_check(w, seen, n);
	if (!w->n_problems)
		names_settle(w, seen, n);
	if (!w->n_problems)
		replicas_expand(w, seen, n);
	if (!n)
		walk_fail(w, services->line,
			  "services: no profile of them is "
			  "on");
}

static void services_check(struct walk *w, const struct compose_node *value,
			   void *into)
{
	const struct compose_node **services = into;

	if (value->kind != COMPOSE_MAP || !value->n)
		walk_fail(w, value->line, "want at least one service");
	else if (value->n > DESIRED_APPS_MAX)
		walk_fail(w, value->line, "want at most %u services",
			  DESIRED_APPS_MAX);
	else
		*services = value;
}

/* ---- volumes, configs: read where a service names one ---- */

static void map_check(struct walk *w, const struct compose_node *value,
		      void *into)
{
	(void)into;
	if (value->kind != COMPOSE_MAP && !compose_is_null(value))
		walk_fail(w, value->line, "want a map");
}

/* ---- the top level ---- */

static void top_read(struct walk *w, const struct compose_node *root)
{
	static const struct walk_key keys[] = {
		{ "name", name_read },
		{ "version", version_read },
		{ "services", services_check },
		{ "volumes", map_check },
		{ "configs", map_check },
		{ "secrets", map_check },
		{ "networks", networks_top_read },
	};
	static const char *const others[] = { "include", "models", NULL };
	const struct compose_node *services = NULL;

	if (!root || compose_is_null(root)) {
		walk_fail(w, compose_place(0, 1), "is empty; want services:");
		return;
	}
	if (root->kind != COMPOSE_MAP) {
		walk_fail(w, root->line, "want a map with services:");
		return;
	}
	w->root = root;
	walk_map(w, root, keys, ARRAY_SIZE(keys), others, &services);
	if (!services && !walk_member(root, "services"))
		walk_fail(w, root->line, "services: is missing");
	if (services) {
		walk_key(w, "services");
		services_read(w, services);
		walk_back(w, 0);
	}
}

static void dotenv_add(struct walk *w, unsigned line,
		       const struct walk_variable *v, void *into)
{
	unsigned *room = into;

	(void)line;
	if (w->n_dotenv == *room) {
		unsigned grown = *room ? 2 * *room : 32;
		struct walk_variable *more =
			compose_alloc(&w->arena, grown * sizeof(*more));

		if (!more)
			return;
		if (w->n_dotenv)
			memcpy(more, w->dotenv, w->n_dotenv * sizeof(*more));
		w->dotenv = more;
		*room = grown;
	}
	w->dotenv[w->n_dotenv++] = *v;
}

/* Problems in it are told as those of a file of that name. */
static void dotenv_read(struct walk *w)
{
	unsigned file = COMPOSE_FILES_MAX - 1, room = 0;

	if (!w->config->dotenv.data)
		return;
	w->file[file] = ".env";
	if (!text_is_utf8(w->config->dotenv))
		walk_fail(w, compose_place(file, 1), "is no text in UTF-8");
	else
		env_read(w,
			 &(struct env_text){ w->config->dotenv,
					     compose_place(file, 1) },
			 dotenv_add, &room);
}

static const struct compose_node *files_read(struct walk *w,
					     const struct compose_file *files,
					     size_t n)
{
	const struct compose_node *root = NULL, *over;

	for (size_t i = 0; i < n; i++) {
		unsigned before = w->n_problems;

		over = merge_file_read(w, files[i].name, files[i].text);
		if (w->n_problems > before)
			return NULL;
		if (root && over)
			root = merge_nodes(w, root, over, "");
		else if (over)
			root = over;
		if (w->n_problems > before)
			return NULL;
	}
	return root;
}

int compose_read(const struct compose_file *files, size_t n,
		 const struct compose_config *config, struct compose *compose)
{
	struct walk w = { .compose = compose, .config = config };
	const struct compose_node *root;

	*compose = (struct compose){ 0 };
	compose->apps = yyjson_mut_doc_new(NULL);
	if (!compose->apps)
		return -ENOMEM;
	yyjson_mut_doc_set_root(compose->apps, yyjson_mut_arr(compose->apps));
	dotenv_read(&w);
	root = files_read(&w, files, n);
	if (!w.n_problems)
		top_read(&w, root);
	compose_free(&w.arena);
	return w.n_problems ? -EINVAL : 0;
}

void compose_end(struct compose *compose)
{
	yyjson_mut_doc_free(compose->apps);
	compose->apps = NULL;
}
