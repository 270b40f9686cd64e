/* net_policy.h: any bytes are read or refused; what was read is written as text
 * that means the same. */
#include <stdlib.h>
#include <string.h>

#include "oci/net_policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void rule_check(const struct net_rule *rule)
{
	char text[NET_RULE_TEXT_SIZE], error[NET_POLICY_ERROR_SIZE];
	struct net_rule again;

	net_rule_text(rule, text);
	if (net_rule_parse(span_of(text), &again, error) < 0 ||
	    memcmp(rule, &again, sizeof(again)) != 0)
		abort();
	if (rule->by == NET_RULE_ADDRESS &&
	    !net_rule_holds(rule, rule->address))
		abort();
	if (rule->by == NET_RULE_NAME && rule->name[0] != '*' &&
	    !net_rule_names(rule, rule->name))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct net_policy policy;
	char error[NET_POLICY_ERROR_SIZE];

	if (net_policy_parse((struct span){ (const char *)data, size }, &policy,
			     error) == 0) {
		if (!net_policy_valid(&policy))
			abort();
		for (uint32_t i = 0; i < policy.n_rules; i++)
			rule_check(&policy.rule[i]);
	}
	if (size <= sizeof(policy)) {
		memset(&policy, 0, sizeof(policy));
		memcpy(&policy, data, size);
		if (net_policy_valid(&policy) && policy.n_rules)
			net_rule_text(&policy.rule[0],
				      (char[NET_RULE_TEXT_SIZE]){ 0 });
	}
	return 0;
}
