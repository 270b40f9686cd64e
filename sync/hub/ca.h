/* The hub's keys and certificates, and what it issues.
 *
 *	keys/root.key root.pem	the organism's root, 20 years. The key is only
 *				needed to make another hub: take it offline
 *	keys/ca.key ca.pem	this hub's intermediate, 5 years
 *	keys/server.key .pem	TLS server, 1 year, renewed by the hub itself
 *	keys/sign.key .pem	signs documents, 1 year, renewed likewise
 *
 * Rule of use: ca_make() once for a new organism; ca_open() in every program
 * that serves. What it points to lives until ca_close(). */
#ifndef HUB_CA_H
#define HUB_CA_H

#include "wire/cert.h"

struct ca {
	struct cert_key *key, *server_key, *sign_key;
	struct chain *issuer;
	char *root_pem;
	char *issuer_pem;			/* the intermediate alone */
	char *server_chain;			/* leaf, intermediate, root */
	char *sign_chain;			/* leaf, intermediate */
	int64_t server_renew_at, sign_renew_at; /* seconds since 1970 */
	uint8_t pin[CHAIN_PIN_SIZE];
	char pin_text[65];
};

/* DNS names and addresses that clients dial, without ports. */
struct ca_names {
	const char *const *host;
	size_t n;
};

enum { CA_NODE_DAYS = 90, CA_OPERATOR_DAYS = 365 };

/* Makes all of them in dir/keys, which must not be there; all or none. 0 or
 * -errno after one log line. */
int ca_make(int dir, const char *hub_name, const struct ca_names *names);

/* Reads them. Of server and sign each may be missing: then it is due for
 * ca_refresh(). 0 or -errno after one log line. */
int ca_open(int dir, struct ca *ca);
void ca_close(struct ca *ca);

/* Replaces the server's and the signer's certificates when they are due or the
 * names changed (force); true in *changed when the server's were. */
int ca_refresh(int dir, struct ca *ca, const struct ca_names *names, bool force,
	       bool *changed);

/* When one of so many days that is issued now ends. */
int64_t ca_end_of(unsigned days);

/* Issues a TLS client certificate; *chain is PEM of it and the intermediate,
 * which the caller frees. */
int ca_issue_client(const struct ca *ca, const char *name, const char *uri,
		    int64_t not_after, const struct cert_public *public,
		    char **chain);

#endif
