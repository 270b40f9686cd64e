#include "dns.h"

#include <errno.h>
#include <string.h>

#include "octets.h"

enum {
	TYPE_A = 1,
	TYPE_SOA = 6,
	TYPE_AAAA = 28,
	CLASS_IN = 1,
	POINTER_MASK = 0x3fff,
	POINTER_TO_QUESTION = 0xc000 | DNS_HEADER_SIZE,
	TYPE_OPT = 41,
	NAME_MAX_BYTES = 255,
	LABEL_MAX = 63,
	RECORD_FIXED = 10, /* type, class, TTL, length */
	FLAG_QR = 0x8000,
	FLAG_OPCODE = 0x7800,
	FLAG_AA = 0x0400,
	FLAG_TC = 0x0200,
	FLAG_RD = 0x0100,
	FLAG_RA = 0x0080,
	FLAG_CD = 0x0010,
	EDNS_DO = 0x8000,
};

struct message {
	const uint8_t *data;
	size_t size, at;
};

static uint8_t lower(uint8_t c)
{
	return c >= 'A' && c <= 'Z' ? (uint8_t)(c + 'a' - 'A') : c;
}

/* The first question of a message is never compressed. The name's bytes go to
 * out, whose size is returned, with type and class; or -EBADMSG. */
static int question_read(struct message *m, uint8_t out[DNS_QUESTION_MAX])
{
	size_t n = 0;

	for (;;) {
		size_t label = m->at < m->size ? m->data[m->at] : LABEL_MAX + 1;

		if (label > LABEL_MAX || m->size - m->at < label + 1 ||
		    n + label + 1 > NAME_MAX_BYTES)
			return -EBADMSG;
		out[n++] = (uint8_t)label;
		for (size_t i = 1; i <= label; i++)
			out[n++] = lower(m->data[m->at + i]);
		m->at += label + 1;
		if (label == 0)
			break;
	}
	if (m->size - m->at < 4)
		return -EBADMSG;
	memcpy(out + n, m->data + m->at, 4);
	m->at += 4;
	return (int)n + 4;
}

/* Past a name, which may end in a pointer: to what was before it (RFC 1035,
 * 4.1.4), so whoever follows it comes to an end. */
static int name_skip(struct message *m)
{
	const size_t start = m->at;

	while (m->at < m->size) {
		size_t label = m->data[m->at];
		size_t step = label > LABEL_MAX ? 2 : label + 1;

		if (label > LABEL_MAX && label < 0xc0)
			return -EBADMSG;
		if (m->size - m->at < step)
			return -EBADMSG;
		if (label > LABEL_MAX &&
		    (get16(m->data + m->at) & POINTER_MASK) >= start)
			return -EBADMSG;
		m->at += step;
		if (label == 0 || label > LABEL_MAX)
			return 0;
	}
	return -EBADMSG;
}

struct record {
	uint16_t type;
	size_t ttl_at; /* offset */
	size_t data_at, data_size;
};

static int record_read(struct message *m, struct record *r)
{
	const uint8_t *fixed;

	if (name_skip(m) < 0 || m->size - m->at < RECORD_FIXED)
		return -EBADMSG;
	fixed = m->data + m->at;
	r->type = get16(fixed);
	r->ttl_at = m->at + 4;
	r->data_at = m->at + RECORD_FIXED;
	r->data_size = get16(fixed + 8);
	if (m->size - r->data_at < r->data_size)
		return -EBADMSG;
	m->at = r->data_at + r->data_size;
	return 0;
}

static unsigned int record_count(const uint8_t *data)
{
	return (unsigned int)get16(data + 6) + get16(data + 8) +
	       get16(data + 10);
}

int dns_query_read(struct dns_query *q, const uint8_t *data, size_t size)
{
	struct message m = { data, size, DNS_HEADER_SIZE };
	struct record r;
	uint16_t flags;
	int n;

	*q = (struct dns_query){ .answer_max = DNS_PLAIN_MAX };
	if (size < DNS_HEADER_SIZE)
		return -EBADMSG;
	flags = get16(data + 2);
	q->id = get16(data);
	q->flags = flags & (FLAG_RD | FLAG_CD);
	if (flags & (FLAG_QR | FLAG_OPCODE) || get16(data + 4) != 1)
		return -EBADMSG;
	n = question_read(&m, q->question);
	if (n < 0)
		return n;
	q->question_size = (uint16_t)n;
	for (unsigned int i = record_count(data); i; i--) {
		if (record_read(&m, &r) < 0)
			return -EBADMSG;
		if (r.type != TYPE_OPT)
			continue;
		/* The class is the size, the TTL has flags. */
		if (get16(data + r.ttl_at - 2) > DNS_PLAIN_MAX)
			q->answer_max = get16(data + r.ttl_at - 2);
		q->flags |= FLAG_AA;
		q->flags |= get16(data + r.ttl_at + 2) & EDNS_DO;
	}
	return 0;
}

bool dns_answers(const struct dns_query *q, uint16_t id, const uint8_t *data,
		 size_t size)
{
	struct message m = { data, size, DNS_HEADER_SIZE };
	uint8_t question[DNS_QUESTION_MAX];

	if (size < DNS_HEADER_SIZE || get16(data) != id ||
	    !(get16(data + 2) & FLAG_QR) || get16(data + 4) != 1)
		return false;
	return question_read(&m, question) == q->question_size &&
	       !memcmp(question, q->question, q->question_size);
}

enum dns_code dns_code(const uint8_t *data)
{
	return (enum dns_code)(data[3] & 15);
}

bool dns_is_cut(const uint8_t *data)
{
	return get16(data + 2) & FLAG_TC;
}

