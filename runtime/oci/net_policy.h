/* Where a container may go, and how much of it: the text that people and
 * documents have it in, and the struct that znet obeys.
 *
 * One line is one rule,
 *	allow|deny TARGET [tcp|udp|icmp [PORT[-PORT]]]
 * where TARGET is "any", an address, a range as 192.0.2.0/24 or 2001:db8::/32,
 * or a name as example.com or *.example.com (what is below it). icmp is echo
 * requests, of IPv6 too. The first rule that matches wins; what none matches
 * goes as the default says. A whole policy has these lines too, each at most
 * once:
 *	default allow|deny
 *	up|down BYTES			a second, from and to the container
 *	connections N			a second, that it opens
 * and at most NET_SERVERS_MAX of these, by which name servers its names are
 * found and not by the node's:
 *	dns ADDRESS
 *
 * Who chose the bytes: an operator in the end, but they went through the hands
 * of others. Every word and number is checked. No I/O. */
#ifndef OCI_NET_POLICY_H
#define OCI_NET_POLICY_H

#include "base/span.h"

#define NET_POLICY_MAGIC 0x7a6e3034 /* "zn04" */

enum {
	NET_RULES_MAX = 64,
	NET_SERVERS_MAX = 4,
	NET_RULE_NAME_SIZE = 256, /* of DNS: 253 and NUL */
	/* "allow ", the longest name, protocol and two ports. */
	NET_RULE_TEXT_SIZE = 6 + 253 + 5 + 12 + 1,
	NET_POLICY_TEXT_MAX = (NET_RULES_MAX + NET_SERVERS_MAX + 4) *
			      NET_RULE_TEXT_SIZE,
	NET_POLICY_ERROR_SIZE = 160,
	NET_RATE_MIN = 65536, /* bytes a second: the largest packet */
	NET_CONNECTIONS_MAX = 1000000,
};
#define NET_RATE_MAX (UINT64_C(1) << 40)

enum net_rule_by { NET_RULE_ANY, NET_RULE_ADDRESS, NET_RULE_NAME };

struct net_rule {
	uint8_t allows;	  /* 0: it denies */
	uint8_t by;	  /* enum net_rule_by */
	uint8_t protocol; /* IPPROTO_TCP, _UDP, _ICMP; 0: any */
	uint8_t bits;	  /* of address, where IPv4 is mapped: 96 more */
	uint16_t port_first, port_last; /* 0: any */
	uint8_t address[16];
	char name[NET_RULE_NAME_SIZE]; /* lower case, no dot at its end; "*.a"
					* is what is below a */
};

/* What zrun serve hands over, as the bytes of a sealed memfd, through init's
 * store (kind TUN, the container's id, n 1) to znet. */
struct net_policy {
	uint32_t magic;
	uint32_t denies; /* what no rule matches */
	uint32_t n_rules;
	uint32_t connections;	       /* a second; 0: no limit */
	uint64_t bytes_up, bytes_down; /* a second; 0: no limit */
	uint32_t n_servers, reserved;  /* 0: those of the node */
	uint8_t server[NET_SERVERS_MAX][16];
	struct net_rule rule[NET_RULES_MAX];
};

/* 0, or -EINVAL with one line in error. */
int net_rule_parse(struct span text, struct net_rule *rule,
		   char error[NET_POLICY_ERROR_SIZE]);
int net_policy_parse(struct span text, struct net_policy *policy,
		     char error[NET_POLICY_ERROR_SIZE]);

/* The rule as text, as net_rule_parse() takes it. */
void net_rule_text(const struct net_rule *rule, char out[NET_RULE_TEXT_SIZE]);

/* Whether bytes that claim to be one are: nothing in it leads astray. */
bool net_policy_valid(const struct net_policy *policy);

/* Whether no container reaches the address (IPv4 is mapped), whatever its rules
 * say: the node's own loopback, what is link-local, multicast, of the range of
 * containers, or nobody's. */
bool net_address_closed(const uint8_t address[16]);

/* The address of a name server, as a line has it. 0, -EINVAL for what is none,
 * or -EACCES for one that is closed, which *address is then too. */
int net_server_parse(struct span text, uint8_t address[16]);

/* Whether rule, one by name, is about `name` (lower case, no dot at the
 * end). */
bool net_rule_names(const struct net_rule *rule, const char *name);
/* Whether rule, one by address, is about the address. */
bool net_rule_holds(const struct net_rule *rule, const uint8_t address[16]);

#endif
