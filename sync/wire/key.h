/* What the files of sync/wire share about keys, in the library's terms. */
#ifndef WIRE_KEY_H
#define WIRE_KEY_H

#include <mbedtls/pk.h>

#include "cert.h"

struct cert_key {
	mbedtls_pk_context pk;
};

/* The library's random callback: getrandom(2). */
int wire_rng(void *unused, unsigned char *buf, size_t size);

/* The library takes keys that it only reads as non-const. */
static inline mbedtls_pk_context *key_pk(const struct cert_key *key)
{
	return (mbedtls_pk_context *)(uintptr_t)&key->pk;
}

/* A second owner of the same key. NULL without memory. */
struct cert_key *key_copy(const struct cert_key *key);

#endif
