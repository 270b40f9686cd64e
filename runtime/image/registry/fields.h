/* What replies of registries say in header fields and in the JSON of a token
 * service, from text to checked values: no I/O, no state. Private to the
 * client and its tests. All of it is foreign bytes. */
#ifndef REGISTRY_FIELDS_H
#define REGISTRY_FIELDS_H

#include "base/span.h"

/* The challenges of WWW-Authenticate fields (RFC 9110 11.6.1; Docker's token
 * flow). */
struct challenge {
	bool basic, bearer;
	char realm[512]; /* of Bearer: URL of its token service */
	char service[256];
	char scope[512];
};

/* Adds what one field says; of several Bearer challenges the first counts.
 * What cannot be read is as good as absent. */
void challenge_read(struct span field, struct challenge *challenge);

#define RANGE_UNKNOWN UINT64_MAX

struct content_range {
	uint64_t first, last; /* both inclusive */
	uint64_t total;	      /* or RANGE_UNKNOWN */
};

/* Content-Range of a reply 206 (RFC 9110 14.4). 0, -EINVAL. */
int content_range_parse(struct span field, struct content_range *range);

enum { TOKEN_SIZE = 16384 };

/* The reply of a token service: a token fit for a header field and for how
 * many seconds it is good. 0, -EINVAL. */
int token_parse(struct span body, char token[TOKEN_SIZE], uint32_t *expires_s);

/* Whether text may stand in a header field: printable ASCII, no space. */
bool token_valid(struct span text);

#endif
