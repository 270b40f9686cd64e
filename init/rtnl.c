#define _GNU_SOURCE
#include "rtnl.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <net/if.h>
#include <net/if_arp.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>

#include "base/fd.h"

enum {
	ND_OPT_RDNSS = 25,
	DNS_MAX = 4,
	LOWER_UP = 1 << 16, /* of linux/if.h, which clashes with net/if.h */
};

struct message {
	struct nlmsghdr head;
	union {
		struct ifinfomsg link;
		struct ifaddrmsg address;
		struct rtmsg route;
	} body;
	char attributes[128];
};

bool address_is_v4(const uint8_t a[16])
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

	return memcmp(a, mapped, sizeof(mapped)) == 0;
}

static void attribute_add(struct message *m, uint16_t type, const void *data,
			  uint16_t size)
{
	char *at = (char *)m + NLMSG_ALIGN(m->head.nlmsg_len);
	struct rtattr a = { .rta_len = (uint16_t)RTA_LENGTH(size),
			    .rta_type = type };

	memcpy(at, &a, sizeof(a));
	memcpy(at + RTA_LENGTH(0), data, size);
	m->head.nlmsg_len = NLMSG_ALIGN(m->head.nlmsg_len) +
			    (uint32_t)RTA_ALIGN(a.rta_len);
}

static void address_attribute(struct message *m, uint16_t type,
			      const uint8_t a[16])
{
	if (address_is_v4(a))
		attribute_add(m, type, a + 12, 4);
	else
		attribute_add(m, type, a, 16);
}

static uint8_t family_of(const uint8_t a[16])
{
	return address_is_v4(a) ? AF_INET : AF_INET6;
}

static int netlink_open(uint32_t groups, int flags)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK,
				       .nl_groups = groups };
	autoclose int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | flags,
				  NETLINK_ROUTE);

	if (fd < 0 ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return fd_take(&fd);
}

/* The kernel answers in the same system call, so this does not wait. */
static int ask(struct message *m)
{
	struct {
		struct nlmsghdr head;
		struct nlmsgerr error;
		char rest[256];
	} answer;
	autoclose int fd = netlink_open(0, 0);

	if (fd < 0)
		return fd;
	m->head.nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
	if (send(fd, m, m->head.nlmsg_len, 0) < 0)
		return -errno;
	if (recv(fd, &answer, sizeof(answer), 0) < 0)
		return -errno;
	return answer.head.nlmsg_type == NLMSG_ERROR ? answer.error.error : 0;
}

int rtnl_link_up(int index, uint32_t mtu)
{
	struct message m = {
		.head = { .nlmsg_len = NLMSG_LENGTH(sizeof(m.body.link)),
			  .nlmsg_type = RTM_NEWLINK },
		.body.link = { .ifi_family = AF_UNSPEC,
			       .ifi_index = index,
			       .ifi_flags = IFF_UP,
			       .ifi_change = IFF_UP },
	};

	if (mtu)
		attribute_add(&m, IFLA_MTU, &mtu, sizeof(mtu));
	return ask(&m);
}

int rtnl_address_add(int index, const struct node_address *address)
{
	struct message m = {
		.head = { .nlmsg_len = NLMSG_LENGTH(sizeof(m.body.address)),
			  .nlmsg_type = RTM_NEWADDR,
			  .nlmsg_flags = NLM_F_CREATE | NLM_F_REPLACE },
		.body.address = { .ifa_family = family_of(address->bytes),
				  .ifa_prefixlen = address->prefix,
				  .ifa_scope = index == RTNL_LO
						       ? RT_SCOPE_HOST
						       : RT_SCOPE_UNIVERSE,
				  .ifa_index = (uint32_t)index },
	};

	address_attribute(&m, IFA_LOCAL, address->bytes);
	address_attribute(&m, IFA_ADDRESS, address->bytes);
	return ask(&m);
}

int rtnl_gateway_add(int index, const struct node_address *gateway,
		     uint32_t metric)
{
	struct message m = {
		.head = { .nlmsg_len = NLMSG_LENGTH(sizeof(m.body.route)),
			  .nlmsg_type = RTM_NEWROUTE,
			  .nlmsg_flags = NLM_F_CREATE | NLM_F_REPLACE },
		.body.route = { .rtm_family = family_of(gateway->bytes),
				.rtm_table = RT_TABLE_MAIN,
				.rtm_protocol = RTPROT_STATIC,
				.rtm_scope = RT_SCOPE_UNIVERSE,
				.rtm_type = RTN_UNICAST },
	};

	address_attribute(&m, RTA_GATEWAY, gateway->bytes);
	attribute_add(&m, RTA_OIF, &index, sizeof(index));
	attribute_add(&m, RTA_PRIORITY, &metric, sizeof(metric));
	return ask(&m);
}

