/* Values of a kind, as Compose spells them. */
#include "compose_walk.h"

#include <errno.h>
#include <string.h>

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

enum { TIME_MAX_MS = 24 * 3600 * 1000 };

bool value_bool(struct walk *w, const struct compose_node *value, bool *is)
{
	static const char *const words[][2] = {
		{ "false", "true" }, { "no", "yes" },	  { "off", "on" },
		{ "n", "y" },	     { "False", "True" },
	};
	const char *text = walk_text(w, value, "true or false");

	for (size_t i = 0; text && i < 2 * ARRAY_SIZE(words); i++)
		if (!strcmp(text, words[i / 2][i % 2])) {
			*is = i % 2;
			return true;
		}
	if (text)
		walk_fail(w, value->line, "\"%.20s\": want true or false",
			  text);
	return false;
}

bool value_number(struct walk *w, const struct compose_node *value,
		  uint64_t max, uint64_t *number)
{
	const char *text = walk_text(w, value, "a number");

	if (text && span_u64(span_of(text), max, number) == 0)
		return true;
	if (text)
		walk_fail(w, value->line, "\"%.40s\": want a number", text);
	return false;
}

int value_milli(struct span s, uint64_t max, uint64_t *milli)
{
	struct span whole, part;
	uint64_t fraction = 0;

	*milli = 0;
	if (!span_cut(&s, '.', &whole) || (!whole.size && !s.size) ||
	    (whole.size && span_u64(whole, max, milli) < 0))
		return -EINVAL;
	if (s.data) {
		part = s;
		while (part.size > 3 && part.data[part.size - 1] == '0')
			part.size--;
		if (part.size > 3 || span_u64(part, 999, &fraction) < 0)
			return -EINVAL;
		for (size_t i = part.size; i < 3; i++)
			fraction *= 10;
	}
	*milli = *milli * 1000 + fraction;
	return 0;
}

/* The number in front of b, k, kb, m, mb, g, gb, in any case, of 1024. */
int value_bytes_of(const char *text, uint64_t *bytes)
{
	static const struct {
		char unit;
		unsigned shift;
	} units[] = { { 'k', 10 }, { 'm', 20 }, { 'g', 30 } };
	struct span s = span_of(text);
	unsigned shift = 0;
	uint64_t milli;

	if (s.size > 1 && (s.data[s.size - 1] | 0x20) == 'b')
		s.size--;
	for (size_t i = 0; s.size && i < ARRAY_SIZE(units); i++)
		if ((s.data[s.size - 1] | 0x20) == units[i].unit) {
			shift = units[i].shift;
			s.size--;
			break;
		}
	if (s.size && s.data[s.size - 1] == ' ')
		s.size--;
	if (!shift)
		return span_u64(s, INT64_MAX, bytes);
	if (value_milli(s, 1ULL << (43 - shift), &milli) < 0)
		return -EINVAL;
	*bytes = (milli << shift) / 1000;
	return 0;
}

bool value_bytes(struct walk *w, const struct compose_node *value,
		 uint64_t *bytes)
{
	const char *text = walk_text(w, value, "bytes, as 64m");

	if (text && value_bytes_of(text, bytes) == 0)
		return true;
	if (text)
		walk_fail(w, value->line, "\"%.40s\": want bytes, as 64m",
			  text);
	return false;
}

/* A number and its unit off the front of *text, in ms. */
static int duration_part(const char **text, uint64_t *ms)
{
	static const struct {
		const char *unit;
		uint64_t ms;
	} units[] = { { "ms", 1 },
		      { "h", 3600 * 1000 },
		      { "m", 60 * 1000 },
		      { "s", 1000 } };
	size_t n = strspn(*text, "0123456789.");
	uint64_t milli;

	if (value_milli((struct span){ *text, n }, TIME_MAX_MS, &milli) < 0)
		return -EINVAL;
	for (size_t i = 0; i < ARRAY_SIZE(units); i++) {
		size_t size = strlen(units[i].unit);

		if (strncmp(*text + n, units[i].unit, size) != 0)
			continue;
		*text += n + size;
		*ms += milli * units[i].ms / 1000;
		return 0;
	}
	return -EINVAL;
}

bool value_duration(struct walk *w, const struct compose_node *value,
		    uint64_t *ms)
{
	static const char want[] = "a time as 90s or 1m30s, at most 24h";
	const char *text = walk_text(w, value, want), *p = text;
	int err = p && *p ? 0 : -EINVAL;

	*ms = 0;
	while (err == 0 && *p)
		err = duration_part(&p, ms);
	if (err == 0 && *ms <= TIME_MAX_MS)
		return true;
	if (text)
		walk_fail(w, value->line, "\"%.40s\": want %s", text, want);
	return false;
}

bool value_mode(struct walk *w, const struct compose_node *value,
		uint64_t *mode)
{
	static const char want[] = "permissions as 0440";
	const char *text = walk_text(w, value, want), *p = text;

	*mode = 0;
	if (p && !strncmp(p, "0o", 2))
		p += 2;
	for (; p && *p >= '0' && *p <= '7' && *mode <= 01777; p++)
		*mode = *mode << 3 | (uint64_t)(*p - '0');
	if (p && p > text && !*p && *mode <= 01777)
		return true;
	if (text)
		walk_fail(w, value->line, "\"%.20s\": want %s", text, want);
	return false;
}
