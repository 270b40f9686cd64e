/* Any bytes as an image config: refused with one line, or taken, and then
 * every string is there and ends. */
#include <stdlib.h>
#include <string.h>

#include "oci/image_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_strings(const struct image_strings *s)
{
	if (s->n > IMAGE_STRINGS_MAX || s->item[s->n])
		abort();
	for (unsigned i = 0; i < s->n; i++)
		if (strlen(s->item[i]) > IMAGE_CONFIG_MAX)
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct image_config c;
	const struct span text = { (const char *)data, size };
	char error[IMAGE_ERROR_SIZE] = "";
	int r = image_config_parse(text, &c, error);

	if ((r == 0) != (error[0] == '\0'))
		abort();
	check_strings(&c.entrypoint);
	check_strings(&c.command);
	check_strings(&c.environment);
	check_strings(&c.volumes);
	for (unsigned i = 0; i < c.environment.n && r == 0; i++)
		if (!strchr(c.environment.item[i], '='))
			abort();
	if (r == 0 && (c.n_diff_ids == 0 || c.n_diff_ids > IMAGE_LAYERS_MAX ||
		       c.n_ports > IMAGE_PORTS_MAX))
		abort();
	image_config_free(&c);
	return 0;
}
