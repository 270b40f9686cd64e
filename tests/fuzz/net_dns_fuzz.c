/* Any bytes as a query, and as an answer; what was accepted can be made older
 * and stays what it was, and what is made of a query answers it. */
#include <stdlib.h>
#include <string.h>

#include "net/dns.h"
#include "net/upstream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FOUND_MAX = 8 };

static void names_check(const struct dns_query *q)
{
	char name[DNS_NAME_SIZE];

	if (dns_name(q, name) && strlen(name) >= sizeof(name))
		abort();
}

static void answers_check(const struct dns_query *q)
{
	static const uint8_t address[16] = { 0xfd, 1 };
	uint8_t empty[DNS_HEADER_SIZE + DNS_QUESTION_MAX];
	uint8_t out[DNS_ADDRESS_MAX];
	struct dns_found found[FOUND_MAX];
	size_t size = dns_kind(q) == DNS_ADDRESS4 ? 4 : 16, n;

	n = dns_empty(empty, q, DNS_REFUSED, DNS_TRUNCATED);
	if (n > sizeof(empty) || !dns_answers(q, q->id, empty, n) ||
	    dns_code(empty) != DNS_REFUSED || !dns_is_cut(empty))
		abort();
	if (dns_kind(q) == DNS_OTHER)
		return;
	n = dns_address(out, q, address, size);
	if (n > sizeof(out) || !dns_answers(q, q->id, out, n) ||
	    dns_ttl(out, n) != DNS_SERVICE_TTL_S ||
	    dns_addresses(out, n, found, FOUND_MAX) != 1 ||
	    memcmp(found[0].address + 16 - size, address, size) != 0)
		abort();
}

static void message_check(uint8_t *copy, size_t size)
{
	struct dns_found found[FOUND_MAX];
	int ttl = dns_ttl(copy, size);
	int n = dns_addresses(copy, size, found, FOUND_MAX);

	if (n < 0 || n > FOUND_MAX)
		abort();
	for (int i = 0; i < n; i++)
		if (found[i].ttl > DNS_TTL_MAX)
			abort();
	if (ttl < 0)
		return;
	dns_age(copy, size, 1);
	if (dns_ttl(copy, size) > ttl ||
	    dns_addresses(copy, size, found, FOUND_MAX) != n)
		abort();
	dns_cut_set(copy);
	if (!dns_is_cut(copy) || dns_ttl(copy, size) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct dns_query q;
	struct upstream u;
	uint8_t *copy;

	upstream_read(&u, (const char *)data, size);
	if (dns_query_read(&q, data, size) == 0) {
		names_check(&q);
		answers_check(&q);
	}
	if (size < DNS_HEADER_SIZE)
		return 0;
	copy = malloc(size);
	if (!copy)
		return 0;
	memcpy(copy, data, size);
	dns_answers(&q, q.id, copy, size);
	message_check(copy, size);
	free(copy);
	return 0;
}
