/* Any bytes as a manifest: refused with one line, or taken with sizes within
 * the limits. */
#include <stdlib.h>

#include "oci/image_manifest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct image_manifest m;
	const struct span text = { (const char *)data, size };
	char error[IMAGE_ERROR_SIZE] = "";
	int r = image_manifest_parse(text, &m, error);

	if ((r == 0) != (error[0] == '\0') || m.n_layers > IMAGE_LAYERS_MAX)
		abort();
	if (r == 0 && (m.n_layers == 0 || m.config.size > IMAGE_CONFIG_MAX))
		abort();
	for (unsigned i = 0; r == 0 && i < m.n_layers; i++)
		if (m.layer[i].size > IMAGE_BLOB_MAX)
			abort();
	return 0;
}
