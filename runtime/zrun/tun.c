/* What a container sends leaves through a TUN: znet reads it as packets and
 * opens it again as the node's own connections (runtime/net/tun.c).
 *
 * The packets never meet a wire, so they are as large as IP allows, carry a
 * virtio header, and segmentation and checksums are left to the device, which
 * does neither.
 *
 * Nothing is sent that nobody asked for: no link-local address is made up, so
 * no router is solicited for it, and both addresses are on `lo`, so that the
 * TUN joins no group of theirs. */
#define _GNU_SOURCE
#include "tun.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/if_tun.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <sched.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/span.h"
#include "net/outlet.h"
#include "oci/desired.h"
#include "oci/net_policy.h"
#include "resident.h"
#include "store_link.h"
#include "zrun/netlink.h"

#define TUN_NAME "tun0"
/* Of our kernel (rootfs/packages/linux.patch): without the sysctls and files
 * that every device has, which take memory. Others pass it by. */
#define IFF_TUN_NO_TABLES 0x0080

static int device_open(void)
{
	struct ifreq request = {
		.ifr_name = TUN_NAME,
		.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR |
			     IFF_TUN_NO_TABLES,
	};
	autoclose int fd = open("/dev/net/tun",
				O_RDWR | O_CLOEXEC | O_NONBLOCK);
	unsigned int offload = TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6;

	if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0 ||
	    ioctl(fd, TUNSETOFFLOAD, offload) < 0)
		return -errno;
	return fd_take(&fd);
}

static struct ifinfomsg *link_set(struct netlink_request *q, uint32_t index)
{
	struct ifinfomsg *link = netlink_start(q, RTM_NEWLINK, 0,
					       sizeof(*link));

	link->ifi_family = AF_UNSPEC;
	link->ifi_index = (int)index;
	return link;
}

/* Before it is up, for that is when an address would be made. */
static int link_no_address(int sock, uint32_t index)
{
	struct netlink_request q;
	struct {
		struct rtattr family, mode;
		uint8_t value, pad[3];
	} none = {
		.family = { sizeof(none), AF_INET6 },
		.mode = { RTA_LENGTH(1), IFLA_INET6_ADDR_GEN_MODE },
		.value = IN6_ADDR_GEN_MODE_NONE,
	};

	link_set(&q, index);
	netlink_attr(&q, IFLA_AF_SPEC, &none, sizeof(none));
	int r = netlink_do(sock, &q);

	/* A kernel without IPv6. */
	return r == -EAFNOSUPPORT || r == -EOPNOTSUPP ? 0 : r;
}

static int link_up(int sock, uint32_t index)
{
	struct netlink_request q;
	struct ifinfomsg *link = link_set(&q, index);
	uint32_t mtu = NET_TUN_MTU;

	link->ifi_flags = link->ifi_change = IFF_UP;
	netlink_attr(&q, IFLA_MTU, &mtu, sizeof(mtu));
	return netlink_do(sock, &q);
}

static int address6_add(int sock, const uint8_t address[16])
{
	struct netlink_request q;
	struct ifaddrmsg *a = netlink_start(
		&q, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof(*a));

	a->ifa_family = AF_INET6;
	a->ifa_prefixlen = 128;
	a->ifa_flags = IFA_F_NODAD | IFA_F_PERMANENT;
	a->ifa_index = LO_INDEX;
	netlink_attr(&q, IFA_LOCAL, address, 16);
	netlink_attr(&q, IFA_ADDRESS, address, 16);
	return netlink_do(sock, &q);
}

/* Everything goes through the TUN, and comes from `source`. */
static int route_default(int sock, uint32_t index, uint8_t family,
			 const void *source)
{
	struct netlink_request q;
	struct rtmsg *route = netlink_start(
		&q, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, sizeof(*route));

	route->rtm_family = family;
	route->rtm_table = RT_TABLE_MAIN;
	route->rtm_protocol = RTPROT_STATIC;
	route->rtm_scope = RT_SCOPE_UNIVERSE;
	route->rtm_type = RTN_UNICAST;
	netlink_attr(&q, RTA_OIF, &index, sizeof(index));
	netlink_attr(&q, RTA_PREFSRC, source, family == AF_INET ? 4 : 16);
	return netlink_do(sock, &q);
}

