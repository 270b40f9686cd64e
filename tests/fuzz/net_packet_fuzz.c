/* Any bytes as a packet of a container: what is accepted lies within them, and
 * what is made of it is a packet again. */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "net/packet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void answers_check(struct packet *p)
{
	uint8_t out[PACKET_ERROR_MAX], message[64] = { 0 };

	if (packet_error(out, &p->key, -13, p->transport) > sizeof(out))
		abort();
	if (packet_udp(out, &p->key, 100) > PACKET_HEADER_MAX)
		abort();
	if (p->key.protocol == IPPROTO_TCP &&
	    packet_reset(out, p) > PACKET_HEADER_MAX)
		abort();
	if (packet_echo(out, &p->key, message, sizeof(message)) >
	    PACKET_HEADER_MAX)
		abort();
}

static void refusal_check(const struct packet *p, const uint8_t *end)
{
	struct packet sent;

	if (packet_refusal(p, &sent) &&
	    (sent.transport < p->transport ||
	     sent.transport + PACKET_UDP_HEADER > end ||
	     sent.transport + sent.size > end))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct packet p;
	uint8_t *copy = malloc(size + 1);

	if (!copy)
		return 0;
	memcpy(copy, data, size);
	if (packet_parse(&p, copy, size) == 0) {
		if (p.transport < copy || p.size < p.header_size ||
		    (size_t)(p.transport - copy) + p.size > size)
			abort();
		answers_check(&p);
		packet_cut(copy, p.ip_size + p.header_size);
		if (packet_parse(&p, copy, p.ip_size + p.header_size) != 0 &&
		    p.key.protocol != IPPROTO_UDP)
			abort();
	} else {
		refusal_check(&p, copy + size);
	}
	free(copy);
	return 0;
}
