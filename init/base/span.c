#include "span.h"

#include <errno.h>

bool span_cut(struct span *rest, char separator, struct span *token)
{
	const char *end;

	if (!rest->data)
		return false;
	end = memchr(rest->data, separator, rest->size);
	if (!end) {
		*token = *rest;
		*rest = (struct span){ NULL, 0 };
		return true;
	}
	token->data = rest->data;
	token->size = (size_t)(end - rest->data);
	rest->data = end + 1;
	rest->size -= token->size + 1;
	return true;
}

int span_copy(char *dst, size_t dst_size, struct span s)
{
	dst[0] = '\0';
	if (s.size >= dst_size)
		return -ENAMETOOLONG;
	if (s.size && memchr(s.data, '\0', s.size))
		return -EINVAL;
	if (s.size)
		memcpy(dst, s.data, s.size);
	dst[s.size] = '\0';
	return 0;
}

int span_u64(struct span s, uint64_t max, uint64_t *value)
{
	uint64_t v = 0;

	if (!s.size)
		return -EINVAL;
	for (size_t i = 0; i < s.size; i++) {
		unsigned digit = (unsigned char)s.data[i] - (unsigned)'0';

		if (digit > 9)
			return -EINVAL;
		if (__builtin_mul_overflow(v, (uint64_t)10, &v) ||
		    __builtin_add_overflow(v, (uint64_t)digit, &v))
			return -ERANGE;
	}
	if (v > max)
		return -ERANGE;
	*value = v;
	return 0;
}

int span_seconds(struct span s, uint64_t *seconds)
{
	static const struct {
		char unit;
		uint64_t seconds;
	} units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 } };
	uint64_t factor = 1;
	int r;

	for (size_t i = 0; s.size && i < 4; i++)
		if (s.data[s.size - 1] == units[i].unit) {
			factor = units[i].seconds;
			s.size--;
			break;
		}
	r = span_u64(s, 366 * UINT64_C(86400) / factor, seconds);
	if (r == 0)
		*seconds *= factor;
	return r;
}

bool id_valid(struct span s)
{
	if (s.size < 1 || s.size > 63)
		return false;
	for (size_t i = 0; i < s.size; i++) {
		char c = s.data[i];

		if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') &&
		    c != '-')
			return false;
	}
	return true;
}

size_t text_copy(char *dst, size_t size, const char *src)
{
	size_t n = strlen(src);
	size_t kept = n < size ? n : size - 1;

	memcpy(dst, src, kept);
	dst[kept] = '\0';
	return n;
}
