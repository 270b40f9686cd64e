/* A container's TCP connection, fed segments by hand: the stream that comes out
 * of overlapping ones, and what becomes of a container that says no more. */
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>

#include "net/conn.h"
#include "net/outlet.h"
#include "tap.h"

enum { IP_SIZE = 20, TCP_SIZE = 20, FIRST = 1000, ACK = 16, SYN = 2, FIN = 1 };

/* What was sent to the container last, and how many packets. */
static uint32_t last_seq, last_ack;
static uint8_t last_flags;
static size_t last_size;
static unsigned int n_sent;

static uint32_t get32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 |
	       (uint32_t)p[2] << 8 | p[3];
}

static void put32(uint8_t *p, uint32_t n)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(n >> (24 - 8 * i));
}

static void sent(const struct conn_packet *p)
{
	const uint8_t *tcp = (const uint8_t *)p->iov[0].iov_base + p->ip_size;

	last_seq = get32(tcp + 4);
	last_ack = get32(tcp + 8);
	last_flags = tcp[13];
	last_size = 0;
	for (int i = 0; i < p->n; i++)
		last_size += p->iov[i].iov_len;
	last_size -= p->ip_size + p->tcp_size;
	n_sent++;
}

static void timer_needed(void)
{
}

/* From port `from` of 10.64.0.2 to port 80 of 192.0.2.1. */
struct segment {
	uint16_t from;
	uint32_t seq, ack;
	uint8_t flags;
	const char *text;
};

static struct buffer *segment_make(const struct segment *s, struct packet *p)
{
	static const uint8_t ip[IP_SIZE] = {
		0x45, [6] = 0x40, [8] = 64, [9] = 6, [12] = 10, 64,
		0,    2,	  192,	    0,	     2,		1
	};
	struct buffer *b = buffer_small();
	size_t size = strlen(s->text);
	uint8_t *tcp = b->data + IP_SIZE;

	memset(b->data, 0, IP_SIZE + TCP_SIZE);
	memcpy(b->data, ip, sizeof(ip));
	b->size = (uint32_t)(IP_SIZE + TCP_SIZE + size);
	b->data[3] = (uint8_t)b->size;
	tcp[0] = (uint8_t)(s->from >> 8);
	tcp[1] = (uint8_t)s->from;
	tcp[3] = 80;
	put32(tcp + 4, s->seq);
	put32(tcp + 8, s->ack);
	tcp[12] = TCP_SIZE / 4 << 4;
	tcp[13] = s->flags;
	tcp[14] = 0xff;
	memcpy(tcp + TCP_SIZE, s->text, size);
	if (packet_parse(p, b->data, b->size) < 0)
		ok(false, "the test's own segment is one");
	return b;
}

static void feed(struct conn *c, const struct segment *s)
{
	struct packet p;
	struct buffer *b = segment_make(s, &p);

	conn_input(c, &p, b);
	while (conn_changed())
		continue;
}

static uint32_t opened(struct conn *c, uint16_t from)
{
	const struct segment syn = { from, FIRST - 1, 0, SYN, "" };
	struct packet p;
	struct buffer *b = segment_make(&syn, &p);

	if (conn_open(c, &p, b) < 0)
		ok(false, "a SYN opens it");
	feed(c, &(const struct segment){ from, FIRST, last_seq + 1, ACK, "" });
	return last_seq + 1;
}

/* All that has come in. */
static const char *heard(struct conn *c)
{
	static char text[256];
	struct iovec iov[16];
	size_t size = 0;
	int n = conn_peek(c, iov, 16);

	for (int i = 0; i < n; i++) {
		memcpy(text + size, iov[i].iov_base, iov[i].iov_len);
		size += iov[i].iov_len;
	}
	text[size] = '\0';
	conn_take(c, size);
	return text;
}

/* Each with the offset of its first byte. Bytes that came again, whatever they
 * are then, are not taken again (RFC 9293, 3.10.7.4); of what came ahead of its
 * turn twice, '?' may be either. */
static const struct {
	const char *name;
	struct {
		uint32_t at;
		const char *text;
	} segment[6];
	const char *stream;
} overlaps[] = {
	{ "in order", { { 0, "abc" }, { 3, "def" } }, "abcdef" },
	{ "twice", { { 0, "abc" }, { 0, "XYZ" }, { 3, "def" } }, "abcdef" },
	{ "the end of one is new",
	  { { 0, "abc" }, { 1, "XXde" }, { 5, "f" } },
	  "abcdef" },
	{ "nothing of one is new", { { 0, "abcdef" }, { 2, "XX" } }, "abcdef" },
	{ "one ahead, then the hole and more",
	  { { 3, "def" }, { 0, "abcXXX" }, { 6, "g" } },
	  "abc???g" },
	{ "one ahead, then the hole and a part of it",
	  { { 3, "def" }, { 0, "abcX" } },
	  "abc?ef" },
	{ "two ahead that overlap",
	  { { 2, "cde" }, { 4, "Xfgh" }, { 0, "ab" } },
	  "abcd?fgh" },
	{ "one ahead inside another",
	  { { 1, "bcdef" }, { 2, "XX" }, { 0, "a" } },
	  "ab??ef" },
	{ "two ahead, one over both, the hole",
	  { { 2, "c" }, { 5, "f" }, { 1, "BCDEFG" }, { 0, "a" } },
	  "aB?DE?G" },
	{ "each behind the next one",
	  { { 4, "e" }, { 3, "d" }, { 2, "c" }, { 1, "b" }, { 0, "a" } },
	  "abcde" },
};

