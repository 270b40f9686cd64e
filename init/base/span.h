/* A run of bytes that somebody else owns; never NUL-terminated. */
#ifndef BASE_SPAN_H
#define BASE_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct span {
	const char *data;
	size_t size;
};

static inline struct span span_of(const char *text)
{
	return (struct span){ text, strlen(text) };
}

static inline bool span_is(struct span s, const char *text)
{
	return s.size == strlen(text) && memcmp(s.data, text, s.size) == 0;
}

/* Cuts the next token that ends at `separator` off the front of *rest.
 * False when *rest is used up; an empty token between two separators counts.
 */
bool span_cut(struct span *rest, char separator, struct span *token);

/* Copies s with a terminating NUL. -ENAMETOOLONG when it does not fit with its
 * NUL, -EINVAL when s holds a NUL byte; dst is "" then. */
int span_copy(char *dst, size_t dst_size, struct span s);

/* Decimal digits only, no sign, no white space. 0, -EINVAL or -ERANGE (above
 * max). */
int span_u64(struct span s, uint64_t max, uint64_t *value);

/* A time as people write it, in seconds: "90", "15m", "24h", "7d"; at most a
 * year. 0, -EINVAL or -ERANGE. */
int span_seconds(struct span s, uint64_t *seconds);

/* An identifier of DESIGN §11: [a-z0-9-]{1,63}. */
bool id_valid(struct span s);

/* Copies src into dst like strlcpy: cut at size - 1, always terminated.
 * Returns strlen(src). */
size_t text_copy(char *dst, size_t size, const char *src);

#endif
