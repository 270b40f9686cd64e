/* Where a container may go, and how fast. See policy.c. */
#ifndef NET_POLICY_H
#define NET_POLICY_H

#include "key.h"
#include "oci/net_policy.h"
#include "rate.h"

enum { POLICY_MAX = 256, POLICY_GIVEN_MAX = 256 };

/* An address that the container was given for a name of rule number `rule`. */
struct policy_given {
	uint64_t ends_ms; /* 0: free */
	uint8_t address[16];
	uint8_t rule;
};

struct policy {
	bool used, stale; /* stale: as of a TUN */
	char container[64];
	struct net_policy rules;
	/* Flows that each rule has judged; behind them what none matched. */
	uint64_t hits[NET_RULES_MAX + 1];
	struct rate up, down, connections;
	struct policy_given given[POLICY_GIVEN_MAX];
};

/* 0, or -EACCES for what no container reaches unless it was granted: the node's
 * own loopback, what is link-local, and addresses that are nobody's. */
int policy_check(const struct key *key);

/* What the rules say of a new flow, the first that matches; names: of whom the
 * address belongs to in the container's application (outlet.h), or NULL. 0;
 * -ECONNREFUSED; -EAGAIN when it has begun too many in this second. */
int policy_judge(struct policy *p, const struct key *key, const char *names);

/* The container was told that `name` (lower case) has the address, for
 * `seconds`. */
void policy_give(struct policy *p, const char *name, const uint8_t address[16],
		 uint32_t seconds);

/* Of the container, or NULL. */
struct policy *policy_of(const char *container);

/* Reads the one that fd holds, which stays the caller's, in place of the
 * container's former one. 0 or -errno, then the former one is as it was. */
int policy_add(const char *container, int fd);
void policy_gone(struct policy *p);

/* Those not added again between the two are gone. */
void policy_all_stale(void);
void policy_synced(void (*gone)(struct policy *p));

#endif
