#include "node_address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>

#include "key.h"

socklen_t node_address(union node_address *to, const uint8_t address[16],
		       uint16_t port)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_port = htons(port) };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6,
				    .sin6_port = htons(port) };

	if (address_is_mapped(address)) {
		memcpy(&in.sin_addr, address + 12, 4);
		memcpy(&to->room, &in, sizeof(in));
		return sizeof(in);
	}
	memcpy(&in6.sin6_addr, address, 16);
	memcpy(&to->room, &in6, sizeof(in6));
	return sizeof(in6);
}

void node_address_scope(union node_address *a, uint32_t scope)
{
	struct sockaddr_in6 in6;

	memcpy(&in6, &a->room, sizeof(in6));
	in6.sin6_scope_id = scope;
	memcpy(&a->room, &in6, sizeof(in6));
}

void node_address_read(const union node_address *from, uint8_t address[16],
		       uint16_t *port)
{
	struct sockaddr_in6 in6;
	struct sockaddr_in in;

	if (from->any.sa_family == AF_INET) {
		memcpy(&in, &from->room, sizeof(in));
		memset(address, 0, 10);
		memset(address + 10, 0xff, 2);
		memcpy(address + 12, &in.sin_addr, 4);
		*port = ntohs(in.sin_port);
	} else {
		memcpy(&in6, &from->room, sizeof(in6));
		memcpy(address, &in6.sin6_addr, 16);
		*port = ntohs(in6.sin6_port);
	}
}
