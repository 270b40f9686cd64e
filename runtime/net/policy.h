/* Where a container may go. */
#ifndef NET_POLICY_H
#define NET_POLICY_H

#include "key.h"

/* 0, or -EACCES for what no container reaches unless it was granted: the node's
 * own loopback, what is link-local, and addresses that are nobody's. */
int policy_check(const struct key *key);

#endif
