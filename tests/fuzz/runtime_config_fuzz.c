/* Any bytes as config.json or a process object: refused with one line, or
 * taken within what the header promises. */
#include <stdlib.h>
#include <string.h>

#include "oci/runtime_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_list(const struct text_list *list)
{
	for (size_t i = 0; i < list->n; i++) {
		if (!list->item[i])
			abort();
	}
	if (list->item && list->item[list->n])
		abort();
}

static void check(const struct runtime_config *config)
{
	const struct runtime_process *process = &config->process;

	if (config->has_process) {
		check_list(&process->args);
		check_list(&process->env);
		if (!process->args.n || process->cwd[0] != '/')
			abort();
	}
	for (size_t i = 0; i < config->n_mount; i++) {
		const struct runtime_mount *m = &config->mount[i];

		check_list(&m->data);
		if (!m->uid_maps.n != !m->gid_maps.n)
			abort();
		if (!m->destination[0] ||
		    (m->bind && !m->remount && !m->source))
			abort();
	}
	for (size_t i = 0; i < config->masked_paths.n; i++) {
		if (config->masked_paths.item[i][0] != '/')
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct runtime_config config;
	char error[RUNTIME_ERROR_SIZE];
	int r = runtime_config_parse(&config, data, size, error);

	if ((r == 0) != (error[0] == '\0'))
		abort();
	if (r == 0) {
		check(&config);
		runtime_config_free(&config);
	}
	r = runtime_process_parse(&config, data, size, error);
	if ((r == 0) != (error[0] == '\0'))
		abort();
	if (r == 0) {
		check(&config);
		runtime_config_free(&config);
	}
	return 0;
}
