/* Any bytes as a query, and as an answer; what was accepted can be made older
 * and stays what it was. */
#include <stdlib.h>
#include <string.h>

#include "net/dns.h"
#include "net/upstream.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t empty[DNS_HEADER_SIZE + DNS_QUESTION_MAX];
	struct dns_query q;
	struct upstream u;
	uint8_t *copy;
	int ttl;

	upstream_read(&u, (const char *)data, size);
	if (dns_query_read(&q, data, size) == 0 &&
	    dns_empty(empty, &q, DNS_REFUSED, DNS_WHOLE) > sizeof(empty))
		abort();
	if (size < DNS_HEADER_SIZE)
		return 0;
	copy = malloc(size);
	if (!copy)
		return 0;
	memcpy(copy, data, size);
	ttl = dns_ttl(copy, size);
	if (ttl >= 0) {
		dns_age(copy, size, 1);
		if (dns_ttl(copy, size) > ttl)
			abort();
	}
	dns_answers(&q, q.id, copy, size);
	free(copy);
	return 0;
}
