/* The key "policy" of an app: where it may go (net_policy.h). Each rule is
 * read here, so that a document with a bad one is refused as a whole. */
#include "desired_read.h"
#include "net_policy.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

_Static_assert((int)DESIRED_LIST_MAX <= (int)NET_RULES_MAX,
	       "a list is a policy");

static int default_read(struct json_walk *w, yyjson_val *v, void *into)
{
	static const char *const words[] = { "allow", "deny" };
	struct desired_policy *p = into;
	int n = desired_word_read(w, v, words, ARRAY_SIZE(words),
				  "want allow or deny");

	p->denies = n == 1;
	return n < 0 ? n : 0;
}

static int rules_read(struct json_walk *w, yyjson_val *v, void *into)
{
	char error[NET_POLICY_ERROR_SIZE];
	struct desired_policy *p = into;
	struct net_rule rule;
	int r = desired_list_read(w, v, &p->rules, NET_RULES_MAX);

	for (unsigned i = 0; r == 0 && i < p->rules.n; i++)
		if (net_rule_parse(span_of(p->rules.item[i]), &rule, error) < 0)
			r = json_fail(w, "rule %u: %s", i + 1, error);
	return r;
}

static int amount_read(struct json_walk *w, yyjson_val *v, uint64_t least,
		       uint64_t *n)
{
	uint64_t most = least == 1 ? NET_CONNECTIONS_MAX : NET_RATE_MAX;
	int r = desired_number_read(w, v, most, n);

	if (r == 0 && *n < least)
		r = json_fail(w, "want at least %u a second", (unsigned)least);
	return r;
}

static int up_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_policy *p = into;

	return amount_read(w, v, NET_RATE_MIN, &p->bytes_up);
}

static int down_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_policy *p = into;

	return amount_read(w, v, NET_RATE_MIN, &p->bytes_down);
}

static int connections_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_policy *p = into;

	return amount_read(w, v, 1, &p->connections);
}

int desired_policy_read(struct json_walk *w, yyjson_val *v, void *into)
{
	static const struct json_key keys[] = {
		{ "default", default_read, false },
		{ "rules", rules_read, false },
		{ "up", up_read, false },
		{ "down", down_read, false },
		{ "connections", connections_read, false },
	};
	struct desired_app *app = into;

	app->policy.is_said = true;
	return json_object(w, v, keys, ARRAY_SIZE(keys), &app->policy);
}
