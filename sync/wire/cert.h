/* Keys and certificates: P-256 key pairs, requests (CSR), and issuing.
 * Reading and checking is oci/digest/chain.h, which this adds the making to.
 *
 * Rule of use: call wire_init() once in main before anything of sync/wire.
 * PEM goes in and out as text; private keys are wiped when freed. Whoever
 * issues decides name, names, dates and use; of a request only the public key
 * is taken, after its signature proved that the asker holds the private one. */
#ifndef WIRE_CERT_H
#define WIRE_CERT_H

#include "oci/digest/chain.h"

enum {
	CERT_PEM_SIZE =
		2048, /* one key, request or certificate, with its NUL */
	CERT_PUBLIC_SIZE = 91, /* SubjectPublicKeyInfo of P-256, DER */
	CERT_NAMES_MAX = 16,
};

/* Starts the random generator and the crypto core. 0 or -EIO. Needs no file:
 * only getrandom(2). */
int wire_init(void);

/* size random bytes; cannot fail after wire_init(). */
void wire_random(void *buf, size_t size);

/* ---- keys ---- */

struct cert_key;
struct cert_public {
	uint8_t der[CERT_PUBLIC_SIZE];
};

/* The caller frees *key with cert_key_free(). 0, -EINVAL (not an unencrypted
 * P-256 private key), -ENOMEM. */
int cert_key_make(struct cert_key **key);
int cert_key_read(struct span pem, struct cert_key **key);
void cert_key_free(struct cert_key *key);

int cert_key_write(const struct cert_key *key, char pem[CERT_PEM_SIZE]);
void cert_key_public(const struct cert_key *key, struct cert_public *public);

/* sha256 of the SubjectPublicKeyInfo; a root's is the organism's pin. */
void cert_pin(const struct cert_public *public, uint8_t pin[CHAIN_PIN_SIZE]);
/* 64 hex digits and NUL; and back: 0 or -EINVAL. */
void cert_pin_text(const uint8_t pin[CHAIN_PIN_SIZE], char text[65]);
int cert_pin_parse(struct span text, uint8_t pin[CHAIN_PIN_SIZE]);

/* ---- requests ---- */

/* A CSR with only CN = name, signed by key. */
int cert_request_make(const struct cert_key *key, const char *name,
		      char pem[CERT_PEM_SIZE]);

/* Takes the public key out of a CSR after its self-signature was verified.
 * 0, -EINVAL (not a P-256 CSR), -EKEYREJECTED (bad signature). Costs one
 * signature verification of CPU: limit who may ask. */
int cert_request_read(struct span pem, struct cert_public *public);

/* ---- issuing ---- */

/* What a new certificate says. */
struct cert_plan {
	uint8_t use;	  /* enum chain_use; ISSUE stands alone */
	const char *name; /* CN, 1 to 63 bytes */
	/* Subject alternative names: "dns:hub.example", "ip:192.0.2.1",
	 * "ip:2001:db8::1", "uri:zooid:///n1"; at most CERT_NAMES_MAX. */
	const char *const *names;
	size_t n_names;
	int64_t not_before, not_after; /* seconds since 1970 */
	uint8_t path_length; /* of a CA: how many CAs may follow beneath it */
};

/* Issues a certificate for `subject` by issuer_key, whose certificate is the
 * first of `issuer` (NULL: self-signed, a root). A random serial. Writes PEM
 * of the new certificate alone: append the issuer's chain to serve it.
 * 0, -EINVAL (a name that cannot be), -ENOMEM. */
int cert_issue(const struct cert_plan *plan, const struct cert_public *subject,
	       const struct cert_key *issuer_key, const struct chain *issuer,
	       char pem[CERT_PEM_SIZE]);

/* When to ask for a new certificate: at two thirds of its life, less up to a
 * twelfth by `random` (0 to 65535) so that a batch does not come at once. */
int64_t cert_renew_at(const struct chain_facts *facts, uint16_t random);

#endif
