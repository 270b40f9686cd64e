/* Secrets that only the holder of one key can read: ECIES on P-256, an
 * ephemeral key's ECDH with HKDF-SHA256 and AES-256-GCM.
 *
 * The ephemeral key is derived from the sealer's own key, the receiver's and
 * the secret, so the same secret for the same receiver is the same text: a
 * document that says nothing new does not change. Whoever has two sealed texts
 * of one receiver can tell whether they are the same secret, and how long it
 * is; nothing else. */
#ifndef WIRE_SEAL_H
#define WIRE_SEAL_H

#include "cert.h"

enum { SEAL_PLAIN_MAX = 64 << 10 };

/* Seals a secret of at most SEAL_PLAIN_MAX bytes for whoever has the private
 * key of `to`; `by` is the sealer's. *text is base64 that the caller frees. 0,
 * -EINVAL (too long, `to` is no P-256 key), -ENOMEM. */
int seal(const struct cert_public *to, const struct cert_key *by,
	 struct span secret, char **text);

/* The secret with a NUL behind it, which the caller wipes and frees. 0,
 * -EINVAL (no sealed text), -EKEYREJECTED (for another key, or changed),
 * -ENOMEM. */
int unseal(const struct cert_key *key, struct span text, char **secret,
	   size_t *size);

#endif
