/* Operators and viewers. What they are is said by their certificates; the store
 * keeps operator/NAME, {"issued_until","revoked_until"}: when the last of the
 * certificates made for NAME ends, and until when those that end are refused.
 * A new one ends later than all that were refused, were it by a second. */
#ifndef HUB_OPERATOR_H
#define HUB_OPERATOR_H

#include "api.h"

bool operator_is_revoked(struct hub *hub, const char *name, int64_t not_after);

/* Notes, in the open round, that a certificate is made; *not_after is when it
 * is to end. by is NULL for the first of an organism, which is no event. 0,
 * -errno of the store. */
int operator_issue(struct hub *hub, const char *name, const char *by,
		   int64_t *not_after);

/* All certificates of that name made until now, in the open round. *known:
 * whether one was. A name that nobody knows is refused as well: the store may
 * be older than a certificate. 0, -errno of the store. */
int operator_revoke(struct hub *hub, const char *name, const char *by,
		    bool *known);
/* The line that says so. */
void operator_unknown(const char *name, char text[API_ERROR_SIZE]);

#endif
