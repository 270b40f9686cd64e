/* The destination was chosen by the container. It must not reach services of
 * the node that listen on loopback because they trust whoever is on the
 * machine, nor neighbours that answer on the link only (a cloud's metadata
 * service hands out credentials), nor many at a time. */
#include "policy.h"

#include <errno.h>

#include "outlet.h"

struct range {
	uint8_t address[16]; /* v4 mapped */
	uint8_t bits;
};

#define V4(a, b, c, d, n)                                   \
	{                                                   \
		{ [10] = 0xff, 0xff, a, b, c, d }, 96 + (n) \
	}

static const struct range closed[] = {
	V4(0, 0, 0, 0, 8),
	V4(127, 0, 0, 0, 8),
	V4(169, 254, 0, 0, 16),
	V4(10, 64, 0, 0, 16),
	V4(224, 0, 0, 0, 3), /* multicast, reserved, broadcast */
	/* "::", "::1", and all that embeds IPv4 there */
	{ { 0 }, 80 },
	{ { 0xfe, 0x80 }, 10 },
	{ { 0xff }, 8 },
	{ NET_PREFIX6, NET_PREFIX6_BYTES * 8 },
};

static bool in_range(const uint8_t address[16], const struct range *r)
{
	unsigned int whole = r->bits / 8, rest = r->bits % 8;
	uint8_t mask = (uint8_t)(0xff00 >> rest);

	return memcmp(address, r->address, whole) == 0 &&
	       (rest == 0 ||
		((address[whole] ^ r->address[whole]) & mask) == 0);
}

int policy_check(const struct key *key)
{
	for (size_t i = 0; i < sizeof(closed) / sizeof(closed[0]); i++) {
		/* Mapped IPv4 is not what "::/80" means. */
		if (address_is_mapped(key->outside) !=
		    address_is_mapped(closed[i].address))
			continue;
		if (in_range(key->outside, &closed[i]))
			return -EACCES;
	}
	return 0;
}
