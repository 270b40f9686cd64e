#define _GNU_SOURCE
#include "net_device.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "netlink.h"

enum { ADDRESSES_MAX = 64, INDEX_TRIES = 256, DUMP_SIZE = 32 << 10 };

struct address {
	struct ifaddrmsg head;
	unsigned char local[16], broadcast[4];
	bool has_broadcast;
};

/* What a device would lose on its way. */
struct addresses {
	struct address item[ADDRESSES_MAX];
	size_t n;
};

struct move {
	int host, inside; /* netlink sockets of the two namespaces */
	pid_t pid;
	int index; /* on the host, then inside */
	const char *name;
	struct addresses addresses;
};

static int netlink_socket(void)
{
	int sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	return sock < 0 ? -errno : sock;
}

/* A socket stays in the namespace that it was made in. */
static int socket_inside(pid_t pid)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)pid);
	autoclose int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	autoclose int theirs = open(path, O_RDONLY | O_CLOEXEC);

	if (own < 0 || theirs < 0 || setns(theirs, CLONE_NEWNET) < 0)
		return -errno;
	int sock = netlink_socket();

	if (setns(own, CLONE_NEWNET) == 0)
		return sock;
	if (sock >= 0)
		close(sock);
	return -errno;
}

/* Those that somebody gave it: not what the kernel makes for every link, nor
 * what a router told. */
static bool address_is_given(const struct ifaddrmsg *head)
{
	return (head->ifa_flags & IFA_F_PERMANENT) &&
	       head->ifa_scope == RT_SCOPE_UNIVERSE;
}

static int address_note(struct addresses *all, const struct nlmsghdr *message)
{
	const struct ifaddrmsg *head = NLMSG_DATA(message);
	int left = (int)IFA_PAYLOAD(message);
	struct address a = { .head = *head };

	if (!address_is_given(head))
		return 0;
	for (struct rtattr *attr = IFA_RTA(head); RTA_OK(attr, left);
	     attr = RTA_NEXT(attr, left)) {
		size_t size = RTA_PAYLOAD(attr);
		bool local = attr->rta_type == IFA_LOCAL ||
			     (attr->rta_type == IFA_ADDRESS &&
			      head->ifa_family == AF_INET6);

		if (local && size <= sizeof(a.local))
			memcpy(a.local, RTA_DATA(attr), size);
		a.has_broadcast |= attr->rta_type == IFA_BROADCAST &&
				   size == sizeof(a.broadcast);
		if (attr->rta_type == IFA_BROADCAST &&
		    size == sizeof(a.broadcast))
			memcpy(a.broadcast, RTA_DATA(attr), size);
	}
	if (all->n == ADDRESSES_MAX)
		return -E2BIG;
	all->item[all->n++] = a;
	return 0;
}

/* Reads all addresses of the host; keeps those of the device. */
static int addresses_read(struct move *m)
{
	static _Alignas(struct nlmsghdr) char dump[DUMP_SIZE];
	struct netlink_request q;
	int r = 0;

	netlink_start(&q, RTM_GETADDR, NLM_F_DUMP, sizeof(struct ifaddrmsg));

	m->addresses.n = 0;
	q.head.nlmsg_flags &= (uint16_t)~NLM_F_ACK;
	if (send(m->host, &q, q.head.nlmsg_len, 0) < 0)
		return -errno;
	for (;;) {
		ssize_t n = recv(m->host, dump, sizeof(dump), 0);

		if (n < 0)
			return -errno;
		for (struct nlmsghdr *h = (struct nlmsghdr *)dump;
		     NLMSG_OK(h, (size_t)n); h = NLMSG_NEXT(h, n)) {
			const struct ifaddrmsg *a = NLMSG_DATA(h);

			if (h->nlmsg_type == NLMSG_DONE)
				return r;
			if (h->nlmsg_type != RTM_NEWADDR)
				return -EBADMSG;
			if (r == 0 && (int)a->ifa_index == m->index)
				r = address_note(&m->addresses, h);
		}
	}
}

