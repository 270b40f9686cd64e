#include "key.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#include <mbedtls/ecp.h>
#include <mbedtls/platform_util.h>
#include <mbedtls/sha256.h>
#include <psa/crypto.h>

#include "base/fd.h"
#include "base/log.h"
#include "oci/digest/digest.h"
#include "pool.h"

/* #syscalls: getrandom */

int wire_init(void)
{
	pool_start();
	if (psa_crypto_init() == PSA_SUCCESS)
		return 0;
	log_error("crypto", "cannot start: no random numbers");
	return -EIO;
}

void wire_random(void *buf, size_t size)
{
	unsigned char *p = buf;

	while (size > 0) {
		/* Up to 256 bytes are never cut short nor interrupted. */
		size_t part = size < 256 ? size : 256;

		if (getrandom(p, part, 0) != (ssize_t)part)
			abort();
		p += part;
		size -= part;
	}
}

int wire_rng(void *unused, unsigned char *buf, size_t size)
{
	wire_random(buf, size);
	return 0;
}

static struct cert_key *key_new(void)
{
	struct cert_key *key = malloc(sizeof(*key));

	if (key)
		mbedtls_pk_init(&key->pk);
	return key;
}

void cert_key_free(struct cert_key *key)
{
	if (!key)
		return;
	mbedtls_pk_free(&key->pk);
	free(key);
}

static bool is_p256(const mbedtls_pk_context *pk)
{
	return mbedtls_pk_get_type(pk) == MBEDTLS_PK_ECKEY &&
	       mbedtls_pk_get_bitlen(pk) == 256 &&
	       mbedtls_ecp_keypair_get_group_id(mbedtls_pk_ec(*pk)) ==
		       MBEDTLS_ECP_DP_SECP256R1;
}

int cert_key_make(struct cert_key **out)
{
	struct cert_key *key = key_new();

	*out = key;
	if (!key)
		return -ENOMEM;
	if (mbedtls_pk_setup(&key->pk, mbedtls_pk_info_from_type(
					       MBEDTLS_PK_ECKEY)) == 0 &&
	    mbedtls_ecp_gen_key(MBEDTLS_ECP_DP_SECP256R1,
				mbedtls_pk_ec(key->pk), wire_rng, NULL) == 0)
		return 0;
	cert_key_free(key);
	*out = NULL;
	return -ENOMEM;
}

/* The library wants a NUL behind PEM. */
static int parse(struct cert_key *key, struct span pem)
{
	char text[CERT_PEM_SIZE];
	int err;

	if (span_copy(text, sizeof(text), pem) < 0)
		return -EINVAL;
	err = mbedtls_pk_parse_key(&key->pk, (void *)text, pem.size + 1, NULL,
				   0, wire_rng, NULL);
	mbedtls_platform_zeroize(text, sizeof(text));
	return err || !is_p256(&key->pk) ? -EINVAL : 0;
}

int cert_key_read(struct span pem, struct cert_key **out)
{
	struct cert_key *key = key_new();
	int err;

	*out = NULL;
	if (!key)
		return -ENOMEM;
	err = parse(key, pem);
	if (err)
		cert_key_free(key);
	else
		*out = key;
	return err;
}

int cert_key_write(const struct cert_key *key, char pem[CERT_PEM_SIZE])
{
	if (mbedtls_pk_write_key_pem(&key->pk, (void *)pem, CERT_PEM_SIZE) == 0)
		return 0;
	pem[0] = '\0';
	return -ENOMEM;
}

struct cert_key *key_copy(const struct cert_key *key)
{
	char pem[CERT_PEM_SIZE];
	struct cert_key *copy = NULL;

	if (cert_key_write(key, pem) == 0)
		(void)cert_key_read(span_of(pem), &copy);
	mbedtls_platform_zeroize(pem, sizeof(pem));
	return copy;
}

void cert_key_public(const struct cert_key *key, struct cert_public *public)
{
	/* Written from the end of the buffer, which it fills for P-256. */
	if (mbedtls_pk_write_pubkey_der(&key->pk, public->der,
					CERT_PUBLIC_SIZE) != CERT_PUBLIC_SIZE)
		abort();
}

void cert_pin(const struct cert_public *public, uint8_t pin[CHAIN_PIN_SIZE])
{
	(void)mbedtls_sha256(public->der, CERT_PUBLIC_SIZE, pin, 0);
}

void cert_pin_text(const uint8_t pin[CHAIN_PIN_SIZE], char text[65])
{
	struct digest digest;

	memcpy(digest.bytes, pin, sizeof(digest.bytes));
	digest_hex(&digest, text);
}

int cert_pin_parse(struct span text, uint8_t pin[CHAIN_PIN_SIZE])
{
	struct digest digest;
	int err = digest_parse_hex(text, &digest);

	if (!err)
		memcpy(pin, digest.bytes, sizeof(digest.bytes));
	return err;
}
