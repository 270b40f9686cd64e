#include "proxy.h"

#include <stdbool.h>
#include <string.h>

#include "key.h"

enum {
	VERSION_2_PROXY = 0x21,
	TCP_OVER_IPV4 = 0x11,
	TCP_OVER_IPV6 = 0x21,
};

static uint8_t *bytes_put(uint8_t *to, const void *bytes, size_t n)
{
	memcpy(to, bytes, n);
	return to + n;
}

static uint8_t *number_put(uint8_t *to, unsigned int number)
{
	*to++ = (uint8_t)(number >> 8);
	*to++ = (uint8_t)number;
	return to;
}

size_t proxy_header(uint8_t out[PROXY_HEADER_MAX],
		    const struct proxy_end *client,
		    const struct proxy_end *node)
{
	static const uint8_t signature[12] = "\r\n\r\n\0\r\nQUIT\n";
	bool v4 = address_is_mapped(client->address);
	size_t skip = v4 ? 12 : 0, size = 16 - skip;
	uint8_t *p = bytes_put(out, signature, sizeof(signature));

	*p++ = VERSION_2_PROXY;
	*p++ = v4 ? TCP_OVER_IPV4 : TCP_OVER_IPV6;
	p = number_put(p, (unsigned int)(2 * size + 4));
	p = bytes_put(p, client->address + skip, size);
	p = bytes_put(p, node->address + skip, size);
	p = number_put(p, client->port);
	p = number_put(p, node->port);
	return (size_t)(p - out);
}
