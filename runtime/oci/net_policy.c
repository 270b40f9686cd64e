#include "net_policy.h"

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>

#include "net_range.h"

enum { QUOTE_MAX = 40, LABEL_MAX = 63, NAME_MAX_BYTES = 253 };

static const uint8_t mapped[12] = { [10] = 0xff, 0xff };

__attribute__((format(printf, 3, 4))) static int fail(
	char error[NET_POLICY_ERROR_SIZE], struct span text, const char *fmt,
	...)
{
	char quote[QUOTE_MAX + 1];
	size_t n = text.size < QUOTE_MAX ? text.size : QUOTE_MAX;
	va_list ap;
	int at;

	for (size_t i = 0; i < n; i++)
		quote[i] = text.data[i] >= ' ' && text.data[i] <= '~'
				   ? text.data[i]
				   : '?';
	quote[n] = '\0';
	at = snprintf(error, NET_POLICY_ERROR_SIZE, "\"%s\": want ", quote);
	va_start(ap, fmt);
	vsnprintf(error + at, NET_POLICY_ERROR_SIZE - (size_t)at, fmt, ap);
	va_end(ap);
	return -EINVAL;
}

/* The next word; false at the end. */
static bool word_cut(struct span *rest, struct span *word)
{
	while (span_cut(rest, ' ', word))
		if (word->size)
			return true;
	return false;
}

/* ---- targets ---- */

static int word_number(struct span word, const char *const *words, int n)
{
	for (int i = 0; i < n; i++)
		if (span_is(word, words[i]))
			return i;
	return -1;
}

static bool is_address(struct span word)
{
	bool only_digits = true;

	for (size_t i = 0; i < word.size; i++) {
		char c = word.data[i];

		if (c == ':' || c == '/')
			return true;
		only_digits = only_digits &&
			      ((c >= '0' && c <= '9') || c == '.');
	}
	return only_digits;
}

static bool bits_are_clear(const uint8_t address[16], unsigned from)
{
	for (unsigned i = from; i < 128; i++)
		if (address[i / 8] & 0x80 >> i % 8)
			return false;
	return true;
}

/* 96 for IPv4, which is mapped; 0 for IPv6, -EINVAL for neither. */
static int digits_parse(struct span word, uint8_t address[16])
{
	char text[INET6_ADDRSTRLEN];

	if (span_copy(text, sizeof(text), word) < 0)
		return -EINVAL;
	if (inet_pton(AF_INET, text, address + 12) == 1) {
		memcpy(address, mapped, sizeof(mapped));
		return 96;
	}
	return inet_pton(AF_INET6, text, address) == 1 &&
			       memcmp(address, mapped, sizeof(mapped)) != 0
		       ? 0
		       : -EINVAL;
}

static int address_parse(struct span word, struct net_rule *rule,
			 char error[NET_POLICY_ERROR_SIZE])
{
	static const char want[] = "an address or range, as 192.0.2.0/24 or "
				   "2001:db8::/32";
	struct span rest = word, part = { 0 };
	uint64_t bits;

	span_cut(&rest, '/', &part);
	int first = digits_parse(part, rule->address);

	if (first < 0)
		return fail(error, word, want);
	bits = 128 - (uint64_t)first;
	if (part.size != word.size &&
	    (rest.size > 3 || span_u64(rest, bits, &bits) < 0))
		return fail(error, word, "a prefix of 0 to %d bits",
			    128 - first);
	rule->by = NET_RULE_ADDRESS;
	rule->bits = (uint8_t)((uint64_t)first + bits);
	if (!bits_are_clear(rule->address, rule->bits))
		return fail(error, word, "no bits set behind the prefix");
	return 0;
}

static bool label_valid(struct span label)
{
	if (!label.size || label.size > LABEL_MAX)
		return false;
	for (size_t i = 0; i < label.size; i++) {
		char c = label.data[i];

		if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
		      (c >= '0' && c <= '9') || c == '-' || c == '_'))
			return false;
	}
	return true;
}

static int name_parse(struct span word, struct net_rule *rule,
		      char error[NET_POLICY_ERROR_SIZE])
{
	struct span rest = word, label = { 0 };

	if (rest.size > 1 && rest.data[rest.size - 1] == '.')
		rest.size--;
	word = rest;
	if (rest.size > 2 && !memcmp(rest.data, "*.", 2))
		rest = (struct span){ rest.data + 2, rest.size - 2 };
	while (rest.size && span_cut(&rest, '.', &label))
		if (!label_valid(label))
			return fail(error, word,
				    "a name, as example.com or *.example.com");
	/* What ends in a number is an address that somebody mistyped. */
	if (word.size > NAME_MAX_BYTES || word.data[word.size - 1] == '.' ||
	    is_address(label))
		return fail(error, word,
			    "a name, as example.com or *.example.com");
	for (size_t i = 0; i < word.size; i++) {
		char c = word.data[i];

		rule->name[i] = c >= 'A' && c <= 'Z' ? (char)(c + 'a' - 'A')
						     : c;
	}
	rule->by = NET_RULE_NAME;
	return strcmp(rule->name, "any") != 0
		       ? 0
		       : fail(error, word, "any in small letters");
}

