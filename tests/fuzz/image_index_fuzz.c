/* Any bytes as oci-layout or an image index: refused with one line, or taken
 * within the limits, and then a pick is inside the list. */
#include <stdlib.h>
#include <string.h>

#include "oci/image_index.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct image_index index;
	const struct span text = { (const char *)data, size };
	char error[IMAGE_ERROR_SIZE] = "";
	int r = image_index_parse(text, &index, error);

	if ((r == 0) != (error[0] == '\0') || index.n > IMAGE_INDEX_MAX)
		abort();
	if (r == 0) {
		r = image_index_pick(&index, "", &image_platform_own, error);
		if (r >= (int)index.n)
			abort();
		image_index_pick(&index, "v1", &image_platform_own, error);
	}
	image_layout_check(text, error);
	return 0;
}