static int address_give(const struct move *m, const struct address *a)
{
	struct netlink_request q;
	struct ifaddrmsg *head = netlink_start(
		&q, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof(*head));
	size_t size = a->head.ifa_family == AF_INET ? 4 : 16;

	head->ifa_family = a->head.ifa_family;
	head->ifa_prefixlen = a->head.ifa_prefixlen;
	head->ifa_scope = a->head.ifa_scope;
	head->ifa_index = (uint32_t)m->index;
	netlink_attr(&q, IFA_LOCAL, a->local, size);
	netlink_attr(&q, IFA_ADDRESS, a->local, size);
	if (a->has_broadcast)
		netlink_attr(&q, IFA_BROADCAST, a->broadcast,
			     sizeof(a->broadcast));
	return netlink_do(m->inside, &q);
}

/* Under an index that we choose, since the name may be a pattern ("eth%d") of
 * which the kernel makes one. */
static int link_move(struct move *m)
{
	uint32_t pid = (uint32_t)m->pid;
	int32_t index = m->index;
	int r = -EBUSY;

	for (int i = 0; r == -EBUSY && i < INDEX_TRIES; i++, index++) {
		struct netlink_request q;
		struct ifinfomsg *link = netlink_start(&q, RTM_NEWLINK, 0,
						       sizeof(*link));

		link->ifi_family = AF_UNSPEC;
		link->ifi_index = m->index;
		netlink_attr(&q, IFLA_NET_NS_PID, &pid, sizeof(pid));
		netlink_attr(&q, IFLA_NEW_IFINDEX, &index, sizeof(index));
		netlink_attr(&q, IFLA_IFNAME, m->name, strlen(m->name) + 1);
		r = netlink_do(m->host, &q);
	}
	m->index = index - 1;
	return r;
}

static int link_up(const struct move *m)
{
	struct netlink_request q;
	struct ifinfomsg *link = netlink_start(&q, RTM_NEWLINK, 0,
					       sizeof(*link));

	link->ifi_family = AF_UNSPEC;
	link->ifi_index = m->index;
	link->ifi_flags = link->ifi_change = IFF_UP;
	return netlink_do(m->inside, &q);
}

/* The kernel renames after the move: on a conflict the device would be gone
 * from the host already. */
static int name_check(const struct move *m)
{
	struct ifreq there;

	memset(&there, 0, sizeof(there));
	memcpy(there.ifr_name, m->name, strlen(m->name));
	return ioctl(m->inside, SIOCGIFINDEX, &there) == 0 ? -EEXIST : 0;
}

static int device_move(struct move *m)
{
	int r = name_check(m);

	if (r == 0)
		r = addresses_read(m);
	if (r == 0)
		r = link_move(m);
	for (size_t i = 0; r == 0 && i < m->addresses.n; i++)
		r = address_give(m, &m->addresses.item[i]);
	return r < 0 ? r : link_up(m);
}

int net_devices_move(const struct runtime_config *config, pid_t pid,
		     struct fault *fault)
{
	static struct move m;

	if (!config->n_net_device)
		return 0;
	autoclose int host = netlink_socket();
	autoclose int inside = socket_inside(pid);

	if (host < 0 || inside < 0)
		return fault_set(fault, host < 0 ? host : inside,
				 "linux.netDevices");
	m.host = host;
	m.inside = inside;
	m.pid = pid;
	for (size_t i = 0; i < config->n_net_device; i++) {
		const struct runtime_net_device *d = &config->net_device[i];

		m.name = d->name;
		m.index = (int)if_nametoindex(d->host_name);
		int r = m.index ? device_move(&m) : -errno;

		if (r < 0)
			return fault_set(fault, r, "linux.netDevices.%s",
					 d->host_name);
	}
	return 0;
}
