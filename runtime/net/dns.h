/* DNS messages (RFC 1035, 6891), as far as a resolver that asks others must
 * read them. No I/O.
 *
 * Who chose the bytes: a container those of a query, whoever answers on the
 * network those of an answer. Neither may make znet read past the message, and
 * an answer counts only when it is one to the question that was asked. */
#ifndef NET_DNS_H
#define NET_DNS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	DNS_HEADER_SIZE = 12,
	DNS_QUESTION_MAX = 255 + 4,
	DNS_MESSAGE_MAX = 65535,
	DNS_NAME_SIZE = 254, /* as text, with NUL */
	DNS_PLAIN_MAX = 512, /* of an answer to who did not say (EDNS) */
	DNS_TTL_MAX = 86400,
	/* Of a service: the next container has another address. */
	DNS_SERVICE_TTL_S = 5,
};

enum dns_code {
	DNS_OK = 0,
	DNS_FORMAT_ERROR = 1,
	DNS_SERVER_FAILURE = 2,
	DNS_NO_NAME = 3,
	DNS_REFUSED = 5,
};

/* What a query asks. question: the name in lower case, type and class. */
struct dns_query {
	uint16_t id;
	uint16_t answer_max; /* what the asker takes in a datagram */
	uint16_t flags;	     /* RD, CD, EDNS at all in the place of AA, its DO
			      * in that of QR: what makes answers to one
			      * question differ */
	uint16_t question_size;
	uint8_t question[DNS_QUESTION_MAX];
};

/* 0; -EBADMSG, also for what is not one question. */
int dns_query_read(struct dns_query *q, const uint8_t *message, size_t size);

/* Whether the message answers q under identifier id. */
bool dns_answers(const struct dns_query *q, uint16_t id, const uint8_t *message,
		 size_t size);

enum dns_code dns_code(const uint8_t *message);

/* Whether it was cut to fit a datagram. */
bool dns_is_cut(const uint8_t *message);
void dns_cut_set(uint8_t *message);

/* The name as text; false for one that is no host's: its labels have other
 * bytes than a-z, 0-9, - and _. */
bool dns_name(const struct dns_query *q, char out[DNS_NAME_SIZE]);

/* The addresses in an answer, at most max; v4 mapped. Their number, 0 also when
 * the message is none. */
struct dns_found {
	uint8_t address[16];
	uint32_t ttl; /* s */
};
int dns_addresses(const uint8_t *message, size_t size, struct dns_found *found,
		  int max);

/* For how many seconds an answer may be kept: the least TTL of its records,
 * for "there is none" as its SOA record says (RFC 2308); 0: not at all. At most
 * DNS_TTL_MAX; -EBADMSG. */
int dns_ttl(const uint8_t *message, size_t size);

/* Makes an answer that was kept for `seconds` as old as it is; dns_ttl() has
 * accepted it. */
void dns_age(uint8_t *message, size_t size, uint32_t seconds);

void dns_id_set(uint8_t *message, uint16_t id);

/* What is asked for: an address of IPv4, one of IPv6, or something else. */
enum dns_kind { DNS_ADDRESS4, DNS_ADDRESS6, DNS_OTHER };
enum dns_kind dns_kind(const struct dns_query *q);

/* An answer with one address of `size` bytes (4 or 16). out has
 * DNS_ADDRESS_MAX bytes. Returns its size. */
enum { DNS_ADDRESS_MAX = DNS_HEADER_SIZE + DNS_QUESTION_MAX + 12 + 16 };
size_t dns_address(uint8_t *out, const struct dns_query *q,
		   const uint8_t *address, size_t size);

/* An answer with nothing in it but the question: an error, or with `truncated`
 * set the word to come again by TCP. out has DNS_HEADER_SIZE +
 * DNS_QUESTION_MAX bytes. Returns its size. */
enum dns_truncation { DNS_WHOLE, DNS_TRUNCATED };
size_t dns_empty(uint8_t *out, const struct dns_query *q, enum dns_code code,
		 enum dns_truncation truncation);

#endif
