/* The note that zrun serve keeps with a container's TUN in init's store (kind
 * TUN, the container's id, n 0): all that znet needs to be its network, so
 * that a restarted znet goes on without asking anybody.
 *
 * The addresses are the container's own, unique on the node, and the only
 * ones it may send from. The IPv6 one is the IPv4 one behind a prefix. */
#ifndef NET_OUTLET_H
#define NET_OUTLET_H

#include <stdint.h>
#include <string.h>

#include "oci/net_range.h"

#define NET_OUTLET_MAGIC 0x7a6e3034 /* "zn04" */
#define NET_NAMES_SIZE	 112
#define NET_TUN_MTU	 65520

struct net_outlet {
	uint32_t magic;
	uint32_t address; /* IPv4, host byte order */
	/* Containers of one application reach each other, by their names, of
	 * which these are some, in small letters with a space between, first
	 * that of the service; "" is an application like any other. */
	char application[64], names[NET_NAMES_SIZE];
	/* Not 0: it goes nowhere before its policy (oci/net_policy.h) is at
	 * hand, which is kept beside the TUN, n NET_OUTLET_POLICY. */
	uint32_t has_policy;
	uint32_t has_address6; /* not where IPv6 is switched off inside */
};

enum { NET_OUTLET_POLICY = 1 };

/* The IPv6 address of who has `address` (host byte order). */
static inline void net_address6(uint32_t address, uint8_t out[16])
{
	static const uint8_t prefix[NET_PREFIX6_BYTES] = { NET_PREFIX6 };

	memcpy(out, prefix, sizeof(prefix));
	for (int i = 0; i < 4; i++)
		out[12 + i] = (uint8_t)(address >> (24 - 8 * i));
}

#endif
