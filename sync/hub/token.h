/* Tokens: the right to enrol a node, or to use the registry. Stored as
 * token/ID: {"kind":"enrol"|"registry","secret":HEX sha256,"uses","expires",
 * "labels","place","by","at"}; the secret itself is shown once. */
#ifndef HUB_TOKEN_H
#define HUB_TOKEN_H

#include "hub.h"

enum {
	TOKEN_ID_SIZE = 17,
	TOKEN_SECRET_SIZE = 44, /* 32 bytes, base64url */
	TOKEN_TEXT_SIZE = 4096,
};

struct token_plan {
	const char *kind;
	uint64_t uses;	    /* of an enrolment token */
	uint64_t expires_s; /* from now */
	const char *place;  /* or "" */
	yyjson_val *labels; /* or NULL */
	const char *by;
};

/* A path of ids that leads to the node, "" too; "operator" and "viewer" stand
 * for people. */
bool token_place_valid(const char *place);

/* Puts a new token into the open round. text is what a person hands on:
 * "zooid1.…" for nodes, "ID.SECRET" for the registry. */
int token_make(struct hub *hub, const struct token_plan *plan,
	       char id[TOKEN_ID_SIZE], char text[TOKEN_TEXT_SIZE]);

enum token_verdict {
	TOKEN_GOOD,
	TOKEN_UNKNOWN, /* no such token, or a wrong secret: never said which */
	TOKEN_USED,
	TOKEN_EXPIRED,
};

/* The record of token id in *doc (to be freed; NULL unless good, used or
 * expired) if the secret is right. */
enum token_verdict token_check(struct hub *hub, const char *kind,
			       const char *id, const char *secret,
			       yyjson_doc **doc);
/* One use less, in the open round. */
int token_use(struct hub *hub, const char *id, yyjson_doc *doc);

/* Writes random bytes as base64url without padding. */
void random_text(char *out, size_t bytes);

#endif