/* Whether one of the segments has `c` there. */
static bool is_offered(unsigned int i, uint32_t at, char c)
{
	for (int n = 0; n < 6 && overlaps[i].segment[n].text; n++) {
		uint32_t first = overlaps[i].segment[n].at;
		const char *text = overlaps[i].segment[n].text;

		if (at >= first && at - first < strlen(text) &&
		    text[at - first] == c)
			return true;
	}
	return false;
}

static bool is_stream(unsigned int i, const char *got)
{
	const char *want = overlaps[i].stream;

	if (strlen(got) != strlen(want))
		return false;
	for (uint32_t at = 0; got[at]; at++)
		if (want[at] == '?' ? !is_offered(i, at, got[at])
				    : want[at] != got[at])
			return false;
	return true;
}

static void segments_feed(struct conn *c, unsigned int i, uint16_t from,
			  uint32_t ack)
{
	for (int n = 0; n < 6 && overlaps[i].segment[n].text; n++) {
		uint32_t at = FIRST + overlaps[i].segment[n].at;
		const char *text = overlaps[i].segment[n].text;

		if (last_ack < at + strlen(text))
			feed(c, &(const struct segment){ from, at, ack, ACK,
							 text });
	}
}

static void overlap_test(unsigned int i, uint16_t from)
{
	struct conn c;
	uint32_t ack = opened(&c, from);
	uint32_t size = (uint32_t)strlen(overlaps[i].stream);
	const char *got;

	/* What was not acknowledged comes once more. */
	for (int round = 0; round < 2; round++)
		segments_feed(&c, i, from, ack);
	got = heard(&c);
	ok(is_stream(i, got), "overlap: %s: \"%s\"", overlaps[i].name, got);
	feed(&c,
	     &(const struct segment){ from, FIRST + size, ack, ACK | FIN, "" });
	ok(c.finished && last_ack == FIRST + size + 1,
	   "overlap: %s: it ends there", overlaps[i].name);
	conn_reset(&c);
}

/* Lets so much time pass as its owner would. */
static void pass(uint64_t *now_ms, uint64_t ms)
{
	for (uint64_t end = *now_ms + ms; *now_ms < end;) {
		*now_ms += CONN_TICK_MS;
		conn_tick(*now_ms);
		while (conn_changed())
			continue;
	}
}

static void keepalive_test(uint64_t *now_ms)
{
	struct conn c, other;
	uint32_t ack = opened(&c, 7), other_ack = opened(&other, 8), probe;

	n_sent = 0;
	pass(now_ms, 590000);
	ok(n_sent == 0, "keep-alive: nothing is said for ten minutes");
	pass(now_ms, 20000);
	probe = last_seq;
	ok(n_sent == 2 && probe == ack - 1 && last_size == 0,
	   "keep-alive: then each is asked (%u packets)", n_sent);
	feed(&other, &(const struct segment){ 8, FIRST, other_ack, ACK, "" });
	pass(now_ms, 240000);
	ok(!c.reset, "keep-alive: asked five times, a minute between");
	pass(now_ms, 120000);
	ok(c.reset && !other.reset,
	   "keep-alive: who does not answer is given up, who did is not");
	conn_leave(&c);
	feed(&other,
	     &(const struct segment){ 8, FIRST, other_ack, ACK, "still" });
	ok(!strcmp(heard(&other), "still"), "keep-alive: and goes on");
	conn_reset(&other);
}

/* Of all segments that came at one time there is one acknowledgement; a single
 * one waits for what may take it along. */
static void batch_test(void)
{
	static const char *const texts[] = { "a", "b", "c", "d", "e" };
	struct conn c;
	uint32_t ack = opened(&c, 10), at = FIRST;

	n_sent = 0;
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		feed(&c,
		     &(const struct segment){ 10, at++, ack, ACK, texts[i] });
	ok(n_sent == 0, "batch: its segments are not answered one by one");
	conn_ack(&c);
	ok(n_sent == 1 && last_ack == at && last_size == 0,
	   "batch: they are together");
	conn_ack(&c);
	feed(&c, &(const struct segment){ 10, at++, ack, ACK, "f" });
	conn_ack(&c);
	ok(n_sent == 1, "batch: one segment alone waits");
	feed(&c, &(const struct segment){ 10, at++, ack, ACK, "g" });
	conn_send(&c, (const uint8_t *)"answer", 6);
	conn_flush(&c);
	conn_ack(&c);
	ok(n_sent == 2 && last_ack == at && last_size == 6,
	   "batch: what is sent anyway acknowledges, nothing else");
	ok(!strcmp(heard(&c), "abcdefg"), "batch: all is heard");
	conn_reset(&c);
}

/* What was sent to who has gone without a word. */
static void unanswered_test(uint64_t *now_ms)
{
	static const uint8_t bytes[100];
	struct conn c;

	opened(&c, 9);
	conn_send(&c, bytes, sizeof(bytes));
	conn_flush(&c);
	n_sent = 0;
	pass(now_ms, 10000);
	ok(n_sent >= 2 && n_sent <= 6 && last_size == sizeof(bytes),
	   "half-open: sent again, ever more slowly (%u)", n_sent);
	pass(now_ms, 1200000);
	ok(c.reset, "half-open: and given up");
	conn_leave(&c);
}

int main(void)
{
	uint64_t now_ms = CONN_QUIET_MS;

	conn_init(sent, timer_needed);
	for (unsigned int i = 0; i < sizeof(overlaps) / sizeof(overlaps[0]);
	     i++)
		overlap_test(i, (uint16_t)(100 + i));
	batch_test();
	keepalive_test(&now_ms);
	unanswered_test(&now_ms);
	return tap_done();
}
