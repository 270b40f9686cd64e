/* desired.h: any bytes are read or refused, without a fault. */
#include <stddef.h>
#include <stdint.h>

#include "oci/desired.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct span text = { (const char *)data, size };
	char error[DESIRED_ERROR_SIZE];
	struct desired d;

	if (desired_parse(text, &d, error) == 0)
		desired_free(&d);
	if (desired_parse_apps(text, &d, error) == 0)
		desired_free(&d);
	return 0;
}
