/* The few route netlink messages (rtnetlink(7)) that init sends. */
#ifndef INIT_RTNL_H
#define INIT_RTNL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/node_json.h"

struct rtnl_link {
	int index;
	bool gone;
	bool ethernet;
	bool running; /* has carrier */
	char name[16];
	uint8_t mac[6];
};

/* A non-blocking socket that hears of links and of router advertisements'
 * options, with a request for all links already sent. Or -errno. */
int rtnl_open(void);

struct rtnl_events {
	void (*link)(const struct rtnl_link *);
	/* Name servers of a router advertisement (RFC 8106). */
	void (*dns)(int index, const uint8_t (*address)[16], int n);
};

/* Receives one datagram and calls back for what it holds. 0, -EAGAIN, or
 * -ENOBUFS when messages were lost: then ask for all links again. */
int rtnl_receive(int sock, const struct rtnl_events *events);
int rtnl_links_ask(int sock);

enum { RTNL_LO = 1 }; /* the first of a network namespace */

/* Each waits for the kernel's answer on a socket of its own. 0 or -errno. */
int rtnl_link_up(int index, uint32_t mtu); /* mtu 0: as it is */
/* One of RTNL_LO has the scope of the host. */
int rtnl_address_add(int index, const struct node_address *address);
int rtnl_gateway_add(int index, const struct node_address *gateway,
		     uint32_t metric);

/* True for an IPv4 address in its IPv6 form (::ffff:a.b.c.d). */
bool address_is_v4(const uint8_t address[16]);

#endif
