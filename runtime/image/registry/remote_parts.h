/* What remote.c and get.c share. */
#ifndef REGISTRY_REMOTE_PARTS_H
#define REGISTRY_REMOTE_PARTS_H

#include "exchange.h"
#include "remote.h"

struct remote {
	struct remote_client *client;
	char host[REFERENCE_HOST_SIZE]; /* as in references */
	char repository[REFERENCE_REPOSITORY_SIZE];
	bool plain;
	char *ca;
	size_t ca_size;
	char *proxy;	     /* or NULL */
	char *user_password; /* "user:password" or NULL */
	bool basic;	     /* the registry itself wants them */
	char *token;	     /* bearer, or NULL */
	bool token_given;    /* by the caller: no other will be asked for */
	uint64_t token_until_ms;
};

/* The token to send now, or NULL. */
const char *remote_token(const struct remote *remote);
/* Keeps what a token service gave. 0, -ENOMEM. */
int remote_token_keep(struct remote *remote, const char *token,
		      uint32_t expires_s);
/* New strings, or NULL: the URL of what is got, and that of the token service
 * for the challenge. */
char *remote_url(const struct remote *remote, const struct remote_get *get);
char *remote_token_url(const struct remote *remote,
		       const struct challenge *challenge);

#endif
