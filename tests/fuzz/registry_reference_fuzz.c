/* Any bytes as an image reference: what is taken can be written and read
 * again. */
#include <stdio.h>
#include <stdlib.h>

#include "registry/reference.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct reference first, second;
	char text[1024];

	if (reference_parse((struct span){ (const char *)data, size }, &first))
		return 0;
	snprintf(text, sizeof(text), "%s%s%s%s%s", first.host,
		 first.host[0] ? "/" : "", first.repository,
		 first.tag[0] ? ":" : "", first.tag);
	if (!first.tag[0] && !first.has_digest)
		abort();
	if (reference_parse(span_of(text), &second) ||
	    strcmp(first.host, second.host) ||
	    strcmp(first.repository, second.repository) ||
	    (first.tag[0] && strcmp(first.tag, second.tag)))
		abort();
	return 0;
}
