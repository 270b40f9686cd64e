/* Whether this node may obey a desired document: who signed it, for whom it
 * is, and whether it is newer. No I/O.
 *
 * Everything comes from zagent, which reads the network: it may be captured,
 * so it can delay a document but neither make one up, nor bring one that was
 * signed for another node, nor an old one again. */
#ifndef NODE_TRUST_H
#define NODE_TRUST_H

#include "oci/desired.h"
#include "oci/envelope.h"

enum { TRUST_ERROR_SIZE = 256 };

/* What is known before a document comes. */
struct trust {
	bool pinned;
	uint8_t pin[CHAIN_PIN_SIZE]; /* of the organism's root, if pinned */
	/* Under that pin; 0 and 0 where no document is obeyed yet. */
	uint64_t epoch, revision;
};

/* A document as it came, and as it is stored: its envelope, and certificates
 * in PEM with the root last. */
struct offer {
	struct span envelope, chain;
};

/* Who may be believed, once a document was. */
struct root {
	uint8_t pin[CHAIN_PIN_SIZE];
	struct span pem; /* within the offer's chain */
};

/* Judges a document that was brought together with this node's own chain. On
 * 0 *desired is the caller's, to be freed with desired_free(). A node without
 * a pin takes that of the first chain. -EKEYREJECTED (pin, chain, signer or
 * node are not right), -EBADMSG, -E2BIG, -ESTALE (not newer), -ENOMEM; error
 * then holds one line. */
int trust_judge(const struct trust *trust, const struct offer *offer,
		struct root *root, struct desired *desired,
		char error[TRUST_ERROR_SIZE]);

/* Opens a document that was judged before and has lain on the disk; chain is
 * the root alone. As above. */
int trust_reopen(const struct offer *offer, struct root *root,
		 struct desired *desired, char error[TRUST_ERROR_SIZE]);

#endif
