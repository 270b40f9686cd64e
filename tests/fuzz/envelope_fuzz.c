/* An envelope, and each of its parts that is parsed before anything of it is
 * believed. The trust is real, so nothing the fuzzer makes may ever open. */
#include <stdlib.h>

#include "../unit/wire_pki.h"
#include "oci/envelope.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct envelope_trust trust;
	static struct pki pki;
	struct span bytes = { (const char *)data, size }, payload;
	char error[ENVELOPE_ERROR_SIZE];
	struct chain *chain;
	struct cert_public public;

	if (!trust.root.size) {
		wire_init();
		pki_make(&pki);
		trust.root = span_of(pki.root.pem);
		memcpy(trust.pin, pki.pin, sizeof(trust.pin));
	}
	if (envelope_open(bytes, ENVELOPE_DESIRED, &trust, &payload, NULL,
			  error) == 0)
		abort();
	if (chain_read(bytes, &chain) == 0) {
		struct chain_facts facts;

		for (size_t i = 0; chain_facts(chain, i, &facts) != -2; i++)
			;
		chain_free(chain);
	}
	(void)cert_request_read(bytes, &public);
	return 0;
}
