/* The keys "policy" and "dns" of an app: where it may go, and whom it asks for
 * names (net_policy.h). Each rule is read here, so that a document with a bad
 * one is refused as a whole. */
#include <errno.h>
#include <stdio.h>

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

int desired_dns_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;
	uint8_t address[16];
	int err = desired_list_read(w, v, &app->dns, NET_SERVERS_MAX);

	for (unsigned i = 0; err == 0 && i < app->dns.n; i++) {
		const char *text = app->dns.item[i];

		if (net_server_parse(span_of(text), address) < 0 &&
		    !desired_dns_own(text))
			err = json_fail(w, "want addresses of name servers");
	}
	return err;
}

bool desired_dns_own(const char *text)
{
	static const uint8_t v6[16] = { [15] = 1 },
			     v4[13] = { [10] = 0xff, 0xff, 127 };
	uint8_t address[16];

	return net_server_parse(span_of(text), address) == -EACCES &&
	       (!memcmp(address, v4, sizeof(v4)) ||
		!memcmp(address, v6, sizeof(v6)));
}

bool desired_has_policy(const struct desired_app *app)
{
	bool has = app->policy.is_said;

	if (app->no_network || app->host_shares & DESIRED_POD_NETWORK)
		return false;
	for (unsigned i = 0; i < app->dns.n; i++)
		has = has || !desired_dns_own(app->dns.item[i]);
	return has;
}

static size_t servers_text(const struct desired_list *dns, char *text, size_t n)
{
	for (unsigned i = 0; i < dns->n; i++)
		if (!desired_dns_own(dns->item[i]))
			n += (size_t)snprintf(text + n, NET_POLICY_TEXT_MAX - n,
					      "dns %s\n", dns->item[i]);
	return n;
}

void desired_policy_text(const struct desired_app *app, char *text)
{
	const struct desired_policy *p = &app->policy;
	size_t n = (size_t)snprintf(text, NET_POLICY_TEXT_MAX, "default %s\n",
				    p->denies ? "deny" : "allow");
	const struct {
		const char *key;
		uint64_t value;
	} limits[] = {
		{ "up", p->bytes_up },
		{ "down", p->bytes_down },
		{ "connections", p->connections },
	};

	for (size_t i = 0; i < ARRAY_SIZE(limits); i++)
		if (limits[i].value)
			n += (size_t)snprintf(
				text + n, NET_POLICY_TEXT_MAX - n, "%s %llu\n",
				limits[i].key,
				(unsigned long long)limits[i].value);
	n = servers_text(&app->dns, text, n);
	for (unsigned i = 0; i < p->rules.n; i++) {
		n += text_copy(text + n, NET_POLICY_TEXT_MAX - n - 1,
			       p->rules.item[i]);
		if (n >= NET_POLICY_TEXT_MAX - 1)
			break;
		text[n++] = '\n';
	}
	/* Rules blown up with spaces. Half a policy would be another one: what
	 * is no rule is refused as a whole. */
	if (n >= NET_POLICY_TEXT_MAX - 1)
		text_copy(text, NET_POLICY_TEXT_MAX, "too long\n");
	else
		text[n] = '\0';
}
