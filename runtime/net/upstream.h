/* The name servers of the node, as they change. init holds the file that says
 * (the leases of its interfaces do), and hands it over to be read: znet opens
 * none itself. */
#ifndef NET_UPSTREAM_H
#define NET_UPSTREAM_H

#include <stddef.h>
#include <stdint.h>

enum { UPSTREAM_MAX = 4 };

struct upstream {
	unsigned int n;
	uint8_t address[UPSTREAM_MAX][16]; /* v4 mapped */
	uint32_t scope[UPSTREAM_MAX];	   /* of a link-local one: its link */
};

/* Those of now, at most UPSTREAM_FRESH_MS old. n is 0 when there are none, or
 * init does not tell. */
const struct upstream *upstream_get(void);

/* Reads the text of a resolv.conf(5). */
void upstream_read(struct upstream *u, const char *text, size_t size);

#endif
