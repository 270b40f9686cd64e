#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "registry.h"
#include "upstream.h"

/* "bytes=FIRST-", "bytes=FIRST-LAST" or "bytes=-SUFFIX"; anything else is as if
 * not said, as RFC 9110 allows. -ERANGE beyond the end. */
static int range_parse(const char *field, uint64_t size,
		       struct registry_range *range)
{
	struct span rest, word;
	uint64_t first, last = size - 1, n;

	*range = (struct registry_range){ 0, size, false };
	if (!field || strncmp(field, "bytes=", 6))
		return 0;
	rest = span_of(field + 6);
	if (!span_cut(&rest, '-', &word) || !rest.data)
		return 0;
	if (!word.size) {
		if (span_u64(rest, INT64_MAX, &n) < 0)
			return 0;
		if (!n)
			return -ERANGE;
		first = n < size ? size - n : 0;
	} else if (span_u64(word, INT64_MAX, &first) < 0 ||
		   (rest.size && span_u64(rest, INT64_MAX, &last) < 0)) {
		return 0;
	}
	if (first >= size || last < first)
		return -ERANGE;
	if (last >= size)
		last = size - 1;
	*range = (struct registry_range){ first, last - first + 1, true };
	return 0;
}

void registry_blob_reply(struct registry_call *call, uint64_t size,
			 const struct registry_range *range,
			 struct http_body body)
{
	char content_range[80];
	struct http_header headers[5] = {
		{ "content-type", "application/octet-stream" },
		{ "docker-content-digest", call->reference },
		{ "accept-ranges", "bytes" },
		{ "cache-control", "max-age=31536000, immutable" },
		{ "content-range", content_range },
	};

	snprintf(content_range, sizeof(content_range), "bytes %llu-%llu/%llu",
		 (unsigned long long)range->first,
		 (unsigned long long)(range->first + range->n - 1),
		 (unsigned long long)size);
	http_reply(call->request, range->partial ? 206 : 200, headers,
		   range->partial ? 5 : 4, body);
}

bool registry_range(struct registry_call *call, uint64_t size,
		    struct registry_range *range)
{
	if (range_parse(http_header(call->request, "range"), size, range) == 0)
		return true;
	registry_fail(call->request, 416, "RANGE_INVALID",
		      "beyond the end of the blob");
	return false;
}

static void blob_gone(struct http_request *request, bool complete)
{
	struct registry_call *call = request->user;

	if (complete)
		blob_check(call->hub->blobs, &call->digest);
	registry_call_gone(call);
}

static void blob_send(struct registry_call *call, int fd, uint64_t size,
		      const struct registry_range *range)
{
	static const struct http_request_on on = { .gone = blob_gone };

	if (range->first + range->n == size &&
	    strcmp(call->request->method, "HEAD"))
		call->request->on = &on;
	registry_blob_reply(call, size, range,
			    http_file(fd, range->first, range->n));
}

void registry_blob_get(struct registry_call *call)
{
	struct registry_range range;
	uint64_t size;
	autoclose int fd = -1;

	if (digest_parse(span_of(call->reference), &call->digest) < 0) {
		registry_fail(call->request, 400, "DIGEST_INVALID",
			      "want sha256: and 64 hex digits");
		return;
	}
	/* Whoever is told that it is there may refer to it. */
	if (blob_stat(call->hub->blobs, &call->digest, &size) == 0)
		fd = blob_open(call->hub->blobs, &call->digest, &size);
	if (fd < 0 && upstream_named(span_of(call->repo)))
		cache_blob_get(call, &call->digest);
	else if (fd < 0)
		registry_fail(call->request, 404, "BLOB_UNKNOWN",
			      "no such blob");
	else if (registry_range(call, size, &range))
		blob_send(call, fd_take(&fd), size, &range);
}
