/* Addresses of 16 bytes, IPv4 mapped, as the socket calls want them. */
#ifndef NET_NODE_ADDRESS_H
#define NET_NODE_ADDRESS_H

#include <stdint.h>
#include <sys/socket.h>

union node_address {
	struct sockaddr any;
	struct sockaddr_storage room;
};

/* Fills *to; port in host byte order. Returns its size. */
socklen_t node_address(union node_address *to, const uint8_t address[16],
		       uint16_t port);

/* Of an IPv6 address that means something on one link only: which one. */
void node_address_scope(union node_address *a, uint32_t scope);

/* The other way round: of what a socket call has told. */
void node_address_read(const union node_address *from, uint8_t address[16],
		       uint16_t *port);

#endif
