/* Any bytes as the process object of `exec --process`: refused with one line,
 * or taken within what the header promises. */
#include <stdlib.h>
#include <string.h>

#include "oci/runtime_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct runtime_process *process)
{
	const struct text_list *env = &process->env;

	if (!process->args.n || !process->args.item[0][0] ||
	    process->args.item[process->args.n] || process->cwd[0] != '/')
		abort();
	for (size_t i = 0; i < env->n; i++) {
		if (env->item[i][0] == '=' || !strchr(env->item[i], '='))
			abort();
	}
	for (size_t i = 0; i < process->n_rlimit; i++) {
		if (process->rlimit[i].soft > process->rlimit[i].hard)
			abort();
	}
	for (int i = 0; i < RUNTIME_CAP_SET_COUNT; i++) {
		if (process->capability[i] && !process->has_capabilities)
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct runtime_config config;
	char error[RUNTIME_ERROR_SIZE];
	int r = runtime_process_parse(&config, data, size, error);

	if ((r == 0) != (error[0] == '\0') || strchr(error, '\n'))
		abort();
	if (r == 0) {
		check(&config.process);
		runtime_config_free(&config);
	}
	return 0;
}