static int target_parse(struct span word, struct net_rule *rule,
			char error[NET_POLICY_ERROR_SIZE])
{
	if (span_is(word, "any"))
		return 0;
	return is_address(word) ? address_parse(word, rule, error)
				: name_parse(word, rule, error);
}

/* ---- rules ---- */

static int port_parse(struct span text, uint16_t *port)
{
	uint64_t n;

	if (span_u64(text, 65535, &n) < 0 || !n)
		return -EINVAL;
	*port = (uint16_t)n;
	return 0;
}

static int ports_parse(struct span word, struct net_rule *rule,
		       char error[NET_POLICY_ERROR_SIZE])
{
	struct span rest = word, first = { 0 };
	int r;

	span_cut(&rest, '-', &first);
	r = port_parse(first, &rule->port_first);
	rule->port_last = rule->port_first;
	if (r == 0 && first.size != word.size)
		r = port_parse(rest, &rule->port_last);
	if (r < 0 || rule->port_last < rule->port_first)
		return fail(error, word,
			    "a port, 1 to 65535, or a range, as "
			    "8000-8999");
	return 0;
}

static const char *const protocol_names[] = { "tcp", "udp", "icmp" };
static const uint8_t protocols[] = { IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP };

static int protocol_parse(struct span word, struct net_rule *rule,
			  char error[NET_POLICY_ERROR_SIZE])
{
	int n = word_number(word, protocol_names, 3);

	if (n < 0)
		return fail(error, word, "tcp, udp or icmp");
	rule->protocol = protocols[n];
	return 0;
}

int net_rule_parse(struct span text, struct net_rule *rule,
		   char error[NET_POLICY_ERROR_SIZE])
{
	static const char want[] = "allow|deny TARGET [tcp|udp|icmp [PORT]]";
	static const char *const verbs[] = { "deny", "allow" };
	struct span rest = text, word;
	int verb = word_cut(&rest, &word) ? word_number(word, verbs, 2) : -1;
	int r;

	memset(rule, 0, sizeof(*rule));
	if (verb < 0 || !word_cut(&rest, &word))
		return fail(error, text, want);
	rule->allows = verb == 1;
	r = target_parse(word, rule, error);
	if (r == 0 && word_cut(&rest, &word))
		r = protocol_parse(word, rule, error);
	if (r == 0 && word_cut(&rest, &word))
		r = rule->protocol == IPPROTO_ICMP
			    ? fail(error, word, "no port behind icmp")
			    : ports_parse(word, rule, error);
	if (r == 0 && word_cut(&rest, &word))
		r = fail(error, word, "nothing more: %s", want);
	return r;
}

void net_rule_text(const struct net_rule *rule, char out[NET_RULE_TEXT_SIZE])
{
	bool v4 = !memcmp(rule->address, mapped, sizeof(mapped));
	char target[NET_RULE_NAME_SIZE] = "any";
	int at;

	if (rule->by == NET_RULE_NAME) {
		text_copy(target, sizeof(target), rule->name);
	} else if (rule->by == NET_RULE_ADDRESS) {
		inet_ntop(v4 ? AF_INET : AF_INET6,
			  rule->address + (v4 ? 12 : 0), target,
			  INET6_ADDRSTRLEN);
		at = (int)strlen(target);
		if (rule->bits < 128)
			snprintf(target + at, 8, "/%u",
				 v4 ? rule->bits - 96u : rule->bits);
	}
	at = snprintf(out, NET_RULE_TEXT_SIZE, "%s %s",
		      rule->allows ? "allow" : "deny", target);
	for (size_t i = 0; i < 3; i++)
		if (rule->protocol == protocols[i])
			at += snprintf(out + at,
				       NET_RULE_TEXT_SIZE - (size_t)at, " %s",
				       protocol_names[i]);
	if (rule->port_first)
		at += snprintf(out + at, NET_RULE_TEXT_SIZE - (size_t)at, " %u",
			       rule->port_first);
	if (rule->port_last != rule->port_first)
		snprintf(out + at, NET_RULE_TEXT_SIZE - (size_t)at, "-%u",
			 rule->port_last);
}

/* ---- a whole policy ---- */

static int amount_parse(struct span text, uint64_t least, uint64_t most,
			uint64_t *value)
{
	if (*value || span_u64(text, most, value) < 0 || *value < least)
		return -EINVAL;
	return 0;
}

/* -ENOENT for what is no line of these. */
static int limit_parse(struct span line, struct net_policy *p)
{
	struct span rest = line, key = { 0 };
	uint64_t n = p->connections;
	int r;

	span_cut(&rest, ' ', &key);
	if (span_is(key, "up"))
		return amount_parse(rest, NET_RATE_MIN, NET_RATE_MAX,
				    &p->bytes_up);
	if (span_is(key, "down"))
		return amount_parse(rest, NET_RATE_MIN, NET_RATE_MAX,
				    &p->bytes_down);
	if (!span_is(key, "connections"))
		return -ENOENT;
	r = amount_parse(rest, 1, NET_CONNECTIONS_MAX, &n);
	p->connections = (uint32_t)n;
	return r;
}

