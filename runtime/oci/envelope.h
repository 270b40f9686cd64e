/* DSSE envelopes: the one form of every signed thing (desired documents, time,
 * releases). https://github.com/secure-systems-lab/dsse, protocol.md, v1.0.2.
 *
 * {"payloadType":TYPE,"payload":BASE64,"signatures":[
 *	{"keyid":HEX sha256 of the signer's SPKI,"sig":BASE64 of ECDSA P-256
 *DER, "cert":PEM chain of the signer, without the root}]}
 *
 * What is signed is PAE(type, payload), the exact bytes; JSON is read from the
 * payload only after the signature held. The signer must chain to the pinned
 * root and be for documents (CHAIN_USE_SIGN); certificates of nodes, operators
 * and servers are not, so none of them can sign a document.
 *
 * Bytes come from the network or from a disk that others wrote. They cannot
 * make this read more than ENVELOPE_SIZE_MAX nor try more than
 * ENVELOPE_SIGNATURES_MAX signatures. */
#ifndef OCI_ENVELOPE_H
#define OCI_ENVELOPE_H

#include "oci/digest/chain.h"

enum {
	ENVELOPE_SIZE_MAX = 1 << 20,
	ENVELOPE_SIGNATURES_MAX = 4,
	ENVELOPE_ERROR_SIZE = 200,
};

#define ENVELOPE_DESIRED "application/vnd.zooid.desired.v1+json"
#define ENVELOPE_TIME	 "application/vnd.zooid.time.v1+json"

struct envelope_trust {
	uint8_t pin[CHAIN_PIN_SIZE];
	struct span root; /* PEM; its key must have that pin */
	/* Seconds since 1970 at which the signer's chain must be valid, or 0: a
	 * node obeys its last document for ever, whatever its clock says. */
	int64_t now;
};

/* Opens an envelope that must have payload type `type` and one good signature.
 * *payload then points to its bytes in a new buffer at payload->data, which
 * the caller frees (a NUL follows them that size does not count); *signer (may
 * be NULL) tells who signed.
 * 0; -EBADMSG no such envelope; -EKEYREJECTED no good signature;
 * -EKEYEXPIRED; -E2BIG; -ENOMEM. `error` then holds one line. */
int envelope_open(struct span bytes, const char *type,
		  const struct envelope_trust *trust, struct span *payload,
		  struct chain_facts *signer, char error[ENVELOPE_ERROR_SIZE]);

/* A file that holds certificates' PEM text first and an envelope behind it (as
 * znode keeps a document): where the one ends and the other begins. 0 or
 * -EBADMSG. */
int envelope_split(struct span text, struct span *pem, struct span *envelope);

#endif
