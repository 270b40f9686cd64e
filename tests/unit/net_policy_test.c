/* The rules of a container's network: what is read, what is refused and how it
 * is said, what matches; and how fast it may be. */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <arpa/inet.h>

#include "net/rate.h"
#include "oci/net_policy.h"
#include "tap.h"

static char error[NET_POLICY_ERROR_SIZE];

static const struct {
	const char *text, *same; /* as it is told; NULL: as it is */
} good[] = {
	{ "allow any", NULL },
	{ "deny any udp 53", NULL },
	{ "allow 192.0.2.0/24 tcp 80-90", NULL },
	{ "allow 192.0.2.1/32", "allow 192.0.2.1" },
	{ "deny 0.0.0.0/0", NULL },
	{ "deny ::/0 icmp", NULL },
	{ "allow 2001:DB8::/32 tcp 65535", "allow 2001:db8::/32 tcp 65535" },
	{ "allow Example.COM. tcp 443", "allow example.com tcp 443" },
	{ "allow *.example.com", NULL },
	{ "allow  db   tcp  5432 ", "allow db tcp 5432" },
	{ "deny a tcp 1-1", "deny a tcp 1" },
};

static const struct {
	const char *name, *text, *error;
} bad[] = {
	{ "nothing", "", "\"\": want allow|deny TARGET [tcp|udp|icmp [PORT]]" },
	{ "another verb", "permit any",
	  "\"permit any\": want allow|deny TARGET [tcp|udp|icmp [PORT]]" },
	{ "no target", "allow",
	  "\"allow\": want allow|deny TARGET [tcp|udp|icmp [PORT]]" },
	{ "prefix 33", "allow 10.0.0.0/33",
	  "\"10.0.0.0/33\": want a prefix of 0 to 32 bits" },
	{ "prefix 129", "allow ::/129",
	  "\"::/129\": want a prefix of 0 to 128 bits" },
	{ "empty prefix", "allow 10.0.0.0/",
	  "\"10.0.0.0/\": want a prefix of 0 to 32 bits" },
	{ "bits behind", "allow 10.0.0.1/8",
	  "\"10.0.0.1/8\": want no bits set behind the prefix" },
	{ "300", "allow 10.0.0.300",
	  "\"10.0.0.300\": want an address or range, as 192.0.2.0/24 or "
	  "2001:db8::/32" },
	{ "mapped", "allow ::ffff:10.0.0.1",
	  "\"::ffff:10.0.0.1\": want an address or range, as 192.0.2.0/24 or "
	  "2001:db8::/32" },
	{ "port 0", "allow any tcp 0",
	  "\"0\": want a port, 1 to 65535, or a range, as 8000-8999" },
	{ "port 70000", "allow any tcp 70000",
	  "\"70000\": want a port, 1 to 65535, or a range, as 8000-8999" },
	{ "ports backwards", "allow any tcp 90-80",
	  "\"90-80\": want a port, 1 to 65535, or a range, as 8000-8999" },
	{ "half a range", "allow any tcp 90-",
	  "\"90-\": want a port, 1 to 65535, or a range, as 8000-8999" },
	{ "port of icmp", "allow any icmp 8",
	  "\"8\": want no port behind icmp" },
	{ "another protocol", "allow any sctp",
	  "\"sctp\": want tcp, udp or icmp" },
	{ "more", "allow any tcp 80 81",
	  "\"81\": want nothing more: allow|deny TARGET [tcp|udp|icmp "
	  "[PORT]]" },
	{ "a dot too many", "allow a..b",
	  "\"a..b\": want a name, as example.com or *.example.com" },
	{ "a star inside", "allow a.*.b",
	  "\"a.*.b\": want a name, as example.com or *.example.com" },
	{ "a star alone", "allow *",
	  "\"*\": want a name, as example.com or *.example.com" },
	{ "an end as of an address", "allow example.1",
	  "\"example.1\": want a name, as example.com or *.example.com" },
	{ "what looks like any", "deny Any.",
	  "\"Any\": want any in small letters" },
	{ "not ASCII",
	  "allow b\xc3\xbc"
	  "cher.de",
	  "\"b??cher.de\": want a name, as example.com or *.example.com" },
};

