/* Certificate chains and signatures by them: the checks that every program
 * shares, in terms of plain bytes, so that no other code sees the library.
 *
 * Only ECDSA on P-256 with SHA-256 is taken. A chain is trusted for one reason
 * alone: it ends at a root whose public key has the pinned sha256. Names, dates
 * and usages are then read from what that chain says.
 *
 * An intermediate with a URI name "zooid:///tokyo/" may only issue for URIs
 * beneath it; the plain "zooid:///" allows all. */
#ifndef OCI_CHAIN_H
#define OCI_CHAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

enum {
	CHAIN_PIN_SIZE = 32,
	CHAIN_SERIAL_SIZE = 20, /* RFC 5280, 4.1.2.2: at most */
	CHAIN_NAME_SIZE = 64,
	CHAIN_URI_SIZE = 256,
	CHAIN_PEM_MAX = 16 << 10, /* bytes of PEM that are read at all */
	CHAIN_CERTS_MAX = 4,
	CHAIN_SIGNATURE_SIZE = 80, /* DER, at most 72 for P-256 */
	CHAIN_ERROR_SIZE = 160,
};

/* What a certificate may be used for: bits. */
enum chain_use {
	CHAIN_USE_SERVER = 1, /* TLS server (EKU serverAuth) */
	CHAIN_USE_CLIENT = 2, /* TLS client (EKU clientAuth) */
	CHAIN_USE_SIGN = 4,   /* documents: no EKU, keyUsage digitalSignature */
	CHAIN_USE_ISSUE = 8,  /* CA */
};

/* What the first certificate of a chain says. */
struct chain_facts {
	char name[CHAIN_NAME_SIZE]; /* CN; "" when there is none */
	char uri[CHAIN_URI_SIZE];   /* the first URI name, or "" */
	uint8_t serial[CHAIN_SERIAL_SIZE];
	uint8_t serial_size;
	uint8_t use;		       /* enum chain_use */
	int64_t not_before, not_after; /* seconds since 1970 */
	uint8_t pin[CHAIN_PIN_SIZE];   /* sha256 of SubjectPublicKeyInfo */
};

struct chain_trust {
	uint8_t pin[CHAIN_PIN_SIZE]; /* of the root's public key */
	/* PEM of the root, for chains that stop before it; may be empty. */
	struct span root;
	int64_t now;	  /* seconds since 1970; 0: dates are not checked */
	uint8_t use;	  /* enum chain_use, exactly one: what it must allow */
	const char *name; /* DNS name or IP address it must carry, or NULL */
};

struct chain;

/* Parses 1 to CHAIN_CERTS_MAX certificates in PEM, leaf first; any other text
 * between them is ignored. The caller frees *chain. 0, -EINVAL (no certificate,
 * a broken one, or more than that), -ENOMEM. */
int chain_read(struct span pem, struct chain **chain);
void chain_free(struct chain *chain);

/* The facts of certificate i, 0 being the leaf. -ENOENT past the end. Facts
 * that were not checked by chain_check() are claims. */
int chain_facts(const struct chain *chain, size_t i, struct chain_facts *facts);

/* Checks the chain against trust: signatures, issuers, CA bits, path
 * constraint, dates unless trust->now is 0, use, and name. On success *facts
 * (may be NULL) holds those of the leaf. 0; -EKEYREJECTED not trusted or not
 * for this use; -EKEYEXPIRED outside its dates and nothing else wrong;
 * `error` then holds one line that says which and why. */
int chain_check(const struct chain *chain, const struct chain_trust *trust,
		struct chain_facts *facts, char error[CHAIN_ERROR_SIZE]);

/* Verifies an ECDSA signature (DER) over sha256(message, in n parts) by the
 * key of the leaf. 0 or -EKEYREJECTED. */
int chain_verify(const struct chain *chain, const struct span *parts, size_t n,
		 struct span signature);

/* ---- for sync/wire alone, which links the same library ---- */

struct mbedtls_x509_crt;
struct mbedtls_x509_crt_profile;

/* One walk down a chain, from its top to its leaf, as the library's
 * verification calls chain_step() (its f_vrfy) for each certificate. */
struct chain_walk {
	const uint8_t *pin; /* of a root that nobody else vouches for */
	int64_t now;
	uint8_t use;
	/* Found on the way. */
	bool expired, rejected;
	char constraint[CHAIN_URI_SIZE]; /* URI of the CA above */
	struct chain_facts leaf;
	char why[CHAIN_ERROR_SIZE];
};

int chain_step(void *walk, struct mbedtls_x509_crt *crt, int depth,
	       uint32_t *flags);
/* P-256 and SHA-256, nothing else. */
extern const struct mbedtls_x509_crt_profile chain_profile;
struct mbedtls_x509_crt *chain_crt(const struct chain *chain);

#endif
