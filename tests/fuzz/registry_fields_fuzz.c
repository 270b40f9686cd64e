/* Any bytes as WWW-Authenticate, Content-Range and the reply of a token
 * service. */
#include <stdlib.h>

#include "registry/fields.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char token[TOKEN_SIZE];
	const struct span text = { (const char *)data, size };
	struct challenge challenge = { 0 };
	struct content_range range;
	uint32_t expires_s;

	challenge_read(text, &challenge);
	challenge_read(text, &challenge);
	for (const char *c = challenge.realm; *c; c++)
		if (*c < ' ' || *c == 127)
			abort();
	if (content_range_parse(text, &range) == 0 &&
	    (range.first > range.last || range.last >= range.total))
		abort();
	if (token_parse(text, token, &expires_s) == 0 &&
	    !token_valid(span_of(token)))
		abort();
	return 0;
}
