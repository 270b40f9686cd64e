/* The destination was chosen by the container. It must not reach services of
 * the node that listen on loopback because they trust whoever is on the
 * machine, nor neighbours that answer on the link only (a cloud's metadata
 * service hands out credentials), nor many at a time. No rule opens these.
 *
 * What is left goes by the rules that its application has for it
 * (oci/net_policy.h): the first that matches wins. A rule by name matches the
 * addresses that the resolver has given this container for that name, for as
 * long as the answer said, and the neighbour that is the service of that name.
 * So a rule that allows a name holds against one that goes round the resolver;
 * one that denies a name does not. */
#define _GNU_SOURCE
#include "policy.h"

#include <errno.h>
#include <netinet/in.h>
#include <unistd.h>

#include "base/loop.h"
#include "outlet.h"

/* #syscalls: pread64 */

/* Who was told that a name is somewhere for less connects a moment later. */
enum { GIVEN_MIN_S = 2, BURST_PARTS = 10 };

static struct policy policies[POLICY_MAX];

int policy_check(const struct key *key)
{
	return net_address_closed(key->outside) ? -EACCES : 0;
}

/* The rules */

static bool is_given(const struct policy *p, unsigned int rule,
		     const uint8_t address[16])
{
	uint64_t now = clock_ms();

	for (const struct policy_given *g = p->given;
	     g < p->given + POLICY_GIVEN_MAX; g++) {
		if (g->ends_ms > now && g->rule == rule &&
		    !memcmp(g->address, address, 16))
			return true;
	}
	return false;
}

static bool port_matches(const struct net_rule *r, const struct key *key)
{
	uint8_t protocol = key->protocol == IPPROTO_ICMPV6 ? IPPROTO_ICMP
							   : key->protocol;

	if (r->protocol && r->protocol != protocol)
		return false;
	return !r->port_first || (key->outside_port >= r->port_first &&
				  key->outside_port <= r->port_last);
}

static bool is_called(const struct net_rule *r, const char *names)
{
	struct span rest = span_of(names ? names : ""), one;
	char name[NET_RULE_NAME_SIZE];

	while (span_cut(&rest, ' ', &one))
		if (span_copy(name, sizeof(name), one) == 0 &&
		    net_rule_names(r, name))
			return true;
	return false;
}

static bool rule_matches(const struct policy *p, unsigned int i,
			 const struct key *key, const char *names)
{
	const struct net_rule *r = &p->rules.rule[i];

	if (!port_matches(r, key))
		return false;
	switch ((enum net_rule_by)r->by) {
	case NET_RULE_ANY:
		return true;
	case NET_RULE_ADDRESS:
		return net_rule_holds(r, key->outside);
	case NET_RULE_NAME:
		return is_called(r, names) || is_given(p, i, key->outside);
	}
	return false;
}

int policy_judge(struct policy *p, const struct key *key, const char *names)
{
	uint32_t i = 0;
	bool allows;

	while (i < p->rules.n_rules && !rule_matches(p, i, key, names))
		i++;
	p->hits[i]++;
	allows = i < p->rules.n_rules ? p->rules.rule[i].allows
				      : !p->rules.denies;
	if (!allows)
		return -ECONNREFUSED;
	if (rate_wait(&p->connections, clock_ms()))
		return -EAGAIN;
	rate_take(&p->connections, 1);
	return 0;
}

/* The place for one more: where it is already, or the one that ends first. */
static struct policy_given *given_place(struct policy *p, uint8_t rule,
					const uint8_t address[16])
{
	struct policy_given *first = p->given;

	for (struct policy_given *g = p->given; g < p->given + POLICY_GIVEN_MAX;
	     g++) {
		if (g->ends_ms && g->rule == rule &&
		    !memcmp(g->address, address, 16))
			return g;
		if (g->ends_ms < first->ends_ms)
			first = g;
	}
	*first = (struct policy_given){ .rule = rule };
	memcpy(first->address, address, 16);
	return first;
}

void policy_give(struct policy *p, const char *name, const uint8_t address[16],
		 uint32_t seconds)
{
	uint64_t ends_ms = clock_ms() +
			   (seconds < GIVEN_MIN_S ? GIVEN_MIN_S : seconds) *
				   UINT64_C(1000);

	for (uint32_t i = 0; i < p->rules.n_rules; i++) {
		const struct net_rule *r = &p->rules.rule[i];
		struct policy_given *g;

		if (r->by != NET_RULE_NAME || !net_rule_names(r, name))
			continue;
		g = given_place(p, (uint8_t)i, address);
		if (g->ends_ms < ends_ms)
			g->ends_ms = ends_ms;
	}
}

/* Those of containers */

struct policy *policy_of(const char *container)
{
	for (struct policy *p = policies; p < policies + POLICY_MAX; p++) {
		if (p->used && !strcmp(p->container, container))
			return p;
	}
	return NULL;
}

void policy_gone(struct policy *p)
{
	p->used = false;
}

static struct policy *policy_room(void)
{
	struct policy *p = policies;

	while (p < policies + POLICY_MAX && p->used)
		p++;
	return p < policies + POLICY_MAX ? p : NULL;
}

/* Who chose the bytes: zrun serve, which has sealed them. */
int policy_add(const char *container, int fd)
{
	static struct net_policy rules;
	struct policy *p = policy_of(container);
	uint64_t now = clock_ms();

	if (pread(fd, &rules, sizeof(rules), 0) != sizeof(rules) ||
	    !net_policy_valid(&rules))
		return -EBADMSG;
	/* Told anew: what it has counted and was given stays. */
	if (p && !memcmp(&p->rules, &rules, sizeof(rules))) {
		p->stale = false;
		return 0;
	}
	if (!p)
		p = policy_room();
	if (!p)
		return -ENOSPC;
	memset(p, 0, sizeof(*p));
	p->rules = rules;
	text_copy(p->container, sizeof(p->container), container);
	rate_init(&p->up, rules.bytes_up, rules.bytes_up / BURST_PARTS, now);
	rate_init(&p->down, rules.bytes_down, rules.bytes_down / BURST_PARTS,
		  now);
	rate_init(&p->connections, rules.connections, rules.connections, now);
	p->used = true;
	return 0;
}

void policy_all_stale(void)
{
	for (struct policy *p = policies; p < policies + POLICY_MAX; p++)
		p->stale = true;
}

void policy_synced(void (*gone)(struct policy *p))
{
	for (struct policy *p = policies; p < policies + POLICY_MAX; p++) {
		if (!p->used || !p->stale)
			continue;
		gone(p);
		policy_gone(p);
	}
}
