/* The header that the PROXY protocol, version 2, puts before the bytes of a
 * connection, so that what it leads to learns who called whom (HAProxy's
 * proxy-protocol.txt, section 2.2). It is only made here, never read. */
#ifndef NET_PROXY_H
#define NET_PROXY_H

#include <stddef.h>
#include <stdint.h>

enum { PROXY_HEADER_MAX = 16 + 36 };

/* One end of a connection. */
struct proxy_end {
	uint8_t address[16]; /* v4 is mapped */
	uint16_t port;	     /* host byte order */
};

/* The header of a TCP connection of `client`, who was accepted at `node`: both
 * of one family, since both are of one socket. Returns its size. */
size_t proxy_header(uint8_t out[PROXY_HEADER_MAX],
		    const struct proxy_end *client,
		    const struct proxy_end *node);

#endif
