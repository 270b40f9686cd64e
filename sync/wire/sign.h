/* Makes DSSE envelopes; oci/envelope.h describes and opens them. */
#ifndef WIRE_SIGN_H
#define WIRE_SIGN_H

#include "cert.h"

/* Signs payload as `type` with key; `chain` is the PEM of the key's certificate
 * and those above it, without the root. *envelope is a new NUL-terminated
 * buffer that the caller frees; *size does not count the NUL. 0, -EINVAL
 * (chain is not of this key), -ENOMEM. */
int envelope_sign(const char *type, struct span payload,
		  const struct cert_key *key, struct span chain,
		  char **envelope, size_t *size);

#endif
