/* A connection of lwIP's, opened as a container opens it and fed segments that
 * the fuzzer made: byte for byte, but for the addresses and ports. All that was
 * received is accounted for, and no buffer is lost. */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "net/conn.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What a well-behaved peer would say next, from what was sent last. */
static uint8_t next_seq[4], next_ack[4];

static void sent(const struct conn_packet *p)
{
	const uint8_t *tcp = (const uint8_t *)p->iov[0].iov_base + p->ip_size;
	size_t size = 0;
	uint32_t ack = 0;

	for (int i = 0; i < p->n; i++)
		size += p->iov[i].iov_len;
	if (size < p->ip_size + p->tcp_size)
		abort();
	for (int i = 0; i < 4; i++)
		ack = ack << 8 | tcp[4 + i];
	ack += (uint32_t)(size - p->ip_size - p->tcp_size) +
	       ((tcp[13] & 3) != 0);
	for (int i = 0; i < 4; i++)
		next_ack[i] = (uint8_t)(ack >> (24 - 8 * i));
	memcpy(next_seq, tcp + 8, sizeof(next_seq));
}

static void timer_needed(void)
{
}

static struct buffer *segment_make(const uint8_t *data, size_t size)
{
	static const uint8_t ip[20] = {
		0x45, [6] = 0x40, [8] = 64, [9] = 6, [12] = 10, 64,
		0,    2,	  192,	    0,	     2,		1
	};
	static const uint8_t ports[4] = { 16, 0, 0, 80 };
	struct buffer *b = buffer_large();

	if (!b)
		abort();
	memcpy(b->data, ip, sizeof(ip));
	b->data[3] = (uint8_t)(20 + size);
	memcpy(b->data + 20, data, size);
	memcpy(b->data + 20, ports, sizeof(ports));
	b->data[32] |= 0x50;
	b->size = (uint32_t)(20 + size);
	return b;
}

enum { RIGHT_SEQ = 2, RIGHT_ACK = 4 };

static void segment_feed(struct conn *c, const uint8_t *data, size_t size,
			 uint8_t choice)
{
	struct buffer *b = segment_make(data, size);
	struct packet p;

	if (choice & RIGHT_SEQ)
		memcpy(b->data + 24, next_seq, 4);
	if (choice & RIGHT_ACK)
		memcpy(b->data + 28, next_ack, 4);
	if (packet_parse(&p, b->data, b->size) == 0)
		conn_input(c, &p, b);
	else
		buffer_free(b);
}

static void opened(struct conn *c)
{
	static const uint8_t syn[20] = { [12] = 0x50, [13] = 2, [14] = 0xff };
	struct buffer *b = segment_make(syn, sizeof(syn));
	struct packet p;

	if (packet_parse(&p, b->data, b->size) != 0 || conn_open(c, &p, b) != 0)
		abort();
}

static void events_take(struct conn *c)
{
	static uint8_t bytes[1000];
	struct iovec iov[8];

	while (conn_changed())
		continue;
	if (c->in_size && conn_peek(c, iov, 8))
		conn_take(c, iov[0].iov_len);
	if (conn_room(c) >= sizeof(bytes) && !conn_send(c, bytes, 1000))
		conn_flush(c);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static bool is_ready;
	static uint64_t now_ms = CONN_QUIET_MS;
	struct conn c;

	if (!is_ready)
		conn_init(sent, timer_needed);
	is_ready = true;
	opened(&c);
	while (size > 21) {
		size_t n = 20u + (data[0] >> 3);

		n = n > size - 1 ? size - 1 : n;
		segment_feed(&c, data + 1, n, data[0]);
		events_take(&c);
		if (data[0] & 1)
			conn_tick(now_ms += CONN_TICK_MS);
		data += 1 + n;
		size -= 1 + n;
	}
	if (!c.pcb && !c.reset && !c.closed)
		abort();
	conn_reset(&c);
	if (!buffer_container_fair(BUFFER_LARGE_MAX - 1))
		abort();
	return 0;
}
