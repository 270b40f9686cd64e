/* HTTP/1.1 as a client may write it. */
#include "http_feed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	feed(&http1, http1_start, data, size);
	return 0;
}
