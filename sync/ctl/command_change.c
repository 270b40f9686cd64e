/* The commands that change one thing by one request: rm, revoke, token. */
#include <string.h>

#include "ask.h"
#include "base/log.h"
#include "show.h"

enum { NAME_MAX_BYTES = 63 };

/* One request; its reply is printed with -o json only. */
static int change(const struct ctl *ctl, const struct ask_request *request,
		  yyjson_doc **reply)
{
	struct ask ask = { 0 };
	yyjson_doc *doc = NULL;
	int code = ask_open(&ask, ctl);

	if (code)
		yyjson_mut_doc_free(request->body);
	else
		code = ask_json(&ask, request, &doc);
	if (!code && ctl->json)
		code = show_json(yyjson_doc_get_root(doc));
	if (reply)
		*reply = doc;
	else
		yyjson_doc_free(doc);
	ask_close(&ask);
	return code;
}

/* METHOD of prefix, the one argument, and suffix. */
static int change_named(const struct ctl *ctl, const char *method,
			const char *prefix, const char *suffix)
{
	const char *name = ctl->argv[0];
	char path[256];

	snprintf(path, sizeof(path), "%s", prefix);
	ask_path_add(path, sizeof(path), name);
	ask_path_add(path, sizeof(path), suffix);
	if (strlen(name) > NAME_MAX_BYTES || strchr(name, '/') || !name[0]) {
		log_error(name, "no name; want 1 to 63 of a-z, 0-9 and -");
		return EXIT_USAGE;
	}
	return change(ctl,
		      &(struct ask_request){
			      .method = method, .path = path, .object = name },
		      NULL);
}

int command_rm(struct ctl *ctl)
{
	return change_named(ctl, "DELETE", "/v1/apps/", "");
}

int command_revoke(struct ctl *ctl)
{
	return change_named(ctl, "POST", "/v1/nodes/", "/revoke");
}

int command_token_rm(struct ctl *ctl)
{
	return change_named(ctl, "DELETE", "/v1/tokens/", "");
}

/* ---- token create ---- */

static int labels_add(yyjson_mut_doc *doc, yyjson_mut_val *labels,
		      const struct ctl_list *list)
{
	for (unsigned i = 0; i < list->n; i++) {
		const char *text = list->item[i], *equals = strchr(text, '=');

		if (!equals || equals == text) {
			log_error("--label", "\"%s\": want KEY=VALUE", text);
			return EXIT_USAGE;
		}
		yyjson_mut_obj_add(
			labels,
			yyjson_mut_strncpy(doc, text, (size_t)(equals - text)),
			yyjson_mut_str(doc, equals + 1));
	}
	return EXIT_DONE;
}

int command_token_create(struct ctl *ctl)
{
	yyjson_mut_doc *body = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(body);
	yyjson_doc *reply = NULL;
	int code;

	yyjson_mut_doc_set_root(body, root);
	yyjson_mut_obj_add_str(body, root, "kind",
			       ctl->registry ? "registry" : "enrol");
	yyjson_mut_obj_add_uint(body, root, "uses", ctl->uses);
	yyjson_mut_obj_add_uint(body, root, "expires", ctl->expires_s);
	yyjson_mut_obj_add_str(body, root, "place", ctl->place);
	code = labels_add(body, yyjson_mut_obj_add_obj(body, root, "labels"),
			  &ctl->labels);
	if (code) {
		yyjson_mut_doc_free(body);
		return code;
	}
	code = change(ctl,
		      &(struct ask_request){ .method = "POST",
					     .path = "/v1/tokens",
					     .object = "token",
					     .body = body },
		      &reply);
	if (!code && !ctl->json)
		puts(text_of(yyjson_doc_get_root(reply), "token"));
	yyjson_doc_free(reply);
	return code;
}
