/* Compose files that anyone may have written: read or refused, and what is
 * read is what the hub takes. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/compose.h"
#include "oci/desired.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char *variable(const char *name)
{
	static char values[][4] = { "", "a b", "$A", "\xff" };

	return name[0] == 'N' ? NULL : values[(uint8_t)name[0] % 4];
}

static void hub_takes(yyjson_mut_doc *apps)
{
	char *json = yyjson_mut_write(apps, 0, NULL);
	char error[DESIRED_ERROR_SIZE];
	struct desired d;
	int err;

	if (!json)
		abort();
	err = desired_parse_apps(span_of(json), &d, error);
	if (err && err != -E2BIG)
		abort();
	if (!err)
		desired_free(&d);
	free(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const struct compose_config config = { "f", variable };
	static struct compose compose;

	if (compose_read((struct span){ (const char *)data, size }, &config,
			 &compose) == 0)
		hub_takes(compose.apps);
	compose_end(&compose);
	return 0;
}
