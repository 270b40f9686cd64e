/* The address by which a container reaches its node (host-gateway of Compose).
 *
 * init gives it to lo: no other machine is called so (RFC 7600, the IPv4 dummy
 * address), and the node chooses it towards none. So what listens on all of the
 * node's addresses is there, with a link or without one, but nothing that
 * listens on loopback because it trusts whoever is on the machine; and who
 * calls is not seen as one of loopback's. It keeps nobody out: the kernel takes
 * a packet for it from a neighbour on a link too, as for any other of the
 * node's. */
#ifndef BASE_GATEWAY_H
#define BASE_GATEWAY_H

#include <stdint.h>

#define GATEWAY_TEXT "192.0.0.8"
#define GATEWAY_WORD "host-gateway" /* what documents and files say for it */

static const uint8_t gateway_address[16] = { [10] = 0xff, 0xff, 192, 0, 0, 8 };

#endif
