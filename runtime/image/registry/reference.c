#define _GNU_SOURCE /* memrchr */
#include "reference.h"

#include <errno.h>
#include <stdio.h>

static bool is_lower_or_digit(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_alnum(char c)
{
	return is_lower_or_digit(c) || (c >= 'A' && c <= 'Z');
}

static bool port_valid(struct span port)
{
	uint64_t number;

	return span_u64(port, 65535, &number) == 0 && number > 0;
}

/* "[2001:db8::1]" with an optional port; the address itself is checked by who
 * dials it. */
static bool host_v6_valid(struct span host)
{
	const char *end = memchr(host.data, ']', host.size);
	size_t n = end ? (size_t)(end - host.data) + 1 : 0;

	if (n < 4)
		return false;
	for (size_t i = 1; i < n - 1; i++) {
		char c = host.data[i];

		if (c != ':' && c != '.' && !(c >= 'a' && c <= 'f') &&
		    !(c >= '0' && c <= '9'))
			return false;
	}
	if (n == host.size)
		return true;
	return host.data[n] == ':' &&
	       port_valid(
		       (struct span){ host.data + n + 1, host.size - n - 1 });
}

bool reference_host_valid(struct span host)
{
	struct span name;

	if (host.size >= REFERENCE_HOST_SIZE || host.size == 0)
		return false;
	if (host.data[0] == '[')
		return host_v6_valid(host);
	if (memchr(host.data, ':', host.size)) {
		span_cut(&host, ':', &name);
		if (!port_valid(host))
			return false;
	} else {
		name = host;
	}
	if (name.size == 0 || name.size > 253 || !is_alnum(name.data[0]))
		return false;
	for (size_t i = 0; i < name.size; i++)
		if (!is_alnum(name.data[i]) && name.data[i] != '.' &&
		    name.data[i] != '-')
			return false;
	return true;
}

/* Length of a separator within a component: ".", "_", "__" or hyphens. */
static size_t separator(struct span s)
{
	size_t n = 0;

	while (n < s.size && s.data[n] == '-')
		n++;
	if (n > 0 || s.size == 0)
		return n;
	if (s.data[0] == '.')
		return 1;
	if (s.data[0] != '_')
		return 0;
	return s.size > 1 && s.data[1] == '_' ? 2 : 1;
}

static bool component_valid(struct span part)
{
	while (part.size > 0 && is_lower_or_digit(part.data[0])) {
		size_t n = 0;

		while (n < part.size && is_lower_or_digit(part.data[n]))
			n++;
		part.data += n;
		part.size -= n;
		if (part.size == 0)
			return true;
		n = separator(part);
		if (n == 0)
			return false;
		part.data += n;
		part.size -= n;
	}
	return false;
}

/* "HOST:PORT/..." within the registry of a hub: a hub has what it pulled from
 * other registries under such names. Cuts the host off. */
static void host_cut(struct span *repository)
{
	struct span rest = *repository, host;

	if (span_cut(&rest, '/', &host) && rest.data && host.data[0] != '[' &&
	    memchr(host.data, ':', host.size) && reference_host_valid(host))
		*repository = rest;
}

bool reference_repository_valid(struct span repository)
{
	struct span part;

	if (repository.size == 0 ||
	    repository.size >= REFERENCE_REPOSITORY_SIZE ||
	    repository.data[repository.size - 1] == '/')
		return false;
	host_cut(&repository);
	while (span_cut(&repository, '/', &part))
		if (!component_valid(part))
			return false;
	return true;
}

bool reference_tag_valid(struct span tag)
{
	if (tag.size == 0 || tag.size >= REFERENCE_TAG_SIZE ||
	    (!is_alnum(tag.data[0]) && tag.data[0] != '_'))
		return false;
	for (size_t i = 1; i < tag.size; i++)
		if (!is_alnum(tag.data[i]) && tag.data[i] != '_' &&
		    tag.data[i] != '.' && tag.data[i] != '-')
			return false;
	return true;
}

static bool is_host(struct span first)
{
	return span_is(first, "localhost") ||
	       memchr(first.data, '.', first.size) ||
	       memchr(first.data, ':', first.size);
}

/* Takes a registry off the front of *rest, where one is said. */
static int host_take(struct span *rest, struct reference *reference)
{
	const char *slash = memchr(rest->data, '/', rest->size);
	struct span host = { rest->data,
			     slash ? (size_t)(slash - rest->data) : 0 };

	if (slash && is_host(host)) {
		if (!reference_host_valid(host))
			return -EINVAL;
		rest->data += host.size + 1;
		rest->size -= host.size + 1;
	} else {
		host.size = 0;
	}
	return span_copy(reference->host, sizeof(reference->host), host);
}

/* Takes "@sha256:HEX" and ":TAG" off the end of *rest. */
static int version_take(struct span *rest, struct reference *reference)
{
	const char *at = memchr(rest->data, '@', rest->size), *colon, *slash;
	struct span tag;

	if (at) {
		struct span digest = {
			at + 1, rest->size - 1 - (size_t)(at - rest->data)
		};
		int r = digest_parse(digest, &reference->digest);

		if (r)
			return r;
		reference->has_digest = true;
		rest->size = (size_t)(at - rest->data);
	}
	slash = memrchr(rest->data, '/', rest->size);
	colon = memrchr(rest->data, ':', rest->size);
	if (slash && colon && colon < slash)
		colon = NULL;
	tag = colon ? (struct span){ colon + 1,
				     rest->size - 1 -
					     (size_t)(colon - rest->data) }
		    : span_of(at ? "" : "latest");
	if (colon)
		rest->size = (size_t)(colon - rest->data);
	if ((colon || !at) && !reference_tag_valid(tag))
		return -EINVAL;
	return span_copy(reference->tag, sizeof(reference->tag), tag);
}

int reference_parse(struct span text, struct reference *reference)
{
	bool bare;
	int r;

	*reference = (struct reference){ 0 };
	if (memchr(text.data, '\0', text.size))
		return -EINVAL;
	r = host_take(&text, reference);
	if (!r)
		r = version_take(&text, reference);
	if (r)
		return r;
	bare = !reference->host[0] && !memchr(text.data, '/', text.size);
	if (!reference_repository_valid(text) ||
	    text.size + (bare ? 8 : 0) >= REFERENCE_REPOSITORY_SIZE)
		return -EINVAL;
	snprintf(reference->repository, sizeof(reference->repository), "%s%.*s",
		 bare ? "library/" : "", (int)text.size, text.data);
	return 0;
}
