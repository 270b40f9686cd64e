/* What is said to be sealed: refused without a fault, and never opened, since
 * nobody sealed it. */
#include <stdlib.h>

#include "wire/seal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct cert_key *key;
	char *secret;
	size_t n;

	if (!key && (wire_init() < 0 || cert_key_make(&key) < 0))
		abort();
	if (unseal(key, (struct span){ (const char *)data, size }, &secret,
		   &n) == 0 ||
	    secret)
		abort();
	return 0;
}
