/* Any bytes as an enrolment token: refused whole, or within its limits. */
#include <stdlib.h>

#include "base/enrol_token.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct enrol_token token;
	int err = enrol_token_parse((struct span){ (const char *)data, size },
				    &token);

	if (err ? token.n_hub || token.secret[0]
		: !token.n_hub || !token.id[0] || !token.secret[0])
		abort();
	return 0;
}
