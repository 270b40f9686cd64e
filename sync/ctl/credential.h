/* operator.json: who the operator is and whom to trust (sync.5). */
#ifndef CTL_CREDENTIAL_H
#define CTL_CREDENTIAL_H

#include "ctl.h"
#include "wire/cert.h"

enum { CREDENTIAL_HUBS_MAX = 16 };

struct credential {
	unsigned n_hubs;
	char hub[CREDENTIAL_HUBS_MAX][272]; /* HOST:PORT, in order */
	uint8_t pin[CHAIN_PIN_SIZE];
	struct cert_key *key;
	char *chain; /* PEM */
	char file[512];
};

/* Reads the file that --hub-file, the environment or the home directory names.
 * EXIT_DONE, and *c is freed with credential_free(); or another code after one
 * line. */
int credential_read(const struct ctl *ctl, struct credential *c);
void credential_free(struct credential *c);

#endif
