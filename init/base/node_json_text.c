#define _GNU_SOURCE
#include "node_json_text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>

#define MEMORY_MIN_BYTES (UINT64_C(1) << 20)
#define MEMORY_MAX_BYTES (UINT64_C(1) << 40)

static bool is_lower(char c)
{
	return c >= 'a' && c <= 'z';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

static bool is_alnum(char c)
{
	return is_lower(c) || is_digit(c) || (c >= 'A' && c <= 'Z');
}

/* Printable ASCII without the space. */
static bool is_graphic(char c)
{
	return c > ' ' && c < 127;
}

static struct in6_addr address_in6(const struct node_address *a)
{
	struct in6_addr in6;

	memcpy(&in6, a->bytes, sizeof(in6));
	return in6;
}

bool node_address_is_v4(const struct node_address *a)
{
	struct in6_addr in6 = address_in6(a);

	return IN6_IS_ADDR_V4MAPPED(&in6);
}

/* An address that names one host: what 0.0.0.0, 127.x, multicast and the
 * broadcast address do not. */
static bool address_is_host(const struct node_address *a)
{
	struct in6_addr in6 = address_in6(a);

	if (node_address_is_v4(a))
		return a->bytes[12] != 0 && a->bytes[12] != 127 &&
		       a->bytes[12] < 224;
	return !IN6_IS_ADDR_UNSPECIFIED(&in6) && !IN6_IS_ADDR_LOOPBACK(&in6) &&
	       !IN6_IS_ADDR_MULTICAST(&in6) && !IN6_IS_ADDR_V4COMPAT(&in6);
}

int node_text_address(struct span s, struct node_address *out)
{
	struct node_address a = { .prefix = 128 };
	char text[INET6_ADDRSTRLEN];

	if (span_copy(text, sizeof(text), s) < 0)
		return -EINVAL;
	if (inet_pton(AF_INET, text, a.bytes + 12) == 1) {
		a.bytes[10] = a.bytes[11] = 0xff;
		a.prefix = 32;
	} else if (inet_pton(AF_INET6, text, a.bytes) != 1 ||
		   node_address_is_v4(&a)) {
		return -EINVAL;
	}
	if (!address_is_host(&a))
		return -EINVAL;
	*out = a;
	return 0;
}

int node_text_cidr(struct span s, struct node_address *out)
{
	struct node_address a;
	struct span address;
	uint64_t prefix;

	if (!memchr(s.data, '/', s.size) || !span_cut(&s, '/', &address) ||
	    node_text_address(address, &a) < 0)
		return -EINVAL;
	if (span_u64(s, a.prefix, &prefix) < 0 || prefix == 0)
		return -EINVAL;
	a.prefix = (uint8_t)prefix;
	*out = a;
	return 0;
}

/* Six pairs of hexadecimal digits; out is lower case. */
static int mac_copy(struct span s, char out[32])
{
	if (s.size != 17)
		return -EINVAL;
	for (size_t i = 0; i < s.size; i++) {
		char c = s.data[i];

		if (c >= 'A' && c <= 'F')
			c += 'a' - 'A';
		if (i % 3 == 2 ? c != ':'
			       : !is_digit(c) && !(c >= 'a' && c <= 'f'))
			return -EINVAL;
		out[i] = c;
	}
	out[s.size] = '\0';
	return 0;
}

int node_text_match(struct span s, char out[32])
{
	if (memchr(s.data, ':', s.size))
		return mac_copy(s, out);
	/* What the kernel takes as a name: IFNAMSIZ - 1 bytes, and a name is
	 * also a file in /proc and /sys. */
	if (s.size == 0 || s.size > 15 || s.data[0] == '.')
		return -EINVAL;
	for (size_t i = 0; i < s.size; i++) {
		if (!is_graphic(s.data[i]) || s.data[i] == '/')
			return -EINVAL;
	}
	return span_copy(out, 32, s);
}

int node_text_password(struct span s, char out[128])
{
	if (s.size < 4 || s.size > 127 || s.data[0] != '$' ||
	    !memchr(s.data + 1, '$', s.size - 1))
		return -EINVAL;
	for (size_t i = 0; i < s.size; i++) {
		if (!is_graphic(s.data[i]) || s.data[i] == ':')
			return -EINVAL;
	}
	return span_copy(out, 128, s);
}

/* Every component must be a plain name, so that path_open_beneath() never
 * meets one that means something else. */
static bool path_is_plain(struct span path)
{
	struct span part;

	if (path.size == 0 || path.data[path.size - 1] == '/')
		return false;
	while (span_cut(&path, '/', &part)) {
		if (part.size == 0 || span_is(part, ".") || span_is(part, ".."))
			return false;
		for (size_t i = 0; i < part.size; i++) {
			if (!is_graphic(part.data[i]) || part.data[i] == ':')
				return false;
		}
	}
	return true;
}

/* The tag of an image: <reference> of the OCI distribution specification. */
static bool tag_valid(struct span tag)
{
	if (tag.size == 0 || tag.data[0] == '.' || tag.data[0] == '-')
		return false;
	for (size_t i = 0; i < tag.size; i++) {
		char c = tag.data[i];

		if (!is_alnum(c) && c != '_' && c != '.' && c != '-')
			return false;
	}
	return true;
}

int node_text_image(struct span s, char image[200], char tag[64])
{
	const char *colon = memchr(s.data, ':', s.size);
	struct span path = s, after = { s.data + s.size, 0 };

	if (colon) {
		path.size = (size_t)(colon - s.data);
		after.data = colon + 1;
		after.size = s.size - path.size - 1;
		if (!tag_valid(after))
			return -EINVAL;
	}
	if (!path_is_plain(path) || path.size > 199 || after.size > 63)
		return -EINVAL;
	span_copy(image, 200, path);
	span_copy(tag, 64, after);
	return 0;
}

int node_text_file(struct span s, char file[200])
{
	return path_is_plain(s) && s.size < 200 ? span_copy(file, 200, s)
						: -EINVAL;
}

/* Length of the port at the end with its colon: 0 when there is none. */
static size_t host_port(struct span s)
{
	const char *colon = memrchr(s.data, ':', s.size);
	const char *bracket = memchr(s.data, ']', s.size);

	return colon && colon > bracket ? s.size - (size_t)(colon - s.data) : 0;
}

int node_text_host(struct span s, char host[NODE_HOST_SIZE])
{
	size_t port_size = s.size ? host_port(s) : 0;
	struct span name = { s.data, s.size - port_size };
	struct span digits;
	struct node_address address;
	uint64_t port;

	if (port_size) {
		digits = (struct span){ name.data + name.size + 1,
					port_size - 1 };
		if (span_u64(digits, UINT16_MAX, &port) < 0 || !port)
			return -EINVAL;
	}
	if (name.size == 0 || name.size > 253)
		return -EINVAL;
	if (name.data[0] == '[') {
		struct span inner = { name.data + 1, name.size - 2 };

		if (name.data[name.size - 1] != ']' ||
		    node_text_address(inner, &address) < 0 ||
		    node_address_is_v4(&address))
			return -EINVAL;
		return span_copy(host, NODE_HOST_SIZE, s);
	}
	for (size_t i = 0; i < name.size; i++) {
		char c = name.data[i];

		if (!is_alnum(c) && (i == 0 || (c != '.' && c != '-')))
			return -EINVAL;
	}
	return span_copy(host, NODE_HOST_SIZE, s);
}

int node_text_port(struct span s, struct node_port *out)
{
	uint64_t host, container;
	struct span first;

	if (!span_cut(&s, ':', &first) ||
	    span_u64(first, UINT16_MAX, &host) < 0 ||
	    span_u64(s, UINT16_MAX, &container) < 0)
		return -EINVAL;
	if (host == 0 || container == 0)
		return -EINVAL;
	*out = (struct node_port){ (uint16_t)host, (uint16_t)container };
	return 0;
}

int node_text_memory(struct span s, uint64_t *bytes)
{
	unsigned int shift = 0;
	uint64_t n;

	if (s.size == 0)
		return -EINVAL;
	switch (s.data[s.size - 1]) {
	case 'k':
	case 'K':
		shift = 10;
		break;
	case 'm':
	case 'M':
		shift = 20;
		break;
	case 'g':
	case 'G':
		shift = 30;
		break;
	}
	if (shift)
		s.size--;
	if (span_u64(s, MEMORY_MAX_BYTES >> shift, &n) < 0 ||
	    n << shift < MEMORY_MIN_BYTES)
		return -EINVAL;
	*bytes = n << shift;
	return 0;
}

bool node_text_environment(struct span name)
{
	if (name.size == 0)
		return false;
	for (size_t i = 0; i < name.size; i++) {
		if (!is_graphic(name.data[i]) || name.data[i] == '=')
			return false;
	}
	return true;
}
