/* A container's network namespace has no link to the outside: what comes in is
 * spliced to sockets that znet binds, inside the namespace, to the client's own
 * address (IP_TRANSPARENT). Such a connection is local on both ends, but the
 * reply to a foreign address would leave by a route that does not exist. So
 * the sockets carry a mark, the server's side inherits it
 * (tcp_fwmark_accept), so does the reset of a port that nobody listens on
 * (fwmark_reflect; without, who connects a moment too early would wait for its
 * second SYN), and marked packets find every address to be local:
 *
 *	ip rule add fwmark 1 lookup 100
 *	ip route add local default dev lo table 100
 */
#define _GNU_SOURCE
#include "netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fib_rules.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/fd.h"

void *netlink_start(struct netlink_request *q, uint16_t type, uint16_t flags,
		    size_t size)
{
	memset(q, 0, sizeof(*q));
	q->head.nlmsg_len = (uint32_t)NLMSG_LENGTH(size);
	q->head.nlmsg_type = type;
	q->head.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags;
	return NLMSG_DATA(&q->head);
}

void netlink_attr(struct netlink_request *q, uint16_t type, const void *data,
		  size_t size)
{
	struct rtattr *attr =
		(struct rtattr *)((char *)q + NLMSG_ALIGN(q->head.nlmsg_len));

	attr->rta_type = type;
	attr->rta_len = (uint16_t)RTA_LENGTH(size);
	memcpy(RTA_DATA(attr), data, size);
	q->head.nlmsg_len = NLMSG_ALIGN(q->head.nlmsg_len) +
			    (uint32_t)RTA_ALIGN(attr->rta_len);
}

int netlink_do(int sock, const struct netlink_request *q)
{
	struct {
		struct nlmsghdr head;
		struct nlmsgerr error;
		char more[512];
	} answer;

	if (send(sock, q, q->head.nlmsg_len, 0) < 0)
		return -errno;
	ssize_t n = recv(sock, &answer, sizeof(answer), 0);

	if (n < 0)
		return -errno;
	if ((size_t)n < sizeof(answer.head) + sizeof(answer.error.error) ||
	    answer.head.nlmsg_type != NLMSG_ERROR)
		return -EBADMSG;
	return answer.error.error;
}

static int lo_up(int sock)
{
	struct netlink_request q;
	struct ifinfomsg *link = netlink_start(&q, RTM_NEWLINK, 0,
					       sizeof(*link));

	link->ifi_family = AF_UNSPEC;
	link->ifi_index = LO_INDEX;
	link->ifi_flags = link->ifi_change = IFF_UP;
	return netlink_do(sock, &q);
}

static int lo_address(int sock, uint32_t address)
{
	struct netlink_request q;
	struct ifaddrmsg *a = netlink_start(
		&q, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof(*a));
	uint32_t wire = htonl(address);

	a->ifa_family = AF_INET;
	a->ifa_prefixlen = 32;
	a->ifa_index = LO_INDEX;
	a->ifa_scope = RT_SCOPE_UNIVERSE;
	netlink_attr(&q, IFA_LOCAL, &wire, sizeof(wire));
	netlink_attr(&q, IFA_ADDRESS, &wire, sizeof(wire));
	return netlink_do(sock, &q);
}

static int mark_rule(int sock, uint8_t family)
{
	struct netlink_request q;
	struct fib_rule_hdr *rule = netlink_start(
		&q, RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, sizeof(*rule));
	uint32_t mark = NETWORK_MARK;

	rule->family = family;
	rule->table = NETWORK_TABLE;
	rule->action = FR_ACT_TO_TBL;
	netlink_attr(&q, FRA_FWMARK, &mark, sizeof(mark));
	return netlink_do(sock, &q);
}

static int mark_route(int sock, uint8_t family)
{
	struct netlink_request q;
	struct rtmsg *route = netlink_start(
		&q, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, sizeof(*route));
	uint32_t link = LO_INDEX;

	route->rtm_family = family;
	route->rtm_table = NETWORK_TABLE;
	route->rtm_protocol = RTPROT_STATIC;
	route->rtm_scope = RT_SCOPE_HOST;
	route->rtm_type = RTN_LOCAL;
	netlink_attr(&q, RTA_OIF, &link, sizeof(link));
	return netlink_do(sock, &q);
}

/* On a node a namespace begins with all of them as below, and to look would
 * make it keep their tables (linux.patch, init/boot.c). */
static bool are_set(void)
{
	struct utsname name;

	return uname(&name) == 0 && strstr(name.release, "-zooid");
}

/* /proc/sys/net shows the namespace of whoever opens it. */
static int set_sysctls(int host_proc)
{
	static const struct {
		const char *path, *value;
	} all[] = {
		{ "sys/net/ipv4/tcp_fwmark_accept", "1" },
		{ "sys/net/ipv4/fwmark_reflect", "1" },
		{ "sys/net/ipv6/fwmark_reflect", "1" },
		{ "sys/net/ipv4/conf/all/rp_filter", "0" },
		{ "sys/net/ipv4/conf/default/rp_filter", "0" },
		{ "sys/net/ipv4/conf/lo/rp_filter", "0" },
		/* The namespace belongs to the node, not to the container's
		 * root: grant what every container may do in its own. */
		{ "sys/net/ipv4/ip_unprivileged_port_start", "0" },
		{ "sys/net/ipv4/ping_group_range", "0 2147483647" },
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
		int r = file_put(host_proc, all[i].path, all[i].value);

		if (r < 0)
			return r;
	}
	return 0;
}

static int open_socket(void)
{
	int sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	return sock < 0 ? -errno : sock;
}

int network_ahead(int host_proc)
{
	static const uint8_t families[] = { AF_INET, AF_INET6 };

	autoclose int sock = open_socket();
	int r = sock < 0 ? sock : lo_up(sock);

	for (size_t i = 0; r == 0 && i < sizeof(families); i++) {
		r = mark_rule(sock, families[i]);
		if (r == 0)
			r = mark_route(sock, families[i]);
		/* A kernel without IPv6 has nothing to lead. */
		if (r == -EAFNOSUPPORT || r == -EOPNOTSUPP)
			r = 0;
	}
	return r < 0 || are_set() ? r : set_sysctls(host_proc);
}

int network_address(uint32_t address)
{
	autoclose int sock = open_socket();

	return sock < 0 ? sock : lo_address(sock, address);
}

/* Nothing but that: one call, of which any socket of the namespace will do. */
static int only_lo_up(void)
{
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	autoclose int sock = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	return sock < 0 || ioctl(sock, SIOCSIFFLAGS, &lo) < 0 ? -errno : 0;
}

int network_prepare(int host_proc, uint32_t address)
{
	if (!address)
		return only_lo_up();
	int r = network_ahead(host_proc);

	return r < 0 ? r : network_address(address);
}
