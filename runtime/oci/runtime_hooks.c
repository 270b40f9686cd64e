/* config.json: hooks */
#include <limits.h>

#include "runtime_parts.h"

static const char *const names[] = {
	[RUNTIME_HOOK_PRESTART] = "prestart",
	[RUNTIME_HOOK_CREATE_RUNTIME] = "createRuntime",
	[RUNTIME_HOOK_CREATE_CONTAINER] = "createContainer",
	[RUNTIME_HOOK_START_CONTAINER] = "startContainer",
	[RUNTIME_HOOK_POSTSTART] = "poststart",
	[RUNTIME_HOOK_POSTSTOP] = "poststop",
};

_Static_assert(N_OF(names) == RUNTIME_HOOK_COUNT, "a name for each");

const char *runtime_hook_name(enum runtime_hook_kind kind)
{
	return names[kind];
}

static int at_timeout(struct json_read *in, const struct at *at, void *out)
{
	struct maybe_i64 seconds = { 0 };
	uint32_t *timeout_s = out;
	int r = at_maybe_i64(in, at, &seconds);

	if (r == 0 && seconds.set &&
	    (seconds.value <= 0 || seconds.value > INT_MAX / 1000))
		return at_error(in, at, "want 1 to %d seconds", INT_MAX / 1000);
	*timeout_s = (uint32_t)seconds.value;
	return r;
}

static int at_hook(struct json_read *in, const struct at *at, void *out)
{
	static const struct field fields[] = {
		{ "path", at_path, offsetof(struct runtime_hook, path) },
		{ "args", at_text_list, offsetof(struct runtime_hook, args) },
		{ "env", at_text_list, offsetof(struct runtime_hook, env) },
		{ "timeout", at_timeout,
		  offsetof(struct runtime_hook, timeout_s) },
	};
	struct runtime_hook *hook = out;
	int r = at_object(in, at, fields, N_OF(fields), hook);

	if (r == 0 && !hook->path)
		return at_error(in, at, "path is missing");
	return r;
}

static int at_hook_list(struct json_read *in, const struct at *at, void *out)
{
	struct runtime_hooks *hooks = out;

	return at_array(in, at, sizeof(*hooks->item), at_hook, &hooks->item,
			&hooks->n);
}

int at_hooks(struct json_read *in, const struct at *at, void *out)
{
	struct field fields[RUNTIME_HOOK_COUNT];

	for (size_t i = 0; i < RUNTIME_HOOK_COUNT; i++)
		fields[i] = (struct field){ names[i], at_hook_list,
					    i * sizeof(struct runtime_hooks) };
	return at_object(in, at, fields, N_OF(fields), out);
}
