#include "base64.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

/* -1: not a digit. */
static int digit_of(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+' || c == '-')
		return 62;
	return c == '/' || c == '_' ? 63 : -1;
}

static struct span without_padding(struct span s)
{
	if (s.size % 4 != 0)
		return s;
	for (int i = 0; i < 2 && s.size && s.data[s.size - 1] == '='; i++)
		s.size--;
	return s;
}

/* Bits of the last digit that stand for no byte. */
static bool leftover(uint32_t bits, size_t digits)
{
	return (digits % 4 == 2 && bits & 15) || (digits % 4 == 3 && bits & 3);
}

ssize_t base64_decode(struct span text, void *out, size_t room)
{
	struct span s = without_padding(text);
	uint8_t *to = out;
	uint32_t bits = 0;
	size_t n = 0;

	if (s.size % 4 == 1 || s.size / 4 * 3 + s.size % 4 * 3 / 4 > room)
		return -EINVAL;
	for (size_t i = 0; i < s.size; i++) {
		int digit = digit_of(s.data[i]);

		if (digit < 0)
			return -EINVAL;
		bits = bits << 6 | (uint32_t)digit;
		/* The second digit of four completes a byte, and so on. */
		if (i % 4)
			to[n++] = (uint8_t)(bits >> (6 - 2 * (i % 4)));
	}
	return leftover(bits, s.size) ? -EINVAL : (ssize_t)n;
}

void base64url_encode(const void *data, size_t size, char *out)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				     "abcdefghijklmnopqrstuvwxyz0123456789-_";
	const uint8_t *p = data;

	for (size_t i = 0; i < size; i += 3) {
		size_t n = size - i < 3 ? size - i : 3;
		uint32_t v = (uint32_t)p[i] << 16;

		v |= n > 1 ? (uint32_t)p[i + 1] << 8 : 0;
		v |= n > 2 ? p[i + 2] : 0;
		for (size_t j = 0; j <= n; j++)
			*out++ = digits[v >> (18 - 6 * j) & 63];
	}
	*out = '\0';
}
