/* zctl apply: a Compose file becomes an application. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "apply_files.h"
#include "apply_wait.h"
#include "ask.h"
#include "base/fd.h"
#include "base/log.h"
#include "compose.h"
#include "oci/grant.h"
#include "show.h"

struct application {
	struct apply_files files;
	char name[64];
	struct compose compose;
	yyjson_mut_doc *body;
};

static const char *first_name(const struct application *a)
{
	return a->files.file[0].name;
}

static int parse(const struct ctl *ctl, struct application *a)
{
	const char *profile[CTL_LIST_MAX + 1] = { NULL };
	const char *grant[CTL_LIST_MAX + 1] = { NULL };
	const struct compose_config config = {
		.variable = getenv,
		.read = apply_files_read,
		.list = apply_files_list,
		.dotenv = { a->files.dotenv, a->files.dotenv_size },
		.profile = ctl->profiles.n ? profile : NULL,
		.grant = grant,
	};
	const struct compose_lines *p = &a->compose.problems;
	int err;

	memcpy(profile, ctl->profiles.item, ctl->profiles.n * sizeof(*profile));
	memcpy(grant, ctl->grants.item, ctl->grants.n * sizeof(*grant));
	for (unsigned i = 0; i < ctl->grants.n; i++) {
		struct grant parsed;

		if (grant_parse(span_of(grant[i]), &parsed) < 0) {
			log_error("--grant", "\"%.80s\": " GRANT_WANT,
				  grant[i]);
			return EXIT_USAGE;
		}
	}
	err = compose_read(a->files.file, a->files.n, &config, &a->compose);
	for (unsigned i = 0; i < a->compose.notices.n; i++)
		log_notice(NULL, "%s", a->compose.notices.line[i]);
	for (unsigned i = 0; i < p->n; i++)
		log_error(NULL, "%s", p->line[i]);
	if (p->more)
		log_error(first_name(a), "and %u more", p->more);
	if (err == -ENOMEM)
		log_error(first_name(a), "out of memory");
	return err ? EXIT_FAILED : EXIT_DONE;
}

/* ---- its name ---- */

/* That of the folder, as Compose makes it: in lower case, without what no name
 * has. */
static void folder_name(const struct application *a, char name[64])
{
	autofree char *path = realpath(first_name(a), NULL);
	char *slash = path ? strrchr(path, '/') : NULL;
	size_t n = 0;

	if (slash)
		*slash = '\0';
	slash = slash ? strrchr(path, '/') : NULL;
	for (const char *p = slash ? slash + 1 : ""; *p && n < 63; p++) {
		char c = *p >= 'A' && *p <= 'Z' ? (char)(*p | 0x20) : *p;

		if (id_valid((struct span){ &c, 1 }))
			name[n++] = c;
	}
	name[n] = '\0';
}

static int name_find(const struct ctl *ctl, struct application *a)
{
	const char *said = ctl->name ? ctl->name : a->compose.name;

	if (said[0])
		text_copy(a->name, sizeof(a->name), said);
	else
		folder_name(a, a->name);
	if (id_valid(span_of(said[0] ? said : a->name)))
		return EXIT_DONE;
	if (said[0])
		log_error(said, "no name of an application; want 1 to 63 of "
				"a-z, 0-9 and -");
	else
		log_error(first_name(a), "says no name:; give --name NAME");
	return EXIT_USAGE;
}

/* ---- what is sent ---- */

static bool is_there(yyjson_mut_val *list, struct span name)
{
	yyjson_mut_arr_iter iter;
	yyjson_mut_val *one;

	yyjson_mut_arr_iter_init(list, &iter);
	while ((one = yyjson_mut_arr_iter_next(&iter)))
		if (span_is(name, yyjson_mut_get_str(one)))
			return true;
	return false;
}

/* --node a,b --node c. */
static int nodes_write(const struct ctl *ctl, yyjson_mut_doc *body)
{
	yyjson_mut_val *list = yyjson_mut_obj_add_arr(
		body, yyjson_mut_doc_get_root(body), "nodes");
	struct span rest, name;

	for (unsigned i = 0; i < ctl->nodes.n; i++) {
		rest = span_of(ctl->nodes.item[i]);
		while (span_cut(&rest, ',', &name)) {
			if (!span_is(name, "*") && !id_valid(name)) {
				log_error(ctl->nodes.item[i],
					  "no name of a node; want --node "
					  "NAME,... or --node '*'");
				return EXIT_USAGE;
			}
			if (!is_there(list, name))
				yyjson_mut_arr_add_strncpy(
					body, list, name.data, name.size);
		}
	}
	if (yyjson_mut_arr_size(list))
		return EXIT_DONE;
	log_error("apply", "where? Give --node NAME,... or --node '*'");
	return EXIT_USAGE;
}