/* 1 with IPv6, 0 without, or -errno. */
static int network_lead(int sock, uint32_t address)
{
	uint32_t index = if_nametoindex(TUN_NAME), wire = htonl(address);
	uint8_t address6[16];
	int r = index ? link_no_address(sock, index) : -errno;

	if (r == 0)
		r = link_up(sock, index);
	if (r == 0)
		r = route_default(sock, index, AF_INET, &wire);
	if (r < 0)
		return r;
	net_address6(address, address6);
	r = address6_add(sock, address6);
	if (r == 0)
		r = route_default(sock, index, AF_INET6, address6);
	if (r == 0)
		return 1;
	/* A kernel without IPv6, or a namespace that has switched it off. */
	return r == -EAFNOSUPPORT || r == -EOPNOTSUPP || r == -EACCES ? 0 : r;
}

int tun_open(uint32_t address, bool *has_address6)
{
	autoclose int sock = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC,
				    NETLINK_ROUTE);
	autoclose int fd = sock < 0 ? -errno : device_open();
	int r = fd < 0 ? fd : network_lead(sock, address);

	*has_address6 = r > 0;
	return r < 0 ? r : fd_take(&fd);
}

/* Who chose the text: znode, from the document. znet reads what is put here
 * as bytes, so it is sealed: nobody changes it meanwhile. */
static int policy_make(const char *id, const char *text)
{
	static struct net_policy policy;
	char error[NET_POLICY_ERROR_SIZE];

	if (net_policy_parse(span_of(text), &policy, error) < 0) {
		log_error(id, "its network policy: %s", error);
		return -EINVAL;
	}
	autoclose int fd = memfd_create("policy",
					MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd < 0)
		return -errno;
	if (write(fd, &policy, sizeof(policy)) != sizeof(policy))
		return -EIO;
	if (fcntl(fd, F_ADD_SEALS,
		  F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
		return -errno;
	return fd_take(&fd);
}

/* Before the TUN, which says that there is one. 1 when there is, 0 when not. */
static int policy_give(const char *id, const struct text_map *annotations)
{
	const char *text = text_map_find(annotations, ZRUN_ANNOTATION_POLICY);
	uint8_t note[INIT_NOTE_SIZE] = { 0 };
	autoclose int fd = text ? policy_make(id, text) : -1;
	int r;

	if (!text || fd < 0)
		return text ? fd : 0;
	r = init_put(INIT_KIND_TUN, id, NET_OUTLET_POLICY, fd, note);
	return r < 0 ? r : 1;
}

_Static_assert((int)NET_NAMES_SIZE == (int)DESIRED_NAMES_SIZE,
	       "all names that a document has for it");
_Static_assert(sizeof(struct net_outlet) <= INIT_NOTE_SIZE, "goes with a TUN");

static void annotation_copy(const struct text_map *annotations, const char *key,
			    char *out, size_t size)
{
	const char *value = text_map_find(annotations, key);

	if (value)
		text_copy(out, size, value);
}

int tun_give(const char *id, int pidfd, uint32_t address,
	     const struct text_map *annotations)
{
	struct net_outlet outlet = { .magic = NET_OUTLET_MAGIC,
				     .address = address };
	uint8_t note[INIT_NOTE_SIZE] = { 0 };
	int r = policy_give(id, annotations);

	if (r < 0)
		return r;
	outlet.has_policy = (uint32_t)r;

	if (setns(pidfd, CLONE_NEWNET) < 0)
		return -errno;
	bool has_address6;
	autoclose int fd = tun_open(address, &has_address6);

	/* Going on in a container's namespace would be worse than dying. */
	if (setns(resident.own_netns, CLONE_NEWNET) < 0) {
		log_error(id, "cannot leave its network namespace");
		_exit(1);
	}
	if (fd < 0)
		return fd;
	outlet.has_address6 = has_address6;
	annotation_copy(annotations, ZRUN_ANNOTATION_APPLICATION,
			outlet.application, sizeof(outlet.application));
	annotation_copy(annotations, ZRUN_ANNOTATION_SERVICE, outlet.names,
			sizeof(outlet.names));
	memcpy(note, &outlet, sizeof(outlet));
	return init_put(INIT_KIND_TUN, id, 0, fd, note);
}

void tun_drop(const char *id)
{
	init_drop(INIT_KIND_TUN, id, 0);
	init_drop(INIT_KIND_TUN, id, NET_OUTLET_POLICY);
}

int tun_take(const char *id)
{
	int fd = init_get(INIT_KIND_TUN, id, 0);

	tun_drop(id);
	return fd;
}