void dns_cut_set(uint8_t *data)
{
	put16(data + 2, get16(data + 2) | FLAG_TC);
}

static bool is_host_byte(uint8_t c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' ||
	       c == '_';
}

/* A label with a dot in it would look like two. */
bool dns_name(const struct dns_query *q, char out[DNS_NAME_SIZE])
{
	const uint8_t *p = q->question;
	size_t n = 0;

	while (*p) {
		if (n)
			out[n++] = '.';
		for (uint8_t label = *p++; label; label--, p++) {
			if (!is_host_byte(*p))
				return false;
			out[n++] = (char)*p;
		}
	}
	out[n] = '\0';
	return n > 0;
}

static bool address_of(const uint8_t *data, const struct record *r,
		       uint8_t address[16])
{
	bool v4 = r->type == TYPE_A && r->data_size == 4;

	if (get16(data + r->ttl_at - 2) != CLASS_IN ||
	    !(v4 || (r->type == TYPE_AAAA && r->data_size == 16)))
		return false;
	memset(address, 0, 16);
	address[10] = address[11] = v4 ? 0xff : 0;
	memcpy(address + (v4 ? 12 : 0), data + r->data_at, r->data_size);
	return true;
}

int dns_addresses(const uint8_t *data, size_t size, struct dns_found *found,
		  int max)
{
	struct message m = { data, size, DNS_HEADER_SIZE };
	uint8_t question[DNS_QUESTION_MAX];
	struct record r;
	int n = 0;

	if (size < DNS_HEADER_SIZE || question_read(&m, question) < 0)
		return 0;
	for (unsigned int i = get16(data + 6); i && n < max; i--) {
		if (record_read(&m, &r) < 0)
			return 0;
		found[n].ttl = get32(data + r.ttl_at);
		if (found[n].ttl > DNS_TTL_MAX)
			found[n].ttl = DNS_TTL_MAX;
		n += address_of(data, &r, found[n].address);
	}
	return n;
}

/* The last field of an SOA record, for how long its zone lacks a name. */
static uint32_t soa_least(const uint8_t *data, const struct record *r)
{
	uint32_t ttl = get32(data + r->ttl_at), least;

	if (r->data_size < 22)
		return 0;
	least = get32(data + r->data_at + r->data_size - 4);
	return least < ttl ? least : ttl;
}

int dns_ttl(const uint8_t *data, size_t size)
{
	struct message m = { data, size, DNS_HEADER_SIZE };
	uint8_t question[DNS_QUESTION_MAX];
	bool is_negative = get16(data + 6) == 0, has_soa = false;
	uint32_t least = DNS_TTL_MAX, ttl;
	struct record r;

	if (question_read(&m, question) < 0)
		return -EBADMSG;
	for (unsigned int i = record_count(data); i; i--) {
		if (record_read(&m, &r) < 0)
			return -EBADMSG;
		if (r.type == TYPE_OPT)
			continue;
		ttl = get32(data + r.ttl_at);
		if (r.type == TYPE_SOA && is_negative) {
			ttl = soa_least(data, &r);
			has_soa = true;
		}
		if (ttl < least)
			least = ttl;
	}
	if (get16(data + 2) & FLAG_TC || (is_negative && !has_soa))
		return 0;
	return (int)least;
}

void dns_age(uint8_t *data, size_t size, uint32_t seconds)
{
	struct message m = { data, size, DNS_HEADER_SIZE };
	uint8_t question[DNS_QUESTION_MAX];
	struct record r;

	if (question_read(&m, question) < 0)
		return;
	for (unsigned int i = record_count(data); i; i--) {
		uint32_t ttl;

		if (record_read(&m, &r) < 0)
			return;
		ttl = get32(data + r.ttl_at);
		if (r.type != TYPE_OPT)
			put32(data + r.ttl_at,
			      ttl > seconds ? ttl - seconds : 0);
	}
}

void dns_id_set(uint8_t *data, uint16_t id)
{
	put16(data, id);
}

size_t dns_empty(uint8_t *out, const struct dns_query *q, enum dns_code code,
		 enum dns_truncation truncation)
{
	memset(out, 0, DNS_HEADER_SIZE);
	put16(out, q->id);
	put16(out + 2, FLAG_QR | FLAG_RA | (q->flags & (FLAG_RD | FLAG_CD)) |
			       (truncation == DNS_TRUNCATED ? FLAG_TC : 0) |
			       (unsigned int)code);
	put16(out + 4, 1);
	memcpy(out + DNS_HEADER_SIZE, q->question, q->question_size);
	return DNS_HEADER_SIZE + (size_t)q->question_size;
}

enum dns_kind dns_kind(const struct dns_query *q)
{
	const uint8_t *end = q->question + q->question_size;

	if (get16(end - 2) != CLASS_IN)
		return DNS_OTHER;
	if (get16(end - 4) == TYPE_A)
		return DNS_ADDRESS4;
	return get16(end - 4) == TYPE_AAAA ? DNS_ADDRESS6 : DNS_OTHER;
}

size_t dns_address(uint8_t *out, const struct dns_query *q,
		   const uint8_t *address, size_t size)
{
	size_t at = dns_empty(out, q, DNS_OK, DNS_WHOLE);
	uint8_t *record = out + at;

	put16(out + 6, 1);
	put16(record, POINTER_TO_QUESTION);
	put16(record + 2, size == 4 ? TYPE_A : TYPE_AAAA);
	put16(record + 4, CLASS_IN);
	put32(record + 6, DNS_SERVICE_TTL_S);
	put16(record + 10, (unsigned int)size);
	memcpy(record + 12, address, size);
	return at + 12 + size;
}