int rtnl_links_ask(int sock)
{
	struct message m = {
		.head = { .nlmsg_len = NLMSG_LENGTH(sizeof(m.body.link)),
			  .nlmsg_type = RTM_GETLINK,
			  .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP },
	};

	return send(sock, &m, m.head.nlmsg_len, 0) < 0 ? -errno : 0;
}

int rtnl_open(void)
{
	autoclose int fd = netlink_open(
		RTMGRP_LINK | 1u << (RTNLGRP_ND_USEROPT - 1), SOCK_NONBLOCK);
	int err = fd < 0 ? fd : rtnl_links_ask(fd);

	return err < 0 ? err : fd_take(&fd);
}

static void link_received(const struct nlmsghdr *h,
			  const struct rtnl_events *events)
{
	const struct ifinfomsg *info = NLMSG_DATA(h);
	struct rtnl_link link = {
		.index = info->ifi_index,
		.gone = h->nlmsg_type == RTM_DELLINK,
		.ethernet = info->ifi_type == ARPHRD_ETHER,
		/* IFF_RUNNING may come a second later than the carrier: the
		 * kernel gathers such news. */
		.running = info->ifi_flags & LOWER_UP,
	};
	int size = (int)IFLA_PAYLOAD(h);

	for (struct rtattr *a = IFLA_RTA(info); RTA_OK(a, size);
	     a = RTA_NEXT(a, size)) {
		size_t n = RTA_PAYLOAD(a);

		if (a->rta_type == IFLA_IFNAME)
			memcpy(link.name, RTA_DATA(a),
			       n < sizeof(link.name) ? n
						     : sizeof(link.name) - 1);
		else if (a->rta_type == IFLA_ADDRESS && n == sizeof(link.mac))
			memcpy(link.mac, RTA_DATA(a), n);
	}
	events->link(&link);
}

/* The option is a router's bytes, passed on by the kernel unread: type, length
 * in units of 8, two reserved, lifetime, addresses. */
static void option_received(const struct nlmsghdr *h,
			    const struct rtnl_events *events)
{
	const struct nduseroptmsg *m = NLMSG_DATA(h);
	const uint8_t *option = (const uint8_t *)(m + 1);
	uint8_t address[DNS_MAX][16];
	size_t size = m->nduseropt_opts_len;
	int n;

	if (NLMSG_PAYLOAD(h, sizeof(*m)) < size || size < 8 + 16 ||
	    option[0] != ND_OPT_RDNSS || (size_t)option[1] * 8 > size ||
	    option[1] < 3)
		return;
	n = (option[1] - 1) / 2;
	if (n > DNS_MAX)
		n = DNS_MAX;
	memcpy(address, option + 8, (size_t)n * 16);
	events->dns(m->nduseropt_ifindex, (const uint8_t(*)[16])address, n);
}

int rtnl_receive(int sock, const struct rtnl_events *events)
{
	union {
		struct nlmsghdr head;
		char bytes[32 << 10];
	} buffer;
	struct sockaddr_nl from = { 0 };
	socklen_t from_size = sizeof(from);
	ssize_t got = recvfrom(sock, &buffer, sizeof(buffer), 0,
			       (struct sockaddr *)&from, &from_size);
	int size = (int)got;

	if (got < 0)
		return -errno;
	if (from.nl_pid != 0)
		return 0; /* not the kernel */
	for (struct nlmsghdr *h = &buffer.head; NLMSG_OK(h, (uint32_t)size);
	     h = NLMSG_NEXT(h, size)) {
		if ((h->nlmsg_type == RTM_NEWLINK ||
		     h->nlmsg_type == RTM_DELLINK) &&
		    NLMSG_PAYLOAD(h, 0) >= sizeof(struct ifinfomsg))
			link_received(h, events);
		else if (h->nlmsg_type == RTM_NEWNDUSEROPT &&
			 NLMSG_PAYLOAD(h, 0) >= sizeof(struct nduseroptmsg))
			option_received(h, events);
	}
	return 0;
}
