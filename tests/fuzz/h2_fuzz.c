/* HTTP/2 as a client may write it, after the preface that it must begin with.
 */
#include "http_feed.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
				      "\0\0\0\4\0\0\0\0\0";
	size_t n = sizeof(preface) - 1;
	uint8_t *all = malloc(n + size);

	if (!all)
		return 0;
	memcpy(all, preface, n);
	if (size)
		memcpy(all + n, data, size);
	feed(&http2, http2_start, all, n + size);
	free(all);
	return 0;
}
