/* A container's state as the runtime specification prints it (runtime.md,
 * State): for `zrun state`, `zrun list` and hooks. */
#ifndef ZRUN_STATE_JSON_H
#define ZRUN_STATE_JSON_H

#include <yyjson.h>

#include "oci/runtime_config.h"
#include "state.h"

/* annotations NULL: not known. What it points at must outlive the document. */
yyjson_mut_val *state_json(yyjson_mut_doc *doc, const struct state *state,
			   enum status status,
			   const struct text_map *annotations);

/* Writes the state as text into an unsealed memfd, and seals it. */
int state_fill(int fd, const struct state *state, enum status status,
	       const struct text_map *annotations);

/* Runs the hooks of one kind in the runtime's namespaces. 0 or -errno with
 * fault set. */
int state_hooks(const struct runtime_config *config,
		enum runtime_hook_kind kind, const struct state *state,
		enum status status, struct fault *fault);

#endif
