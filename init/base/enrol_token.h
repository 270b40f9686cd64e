/* The enrolment token of sync(5): what lets a node into an organism.
 *
 *	zooid1.BASE64URL of
 *	{"hub":["HOST:PORT",...],"pin":"HEX","id":"ID","secret":"TEXT"}
 *
 * It is foreign: a person pasted it into node.json. Its secret never appears
 * in a message. No heap, no I/O. */
#ifndef BASE_ENROL_TOKEN_H
#define BASE_ENROL_TOKEN_H

#include "span.h"

enum {
	ENROL_TOKEN_SIZE_MAX = 2048, /* of its text */
	ENROL_HUBS_MAX = 8,
	ENROL_ADDRESS_SIZE = 264, /* "HOST:PORT" */
	ENROL_PIN_SIZE = 32,
};

struct enrol_token {
	char hub[ENROL_HUBS_MAX][ENROL_ADDRESS_SIZE];
	uint8_t n_hub;
	uint8_t pin[ENROL_PIN_SIZE];
	char id[64];
	char secret[128];
};

/* 0, or -EINVAL with *token all zero. Members that it does not know are
 * ignored: a later hub may add some. */
int enrol_token_parse(struct span text, struct enrol_token *token);

/* "HOST:PORT" or "[V6]:PORT", printable and at most ENROL_ADDRESS_SIZE. */
bool enrol_address_valid(struct span s);

#endif
