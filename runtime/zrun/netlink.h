/* The network namespace of a container, through rtnetlink. */
#ifndef ZRUN_NETLINK_H
#define ZRUN_NETLINK_H

#include <linux/netlink.h>
#include <stddef.h>
#include <stdint.h>

/* Prepares the network namespace that the caller is in: lo up; with address
 * (IPv4, host byte order; 0: no more than that) also the address on lo, the
 * rules that lead replies of marked connections back to local sockets, and
 * the sysctls of a container's namespace, written below host_proc. 0 or
 * -errno. */
int network_prepare(int host_proc, uint32_t address);
/* The two parts of it: what is the same for every container with an address,
 * and the address. */
int network_ahead(int host_proc);
int network_address(uint32_t address);

/* The mark that sockets of ZRUN_SOCKETS carry; see network_prepare(). */
#define NETWORK_MARK  1
#define NETWORK_TABLE 100

#define LO_INDEX 1 /* the first link of every namespace */

/* One rtnetlink request: start it, which returns its body of `size` bytes; add
 * attributes; send it and read the kernel's verdict (0 or -errno). */
struct netlink_request {
	struct nlmsghdr head;
	char body[256];
};
void *netlink_start(struct netlink_request *q, uint16_t type, uint16_t flags,
		    size_t size);
void netlink_attr(struct netlink_request *q, uint16_t type, const void *data,
		  size_t size);
int netlink_do(int sock, const struct netlink_request *q);

#endif
