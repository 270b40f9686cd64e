/* Operators and viewers: who lost the right to be one. What they are is said by
 * their certificates; operator/NAME of the store, {"revoked_until"}, refuses
 * those that end until then, so a new one of the same name is good. */
#ifndef HUB_OPERATOR_H
#define HUB_OPERATOR_H

#include "hub.h"

bool operator_is_revoked(struct hub *hub, const char *name, int64_t not_after);
/* All certificates of that name made until now, in the open round. 0, -errno of
 * the store. */
int operator_revoke(struct hub *hub, const char *name, const char *by);

#endif
