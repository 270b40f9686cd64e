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

/* What files of variables, configs and extends are of. */
static int read_file(const char *path, size_t max, char **text, size_t *size)
{
	static const char *const files[] = {
		"A=b\n# c\nexport B=\"$A\\n\" # d\nC='e'\nD",
		"services: {base: {image: b, command: [c]}}",
	};
	const char *file = files[path[0] & 1];

	(void)max;
	if (path[0] == 'n')
		return -ENOENT;
	*text = strdup(file);
	*size = strlen(file);
	return *text ? 0 : -ENOMEM;
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
	static const struct compose_config config = { .variable = variable,
						      .read = read_file };
	const struct compose_file file = { "f", { (const char *)data, size } };
	static struct compose compose;

	if (compose_read(&file, 1, &config, &compose) == 0)
		hub_takes(compose.apps);
	compose_end(&compose);
	return 0;
}
