/* Who this node is: key, certificate and hub, in /data/identity.
 *
 *	pending.json	what an enrolment under way asks with: {"token","pin",
 *			"key"}; on stable storage before the hub hears of the
 *			key, so that after a cut the same one asks again
 *	identity.json	what came of it: {"token","pin","node","name","hub",
 *			"key","chain","root"}; replaced as a whole
 *	session		the hub last reached and a TLS session to resume with
 *	time		the latest time that a hub signed
 *
 * An identity belongs to the token (id and pin) that it was made by: node.json
 * with another one means another enrolment. The key never leaves the node and
 * no log line shows it. */
#ifndef AGENT_IDENTITY_H
#define AGENT_IDENTITY_H

#include "base/enrol_token.h"
#include "wire/cert.h"

struct identity {
	bool enrolled;
	char token[64]; /* id */
	uint8_t pin[CHAIN_PIN_SIZE];
	char node[64], name[64];
	char hub[ENROL_HUBS_MAX][ENROL_ADDRESS_SIZE];
	uint8_t n_hub;
	struct cert_key *key; /* of the certificate, or of what asks for one */
	char *chain, *root;   /* PEM */
	struct chain_facts facts; /* of the certificate */
};

extern struct identity identity;

/* Reads what is kept beneath dir, a descriptor that stays the caller's. token
 * is that of node.json, or NULL when that cannot be read: then whatever was
 * enrolled goes on. Without an identity for it a key is made and kept. 0, or
 * -errno after one log line. */
int identity_open(int dir, const struct enrol_token *token);
void identity_close(void);

/* Takes a hub's answer to POST /v1/enrol, after it was checked: the root is
 * that of the pin, the certificate that of our key. 0 once it is kept;
 * -EBADMSG, -ENOSPC, ... with a line in error. */
int identity_enrolled(struct span reply, char error[200]);
/* The same for the answer to POST /v1/renew. */
int identity_renewed(struct span reply, char error[200]);

/* The reply as far as it can be judged without a key: for identity_enrolled()
 * and the fuzzer. *into is overwritten; what it points to is freed by
 * welcome_free(). 0 or -EBADMSG. */
struct welcome {
	char node[64], name[64];
	char hub[ENROL_HUBS_MAX][ENROL_ADDRESS_SIZE];
	uint8_t n_hub;
	char *chain, *root;
};
int welcome_read(struct span reply, struct welcome *into);
void welcome_free(struct welcome *w);

/* ---- the lesser files ---- */

enum { IDENTITY_SESSION_MAX = 2048 };

/* The session and the address that it belongs to; 0 bytes without one. */
size_t identity_session_load(char address[ENROL_ADDRESS_SIZE],
			     char session[IDENTITY_SESSION_MAX]);
/* It may be lost with the power: it is worth no wear of the flash. */
void identity_session_save(const char *address, struct span session);

/* Seconds since 1970; 0 when none is kept. */
int64_t identity_time_load(void);
void identity_time_save(int64_t seconds);

#endif