/* Several files as one text, each after the one that it is laid over. */
static void source_write(struct application *a, yyjson_mut_val *root)
{
	autofree char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	for (unsigned i = 0; out && i < a->files.n; i++) {
		const struct compose_file *file = &a->files.file[i];

		if (a->files.n > 1)
			fprintf(out, "%s# %s\n", i ? "---\n" : "", file->name);
		fwrite(file->text.data, 1, file->text.size, out);
	}
	if (out && fclose(out) == 0)
		yyjson_mut_obj_add_strncpy(a->body, root, "source", text, size);
}

static int body_make(const struct ctl *ctl, struct application *a)
{
	yyjson_mut_val *root;
	int code;

	a->body = yyjson_mut_doc_new(NULL);
	root = yyjson_mut_obj(a->body);
	yyjson_mut_doc_set_root(a->body, root);
	code = nodes_write(ctl, a->body);
	yyjson_mut_obj_add_val(
		a->body, root, "apps",
		yyjson_mut_val_mut_copy(
			a->body, yyjson_mut_doc_get_root(a->compose.apps)));
	if (!ctl->dry_run)
		source_write(a, root);
	return code;
}

/* "shop: web: hub/web:1@sha256:0123456789ab". */
static void reply_show(yyjson_val *root, const char *name)
{
	yyjson_arr_iter iter;
	yyjson_val *app;

	yyjson_arr_iter_init(yyjson_obj_get(root, "apps"), &iter);
	while ((app = yyjson_arr_iter_next(&iter)))
		printf("%s: %s: %s@%.19s\n", name, text_of(app, "name"),
		       text_of(app, "image"), text_of(app, "digest"));
	fflush(stdout);
}

static int send_and_wait(const struct ctl *ctl, struct application *a)
{
	char path[96];
	struct ask ask = { 0 };
	yyjson_doc *reply = NULL;
	struct ask_request request = { .method = "PUT",
				       .path = path,
				       .object = a->name,
				       .body = a->body };
	int code = ask_open(&ask, ctl);

	snprintf(path, sizeof(path), "/v1/apps/%s", a->name);
	if (!code) {
		a->body = NULL; /* ask_json() frees it */
		code = ask_json(&ask, &request, &reply);
	}
	if (!code && ctl->json)
		code = show_json(yyjson_doc_get_root(reply));
	else if (!code)
		reply_show(yyjson_doc_get_root(reply), a->name);
	if (!code)
		code = apply_wait(&ask, ctl, a->name,
				  yyjson_doc_get_root(reply));
	yyjson_doc_free(reply);
	ask_close(&ask);
	return code;
}

/* What is only shown has none. */
static void secrets_hide(yyjson_mut_doc *body)
{
	yyjson_mut_val *apps = yyjson_mut_obj_get(yyjson_mut_doc_get_root(body),
						  "apps");
	yyjson_mut_arr_iter iter, mounts;
	yyjson_mut_val *app, *m;

	yyjson_mut_arr_iter_init(apps, &iter);
	while ((app = yyjson_mut_arr_iter_next(&iter))) {
		yyjson_mut_arr_iter_init(yyjson_mut_obj_get(app, "mounts"),
					 &mounts);
		while ((m = yyjson_mut_arr_iter_next(&mounts)))
			if (yyjson_mut_equals_str(yyjson_mut_obj_get(m, "type"),
						  "secret"))
				yyjson_mut_obj_put(
					m, yyjson_mut_str(body, "content"),
					yyjson_mut_str(body, ""));
	}
}

static int apply(const struct ctl *ctl, struct application *a)
{
	int code = apply_files_load(ctl, &a->files);

	if (!code)
		code = parse(ctl, a);
	if (!code)
		code = name_find(ctl, a);
	if (!code)
		code = body_make(ctl, a);
	if (code)
		return code;
	if (!ctl->dry_run)
		return send_and_wait(ctl, a);
	secrets_hide(a->body);
	return show_json_mut(a->body);
}

int command_apply(struct ctl *ctl)
{
	struct application *a = calloc(1, sizeof(*a));
	int code = a ? apply(ctl, a) : EXIT_FAILED;

	if (!a)
		return code;
	yyjson_mut_doc_free(a->body);
	compose_end(&a->compose);
	apply_files_free(&a->files);
	free(a);
	return code;
}