/* False for what is no such line. */
static bool is_server(struct span line, struct span *address)
{
	struct span key;

	*address = line;
	return span_cut(address, ' ', &key) && span_is(key, "dns");
}

int net_server_parse(struct span text, uint8_t address[16])
{
	if (digits_parse(text, address) < 0)
		return -EINVAL;
	return net_address_closed(address) ? -EACCES : 0;
}

static int server_parse(struct span text, struct net_policy *p,
			char error[NET_POLICY_ERROR_SIZE])
{
	uint8_t *address;

	if (p->n_servers >= NET_SERVERS_MAX)
		return fail(error, text, "at most %d name servers",
			    NET_SERVERS_MAX);
	address = p->server[p->n_servers];
	if (net_server_parse(text, address) < 0)
		return fail(error, text, "the address of a name server");
	p->n_servers++;
	return 0;
}

static int line_parse(struct span line, struct net_policy *p,
		      char error[NET_POLICY_ERROR_SIZE])
{
	struct span server;
	int r;

	if (is_server(line, &server))
		return server_parse(server, p, error);
	if (span_is(line, "default allow") || span_is(line, "default deny")) {
		p->denies = span_is(line, "default deny");
		return 0;
	}
	r = limit_parse(line, p);
	if (r == -EINVAL)
		return fail(error, line,
			    "each limit once, of at least %d bytes or 1 "
			    "connection a second",
			    NET_RATE_MIN);
	if (r == 0)
		return 0;
	if (p->n_rules == NET_RULES_MAX)
		return fail(error, line, "at most %d rules", NET_RULES_MAX);
	r = net_rule_parse(line, &p->rule[p->n_rules], error);
	p->n_rules += r == 0;
	return r;
}

int net_policy_parse(struct span text, struct net_policy *policy,
		     char error[NET_POLICY_ERROR_SIZE])
{
	struct span rest = text, line;
	int r = 0;

	memset(policy, 0, sizeof(*policy));
	policy->magic = NET_POLICY_MAGIC;
	while (r == 0 && span_cut(&rest, '\n', &line))
		if (line.size)
			r = line_parse(line, policy, error);
	return r;
}

static bool rule_valid(const struct net_rule *r)
{
	return r->allows <= 1 && r->by <= NET_RULE_NAME && r->bits <= 128 &&
	       memchr(r->name, '\0', sizeof(r->name));
}

bool net_policy_valid(const struct net_policy *p)
{
	if (p->magic != NET_POLICY_MAGIC || p->n_rules > NET_RULES_MAX ||
	    p->n_servers > NET_SERVERS_MAX)
		return false;
	for (uint32_t i = 0; i < p->n_servers; i++)
		if (net_address_closed(p->server[i]))
			return false;
	for (uint32_t i = 0; i < p->n_rules; i++)
		if (!rule_valid(&p->rule[i]))
			return false;
	return true;
}

bool net_rule_names(const struct net_rule *rule, const char *name)
{
	size_t n = strlen(name), below = strlen(rule->name);

	if (memcmp(rule->name, "*.", 2) != 0)
		return !strcmp(rule->name, name);
	/* From the dot on. */
	return n > below - 1 && !strcmp(name + n - (below - 1), rule->name + 1);
}

bool net_rule_holds(const struct net_rule *rule, const uint8_t address[16])
{
	unsigned whole = rule->bits / 8, rest = rule->bits % 8;
	uint8_t mask = (uint8_t)(0xff00 >> rest);

	/* Mapped IPv4 is not what "::/0" means. */
	if (!memcmp(address, mapped, sizeof(mapped)) !=
	    !memcmp(rule->address, mapped, sizeof(mapped)))
		return false;
	return memcmp(address, rule->address, whole) == 0 &&
	       (rest == 0 ||
		((address[whole] ^ rule->address[whole]) & mask) == 0);
}

#define V4(a, b, c, d, n) \
	.address = { [10] = 0xff, 0xff, a, b, c, d }, .bits = 96 + (n)

static const struct net_rule closed[] = {
	{ V4(0, 0, 0, 0, 8) },
	{ V4(127, 0, 0, 0, 8) },
	{ V4(169, 254, 0, 0, 16) },
	{ V4(NET_RANGE >> 24, NET_RANGE >> 16 & 0xff, 0, 0, 16) },
	{ V4(224, 0, 0, 0, 3) }, /* multicast, reserved, broadcast */
	/* "::", "::1", and all that embeds IPv4 there */
	{ .address = { 0 }, .bits = 80 },
	{ .address = { 0xfe, 0x80 }, .bits = 10 },
	{ .address = { 0xff }, .bits = 8 },
	{ .address = { NET_PREFIX6 }, .bits = NET_PREFIX6_BYTES * 8 },
};

bool net_address_closed(const uint8_t address[16])
{
	for (size_t i = 0; i < sizeof(closed) / sizeof(closed[0]); i++)
		if (net_rule_holds(&closed[i], address))
			return true;
	return false;
}
