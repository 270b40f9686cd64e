/* x-zooid.network of a service: where it may go, and how much of it. */
#include <string.h>

#include "base/gateway.h"
#include "compose_service.h"
#include "oci/net_policy.h"
#include "oci/net_range.h"

struct policy {
	yyjson_mut_doc *doc;
	yyjson_mut_val *json;
	yyjson_mut_val *rules; /* NULL: none yet */
};

static void default_read(struct walk *w, const struct compose_node *value,
			 void *into)
{
	const char *text = walk_text(w, value, "allow or deny");
	struct policy *p = into;

	if (!text)
		return;
	if (strcmp(text, "allow") != 0 && strcmp(text, "deny") != 0)
		walk_fail(w, value->line, "\"%.40s\": want allow or deny",
			  text);
	else
		yyjson_mut_obj_add_strcpy(p->doc, p->json, "default", text);
}

static void rule_read(struct walk *w, const struct compose_node *value,
		      void *into)
{
	const char *text = walk_text(w, value,
				     "allow|deny TARGET [tcp|udp|icmp [PORT]]");
	char error[NET_POLICY_ERROR_SIZE];
	struct policy *p = into;
	struct net_rule rule;

	if (!text)
		return;
	if (net_rule_parse(span_of(text), &rule, error) < 0)
		walk_fail(w, value->line, "%s", error);
	else if (yyjson_mut_arr_size(p->rules) == NET_RULES_MAX)
		walk_fail(w, value->line, "want at most %d rules",
			  NET_RULES_MAX);
	else
		yyjson_mut_arr_add_strcpy(p->doc, p->rules, text);
}

static void rules_read(struct walk *w, const struct compose_node *value,
		       void *into)
{
	struct policy *p = into;

	p->rules = yyjson_mut_obj_add_arr(p->doc, p->json, "rules");
	walk_list(w, value, rule_read, p);
}

static void rate_read(struct walk *w, const struct compose_node *value,
		      struct policy *p, const char *key)
{
	uint64_t bytes;

	if (!value_bytes(w, value, &bytes))
		return;
	if (bytes < NET_RATE_MIN || bytes > NET_RATE_MAX)
		walk_fail(w, value->line, "want 64k to 1t a second");
	else
		yyjson_mut_obj_add_uint(p->doc, p->json, key, bytes);
}

static void up_read(struct walk *w, const struct compose_node *value,
		    void *into)
{
	rate_read(w, value, into, "up");
}

static void down_read(struct walk *w, const struct compose_node *value,
		      void *into)
{
	rate_read(w, value, into, "down");
}

static void connections_read(struct walk *w, const struct compose_node *value,
			     void *into)
{
	struct policy *p = into;
	uint64_t n;

	if (!value_number(w, value, NET_CONNECTIONS_MAX, &n))
		return;
	if (!n)
		walk_fail(w, value->line, "want at least 1 a second");
	else
		yyjson_mut_obj_add_uint(p->doc, p->json, "connections", n);
}

void policy_read(struct walk *w, const struct compose_node *value, void *into)
{
	static const struct walk_key keys[] = {
		{ "default", default_read },
		{ "rules", rules_read },
		{ "up", up_read },
		{ "down", down_read },
		{ "connections", connections_read },
	};
	struct service *s = into;
	struct policy p = { .doc = s->doc };

	p.json = yyjson_mut_obj_add_obj(s->doc, s->app, "policy");
	s->policy_line = value->line;
	walk_map(w, value, keys, ARRAY_SIZE(keys), NULL, &p);
}

/* Those of containers, of which only its application's are reached. */
static const char *const neighbours[] = { "allow " NET_RANGE_TEXT,
					  "allow " NET_PREFIX6_TEXT };

static yyjson_mut_val *rules_of(const struct service *s, yyjson_mut_val *policy)
{
	yyjson_mut_val *rules = yyjson_mut_obj_get(policy, "rules");

	return rules ? rules : yyjson_mut_obj_add_arr(s->doc, policy, "rules");
}

static bool denies(yyjson_mut_val *policy)
{
	const char *said =
		yyjson_mut_get_str(yyjson_mut_obj_get(policy, "default"));

	return said && !strcmp(said, "deny");
}

void policy_internal(struct walk *w, struct service *s)
{
	yyjson_mut_val *policy = yyjson_mut_obj_get(s->app, "policy"), *rules;

	if (s->no_network || s->host_network_line ||
	    s->seen->shares & DESIRED_POD_NETWORK || !networks_internal(w, s))
		return;
	if (s->n_ports)
		walk_notice(w, s->seen->line,
			    "its ports are not published: the networks that it "
			    "is on are internal");
	s->n_ports = 0;
	if (!policy)
		policy = yyjson_mut_obj_add_obj(s->doc, s->app, "policy");
	if (!yyjson_mut_obj_get(policy, "default"))
		yyjson_mut_obj_add_str(s->doc, policy, "default", "deny");
	rules = rules_of(s, policy);
	if (!denies(policy))
		walk_fail(w, s->policy_line,
			  "the networks that it is on are internal: want "
			  "default: deny");
	else if (yyjson_mut_arr_size(rules) + ARRAY_SIZE(neighbours) >
		 NET_RULES_MAX)
		walk_fail(w, s->policy_line, "want at most %zu rules",
			  NET_RULES_MAX - ARRAY_SIZE(neighbours));
	for (size_t i = 0; i < ARRAY_SIZE(neighbours); i++)
		yyjson_mut_arr_add_str(s->doc, rules, neighbours[i]);
}

/* Whether no connection to the node itself gets through. */
static bool gateway_denied(const struct service *s)
{
	yyjson_mut_val *policy = yyjson_mut_obj_get(s->app, "policy"), *one;
	char error[NET_POLICY_ERROR_SIZE];
	yyjson_mut_arr_iter iter;
	struct net_rule rule;

	yyjson_mut_arr_iter_init(yyjson_mut_obj_get(policy, "rules"), &iter);
	while ((one = yyjson_mut_arr_iter_next(&iter))) {
		struct span text = span_of(yyjson_mut_get_str(one));

		if (net_rule_parse(text, &rule, error) < 0 ||
		    rule.by == NET_RULE_NAME ||
		    (rule.by == NET_RULE_ADDRESS &&
		     !net_rule_holds(&rule, gateway_address)))
			continue;
		if (rule.allows || !rule.protocol)
			return !rule.allows;
	}
	return denies(policy);
}

void policy_check(struct walk *w, const struct service *s)
{
	if (s->policy_line && s->no_network)
		walk_fail(w, s->policy_line, "want a network with a policy");
	if (s->gateway_line && gateway_denied(s))
		walk_notice(w, s->gateway_line,
			    "extra_hosts: " GATEWAY_WORD " is " GATEWAY_TEXT
			    ", where its "
			    "network's rules do not let it go");
}
