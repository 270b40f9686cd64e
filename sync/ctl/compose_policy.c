/* x-zooid.network of a service: where it may go, and how much of it. */
#include "compose_service.h"
#include "oci/net_policy.h"

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

void policy_check(struct walk *w, const struct service *s)
{
	if (s->policy_line && s->no_network)
		walk_fail(w, s->policy_line, "want a network with a policy");
}
