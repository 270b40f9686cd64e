#define _GNU_SOURCE
#include "state_json.h"

#include <errno.h>

#include "base/fd.h"
#include "base/stamp.h"
#include "cli.h"
#include "hook.h"
#include "json_put.h"

static void add_annotations(yyjson_mut_doc *doc, yyjson_mut_val *top,
			    const struct text_map *annotations)
{
	yyjson_mut_val *map = yyjson_mut_obj(doc);

	for (size_t i = 0; i < annotations->n; i++) {
		const struct text_pair *pair = &annotations->item[i];

		yyjson_mut_obj_add(map, yyjson_mut_strcpy(doc, pair->key),
				   yyjson_mut_strcpy(doc, pair->value));
	}
	yyjson_mut_obj_add_val(doc, top, "annotations", map);
}

yyjson_mut_val *state_json(yyjson_mut_doc *doc, const struct state *state,
			   enum status status,
			   const struct text_map *annotations)
{
	yyjson_mut_val *top = yyjson_mut_obj(doc);
	char created[STAMP_SIZE];

	stamp_make((time_t)state->created, created);
	json_put_text(doc, top, "ociVersion", OCI_VERSION);
	json_put_text(doc, top, "id", state->id);
	yyjson_mut_obj_add_int(doc, top, "pid",
			       status == STATUS_STOPPED ? 0 : state->pid);
	json_put_text(doc, top, "status", status_name(status));
	json_put_text(doc, top, "bundle", state->bundle);
	json_put_text(doc, top, "rootfs", state->rootfs);
	json_put_text(doc, top, "created", created);
	if (annotations && annotations->n)
		add_annotations(doc, top, annotations);
	return top;
}

int state_fill(int fd, const struct state *state, enum status status,
	       const struct text_map *annotations)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	size_t size;

	if (!doc)
		return -ENOMEM;
	yyjson_mut_doc_set_root(doc,
				state_json(doc, state, status, annotations));
	autofree char *text = yyjson_mut_write(doc, 0, &size);

	yyjson_mut_doc_free(doc);
	return text ? hook_state_fill(fd, text, size) : -ENOMEM;
}

int state_hooks(const struct runtime_config *config,
		enum runtime_hook_kind kind, const struct state *state,
		enum status status, struct fault *fault)
{
	const char *name = runtime_hook_name(kind);
	char detail[HOOK_DETAIL_SIZE];

	if (!config->hooks[kind].n)
		return 0;
	autoclose int fd = hook_state_open();
	int r = fd < 0 ? fd
		       : state_fill(fd, state, status, &config->annotations);

	if (r < 0)
		return fault_set(fault, r, "hooks.%s", name);
	const struct hook_place place = { .state = fd, .dir = -1, .watch = -1 };

	r = hooks_run(&config->hooks[kind], &place, detail);
	return r < 0 ? fault_set(fault, r, "hooks.%s%s", name, detail) : 0;
}