static void rules_test(void)
{
	struct net_rule rule;
	char text[NET_RULE_TEXT_SIZE];

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		const char *want = good[i].same ? good[i].same : good[i].text;
		bool read = net_rule_parse(span_of(good[i].text), &rule,
					   error) == 0;

		if (read)
			net_rule_text(&rule, text);
		ok(read && !strcmp(text, want), "\"%s\" is read: %s",
		   good[i].text, read ? text : error);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		ok(net_rule_parse(span_of(bad[i].text), &rule, error) < 0 &&
			   !strcmp(error, bad[i].error),
		   "%s is refused: %s", bad[i].name, error);
	ok(net_rule_parse((struct span){ "allow a\0b", 9 }, &rule, error) < 0 &&
		   !strcmp(error, "\"a?b\": want a name, as example.com or "
				  "*.example.com"),
	   "a NUL in a name is refused: %s", error);
}

static void long_names_test(void)
{
	char text[400] = "allow ";
	struct net_rule rule;

	for (int i = 0; i < 4; i++)
		memset(text + 6 + 64 * i, 'a', 63);
	text[6 + 63] = text[6 + 127] = text[6 + 191] = '.';
	text[6 + 253] = '\0';
	ok(net_rule_parse(span_of(text), &rule, error) == 0,
	   "a name of 253 is read: %s", error);
	text[6 + 253] = 'a';
	text[6 + 254] = '\0';
	ok(net_rule_parse(span_of(text), &rule, error) < 0,
	   "one of 254 is not");
	memset(text + 6, 'b', 64);
	text[6 + 64] = '\0';
	ok(net_rule_parse(span_of(text), &rule, error) < 0,
	   "nor a label of 64");
}

static bool holds(const char *range, const char *address)
{
	char text[80];
	struct net_rule rule;
	uint8_t bytes[16] = { [10] = 0xff, 0xff };

	snprintf(text, sizeof(text), "allow %s", range);
	if (inet_pton(AF_INET, address, bytes + 12) != 1)
		inet_pton(AF_INET6, address, bytes);
	return net_rule_parse(span_of(text), &rule, error) == 0 &&
	       net_rule_holds(&rule, bytes);
}

static bool names(const char *pattern, const char *name)
{
	char text[80];
	struct net_rule rule;

	snprintf(text, sizeof(text), "allow %s", pattern);
	return net_rule_parse(span_of(text), &rule, error) == 0 &&
	       net_rule_names(&rule, name);
}

static void matches_test(void)
{
	ok(holds("10.0.0.0/9", "10.127.255.255") &&
		   !holds("10.0.0.0/9", "10.128.0.0"),
	   "a range ends at its bit");
	ok(holds("192.0.2.1", "192.0.2.1") && !holds("192.0.2.1", "192.0.2.0"),
	   "an address is itself");
	ok(holds("0.0.0.0/0", "8.8.8.8") && !holds("0.0.0.0/0", "2001:db8::1"),
	   "all of IPv4 is not IPv6");
	ok(holds("::/0", "2001:db8::1") && !holds("::/0", "8.8.8.8"),
	   "all of IPv6 is not IPv4");
	ok(names("example.com", "example.com") &&
		   !names("example.com", "a.example.com") &&
		   !names("example.com", "example.co"),
	   "a name is itself");
	ok(names("*.example.com", "a.example.com") &&
		   names("*.example.com", "a.b.example.com") &&
		   !names("*.example.com", "example.com") &&
		   !names("*.example.com", "badexample.com"),
	   "what is below a name");
}

