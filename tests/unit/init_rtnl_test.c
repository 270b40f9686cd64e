/* init's rtnetlink, on the real kernel in network namespaces of its own: links
 * are told, addresses and gateways set, and the name servers of a router
 * advertisement heard. The router is a child with the other end of a veth. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <arpa/inet.h>
#include <net/if.h>
#include <netinet/icmp6.h>

#include "init/rtnl.h"
#include "tap.h"

static struct rtnl_link seen;
static uint8_t dns[4][16];
static int n_dns, dns_index;

static void link_seen(const struct rtnl_link *link)
{
	if (strcmp(link->name, "v0") == 0)
		seen = *link;
}

static void dns_seen(int index, const uint8_t (*address)[16], int n)
{
	dns_index = index;
	n_dns = n;
	memcpy(dns, address, (size_t)n * 16);
}

static const struct rtnl_events events = { link_seen, dns_seen };

/* Takes what comes within wait_ms, or until *flag. */
static void receive(int sock, const int *flag, int wait_ms)
{
	struct pollfd p = { .fd = sock, .events = POLLIN };

	while (!*flag && poll(&p, 1, wait_ms) > 0)
		while (rtnl_receive(sock, &events) == 0)
			continue;
}

static int shell(const char *format, int pid)
{
	char command[256];

	snprintf(command, sizeof(command), format, pid);
	return system(command);
}

/* RFC 4861 section 4.2 and RFC 8106 section 5.1. */
static void advertise(void)
{
	struct {
		struct nd_router_advert head;
		uint8_t type, length;
		uint16_t reserved;
		uint32_t lifetime;
		struct in6_addr server[2];
	} ra = { .type = 25, .length = 5, .lifetime = htonl(600) };
	struct sockaddr_in6 to = { .sin6_family = AF_INET6 };
	int hops = 255, index = (int)if_nametoindex("v1");
	int sock = socket(AF_INET6, SOCK_RAW, IPPROTO_ICMPV6);

	ra.head.nd_ra_type = ND_ROUTER_ADVERT;
	inet_pton(AF_INET6, "2001:db8::53", &ra.server[0]);
	inet_pton(AF_INET6, "2001:db8::54", &ra.server[1]);
	inet_pton(AF_INET6, "ff02::1", &to.sin6_addr);
	to.sin6_scope_id = (uint32_t)index;
	setsockopt(sock, IPPROTO_IPV6, IPV6_MULTICAST_HOPS, &hops,
		   sizeof(hops));
	setsockopt(sock, IPPROTO_IPV6, IPV6_MULTICAST_IF, &index,
		   sizeof(index));
	/* Again and again until killed, as a router does: the first cannot be
	 * sent before its own address has passed duplicate detection. */
	for (;;) {
		sendto(sock, &ra, sizeof(ra), 0, (struct sockaddr *)&to,
		       sizeof(to));
		poll(NULL, 0, 200);
	}
}

static pid_t router_start(int *go)
{
	int ready[2], start[2];
	pid_t pid;
	char c;

	if (pipe(ready) < 0 || pipe(start) < 0)
		return -1;
	pid = fork();
	if (pid == 0) {
		close(start[1]);
		if (unshare(CLONE_NEWNET) < 0 || write(ready[1], "r", 1) != 1 ||
		    read(start[0], &c, 1) != 1 ||
		    system("ip link set v1 up") != 0)
			_exit(1);
		advertise();
		_exit(0);
	}
	*go = start[1];
	return read(ready[0], &c, 1) == 1 ? pid : -1;
}

static void addresses_test(void)
{
	struct node_address v4 = { .prefix = 24 }, v6 = { .prefix = 64 };
	struct node_address gateway = { .prefix = 32 };

	inet_pton(AF_INET6, "::ffff:192.0.2.7", v4.bytes);
	inet_pton(AF_INET6, "2001:db8::7", v6.bytes);
	inet_pton(AF_INET6, "::ffff:192.0.2.1", gateway.bytes);
	ok(address_is_v4(v4.bytes) && !address_is_v4(v6.bytes),
	   "families are told apart");
	ok(rtnl_address_add(seen.index, &v4) == 0 &&
		   rtnl_address_add(seen.index, &v6) == 0,
	   "addresses are set");
	ok(rtnl_address_add(seen.index, &v4) == 0, "twice is no error");
	ok(rtnl_gateway_add(seen.index, &gateway, 102) == 0, "gateway is set");
	ok(shell("ip -4 -o addr show dev v0 | grep -q 192.0.2.7/24", 0) == 0 &&
		   shell("ip -6 -o addr show dev v0 | grep -q 2001:db8::7/64",
			 0) == 0,
	   "ip sees the addresses");
	ok(shell("ip route | grep -q "
		 "'default via 192.0.2.1 dev v0.*metric 102'",
		 0) == 0,
	   "ip sees the gateway");
	ok(rtnl_address_add(9999, &v4) == -ENODEV, "no such interface");
}

int main(void)
{
	uint8_t want[16];
	int sock, go = -1;
	pid_t router;

	if (geteuid() != 0 || unshare(CLONE_NEWNET) < 0) {
		printf("1..0 # SKIP needs root\n");
		return 0;
	}
	router = router_start(&go);
	sock = rtnl_open();
	ok(router > 0 && sock >= 0, "opened");
	ok(shell("ip link add v0 type veth peer name v1 netns %d", router) == 0,
	   "a pair is made");
	receive(sock, &seen.index, 5000);
	ok(seen.index > 0 && seen.ethernet && !seen.running,
	   "the new link is told, without carrier");
	ok(rtnl_link_up(seen.index, 1400) == 0 &&
		   shell("ip link show v0 | grep -q 'mtu 1400'", 0) == 0,
	   "it is brought up with its MTU");
	addresses_test();
	if (write(go, "g", 1) != 1)
		return 1;
	receive(sock, &n_dns, 20000);
	inet_pton(AF_INET6, "2001:db8::54", want);
	ok(n_dns == 2 && dns_index == seen.index &&
		   memcmp(dns[1], want, 16) == 0,
	   "name servers of a router advertisement");
	ok(seen.running, "and carrier was told");
	kill(router, SIGKILL);
	waitpid(router, NULL, 0);
	return tap_done();
}
