#include "sign.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <mbedtls/base64.h>
#include <mbedtls/sha256.h>

#include "key.h"

/* Text of base64 with its NUL. */
static size_t base64_size(size_t bytes)
{
	return (bytes + 2) / 3 * 4 + 1;
}

/* sha256 over PAE(type, payload) of DSSE, signed. */
static int sign(const char *type, struct span payload,
		const struct cert_key *key, unsigned char *sig, size_t *size)
{
	mbedtls_sha256_context sha;
	uint8_t hash[32];
	char head[256];
	int n = snprintf(head, sizeof(head), "DSSEv1 %zu %s %zu ", strlen(type),
			 type, payload.size);

	if (n >= (int)sizeof(head))
		return -EINVAL;
	mbedtls_sha256_init(&sha);
	(void)mbedtls_sha256_starts(&sha, 0);
	(void)mbedtls_sha256_update(&sha, (void *)head, (size_t)n);
	(void)mbedtls_sha256_update(&sha, (const void *)payload.data,
				    payload.size);
	(void)mbedtls_sha256_finish(&sha, hash);
	mbedtls_sha256_free(&sha);
	return mbedtls_pk_sign(key_pk(key), MBEDTLS_MD_SHA256, hash,
			       sizeof(hash), sig, CHAIN_SIGNATURE_SIZE, size,
			       wire_rng, NULL) == 0
		       ? 0
		       : -ENOMEM;
}

static bool chain_is_of(struct span pem, const uint8_t pin[CHAIN_PIN_SIZE])
{
	struct chain_facts facts;
	struct chain *chain;
	bool is;

	if (chain_read(pem, &chain) < 0)
		return false;
	is = chain_facts(chain, 0, &facts) == 0 &&
	     memcmp(facts.pin, pin, CHAIN_PIN_SIZE) == 0;
	chain_free(chain);
	return is;
}

/* PEM as the inside of a JSON string: of what it holds only line ends need an
 * escape; text between certificates is left out. */
static char *pem_escape(char *to, struct span pem)
{
	static const char begin[] = "-----BEGIN CERTIFICATE-----";
	static const char end[] = "-----END CERTIFICATE-----";
	bool inside = false;
	struct span line;

	while (span_cut(&pem, '\n', &line)) {
		if (line.size && line.data[line.size - 1] == '\r')
			line.size--;
		inside = inside || span_is(line, begin);
		if (!inside)
			continue;
		memcpy(to, line.data, line.size);
		to += line.size;
		*to++ = '\\';
		*to++ = 'n';
		inside = !span_is(line, end);
	}
	return to;
}

static char *put_base64(char *to, const void *bytes, size_t size)
{
	size_t n = 0;

	(void)mbedtls_base64_encode((void *)to, base64_size(size), &n, bytes,
				    size);
	return to + n;
}

int envelope_sign(const char *type, struct span payload,
		  const struct cert_key *key, struct span chain,
		  char **envelope, size_t *size)
{
	unsigned char sig[CHAIN_SIGNATURE_SIZE];
	uint8_t pin[CHAIN_PIN_SIZE];
	struct cert_public public;
	size_t sig_size;
	char keyid[65];
	char *p;
	int err;

	*envelope = NULL;
	cert_key_public(key, &public);
	cert_pin(&public, pin);
	cert_pin_text(pin, keyid);
	if (!chain_is_of(chain, pin))
		return -EINVAL;
	err = sign(type, payload, key, sig, &sig_size);
	if (err)
		return err;
	p = malloc(512 + strlen(type) + base64_size(payload.size) +
		   2 * chain.size);
	if (!p)
		return -ENOMEM;
	*envelope = p;
	p = stpcpy(p, "{\"payloadType\":\"");
	p = stpcpy(p, type);
	p = stpcpy(p, "\",\"payload\":\"");
	p = put_base64(p, payload.data, payload.size);
	p = stpcpy(p, "\",\"signatures\":[{\"keyid\":\"");
	p = stpcpy(p, keyid);
	p = stpcpy(p, "\",\"sig\":\"");
	p = put_base64(p, sig, sig_size);
	p = stpcpy(p, "\",\"cert\":\"");
	p = pem_escape(p, chain);
	p = stpcpy(p, "\"}]}");
	*p = '\0';
	*size = (size_t)(p - *envelope);
	return 0;
}