static void policy_test(void)
{
	static struct net_policy p;
	static char text[NET_POLICY_TEXT_MAX];
	char *end = text;

	ok(net_policy_parse(span_of("default deny\nup 65536\ndown 1000000\n"
				    "connections 5\nallow any tcp 80\n"
				    "deny any\n"),
			    &p, error) == 0 &&
		   p.denies && p.bytes_up == 65536 && p.bytes_down == 1000000 &&
		   p.connections == 5 && p.n_rules == 2 && p.rule[0].allows &&
		   p.rule[0].protocol == IPPROTO_TCP &&
		   p.rule[0].port_first == 80 && !p.rule[1].allows,
	   "a whole policy is read: %s", error);
	ok(net_policy_valid(&p), "and is one");
	p.rule[1].bits = 129;
	ok(!net_policy_valid(&p), "129 bits are none");
	p.rule[1].bits = 0;
	memset(p.rule[1].name, 'a', sizeof(p.rule[1].name));
	ok(!net_policy_valid(&p), "nor is a name without an end");
	ok(net_policy_parse(span_of("up 65535"), &p, error) < 0 &&
		   !strcmp(error,
			   "\"up 65535\": want each limit once, of at least "
			   "65536 bytes or 1 connection a second"),
	   "a rate below the largest packet is refused: %s", error);
	ok(net_policy_parse(span_of("up 65536\nup 65536"), &p, error) < 0,
	   "a limit twice is refused");
	ok(net_policy_parse(span_of("connections 0"), &p, error) < 0,
	   "no connections a second is refused");
	ok(net_policy_parse(span_of("dns 192.0.2.53\ndns 2001:db8::53\n"), &p,
			    error) == 0 &&
		   p.n_servers == 2 && p.server[0][12] == 192 &&
		   p.server[1][0] == 0x20 && net_policy_valid(&p),
	   "name servers are read: %s", error);
	ok(net_policy_parse(span_of("dns 127.0.0.1"), &p, error) < 0 &&
		   net_policy_parse(span_of("dns ::1"), &p, error) < 0 &&
		   net_policy_parse(span_of("dns 169.254.1.1"), &p, error) <
			   0 &&
		   net_policy_parse(span_of("dns 10.64.0.3"), &p, error) < 0 &&
		   net_policy_parse(span_of("dns fd7a:6f6f:6964::a40:3"), &p,
				    error) < 0,
	   "none that a container may not reach: %s", error);
	ok(net_policy_parse(span_of("dns 192.0.2.1\ndns 192.0.2.1\n"
				    "dns 192.0.2.1\ndns 192.0.2.1\n"
				    "dns 192.0.2.1\n"),
			    &p, error) < 0,
	   "nor five");
	memset(&p, 0, sizeof(p));
	p.magic = NET_POLICY_MAGIC;
	p.n_servers = 1;
	ok(!net_policy_valid(&p), "one that is nobody's is none");
	for (int i = 0; i <= NET_RULES_MAX; i++)
		end += sprintf(end, "allow any\n");
	ok(net_policy_parse(span_of(text), &p, error) < 0 &&
		   !strcmp(error, "\"allow any\": want at most 64 rules"),
	   "a rule too many is refused: %s", error);
}

static void rate_test(void)
{
	struct rate r;

	rate_init(&r, 0, 0, 5);
	rate_take(&r, 1 << 30);
	ok(rate_wait(&r, 5) == 0, "without a limit nothing waits");
	rate_init(&r, 1000, 100, 5);
	rate_take(&r, 99);
	ok(rate_wait(&r, 5) == 0, "a burst is had at once");
	rate_take(&r, 1);
	ok(rate_wait(&r, 5) > 0 && rate_wait(&r, 6) == 0,
	   "then one comes in each thousandth");
	rate_take(&r, 501);
	ok(rate_wait(&r, 6) > 500 && rate_wait(&r, 505) > 0 &&
		   rate_wait(&r, 507) == 0,
	   "what was too much at once is paid for");
	ok(rate_wait(&r, 1000000) == 0, "a long silence");
	rate_take(&r, 100);
	ok(rate_wait(&r, 1000000) > 0, "gives no more than a burst");
	rate_give(&r, 1);
	ok(rate_wait(&r, 1000000) == 0, "what is given back is there");
	rate_give(&r, 200);
	rate_take(&r, 0);
	ok(rate_wait(&r, 1000000) == 0, "and is never more than a burst");
	rate_take(&r, 100);
	ok(rate_wait(&r, 1000000) > 0, "but so much");
}

int main(void)
{
	rules_test();
	long_names_test();
	matches_test();
	policy_test();
	rate_test();
	return tap_done();
}
