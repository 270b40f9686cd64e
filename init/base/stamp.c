#define _GNU_SOURCE
#include "stamp.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

void stamp_make(time_t at, char out[STAMP_SIZE])
{
	struct tm tm = { 0 };

	gmtime_r(&at, &tm);
	snprintf(out, STAMP_SIZE, "%04d-%02d-%02dT%02d:%02d:%02dZ",
		 (tm.tm_year + 1900) % 10000, (tm.tm_mon + 1) % 100,
		 tm.tm_mday % 100, tm.tm_hour % 100, tm.tm_min % 100,
		 tm.tm_sec % 100);
}

#define YEAR_9999_END INT64_C(253402300799)

/* Takes what looks like `mask`, of which each 0 is any digit, off the front.
 * False where it does not. */
static bool mask_take(struct span *text, const char *mask, char *out)
{
	size_t n = strlen(mask);

	if (text->size < n)
		return false;
	for (size_t i = 0; i < n; i++)
		if (mask[i] == '0' ? !isdigit((unsigned char)text->data[i])
				   : text->data[i] != mask[i])
			return false;
	memcpy(out, text->data, n);
	text->data += n;
	text->size -= n;
	return true;
}

static int two(const char *digits)
{
	return (digits[0] - '0') * 10 + digits[1] - '0';
}

/* Of a second. What is finer than a millisecond is left out. */
static bool fraction_take(struct span *text, int *ms)
{
	int unit = 100;
	char digit;

	*ms = 0;
	if (!text->size || text->data[0] != '.')
		return true;
	text->data++;
	text->size--;
	if (!text->size || !isdigit((unsigned char)text->data[0]))
		return false;
	for (; mask_take(text, "0", &digit); unit /= 10)
		*ms += unit * (digit - '0');
	return true;
}

static bool offset_take(struct span *text, int *minutes)
{
	char at[6];
	bool is_east = text->size && text->data[0] == '+';

	*minutes = 0;
	if (text->size == 1 && (text->data[0] == 'Z' || text->data[0] == 'z'))
		return true;
	if (!mask_take(text, is_east ? "+00:00" : "-00:00", at) || text->size ||
	    two(at + 1) > 23 || two(at + 4) > 59)
		return false;
	*minutes = two(at + 1) * 60 + two(at + 4);
	if (!is_east)
		*minutes = -*minutes;
	return true;
}

static int stamp_read(struct span text, uint64_t *ms)
{
	char day[10], hour[8], mark;
	int fraction, minutes;
	struct tm tm;
	int64_t at;

	if (!mask_take(&text, "0000-00-00", day) ||
	    !(mask_take(&text, "T", &mark) || mask_take(&text, "t", &mark)) ||
	    !mask_take(&text, "00:00:00", hour) ||
	    !fraction_take(&text, &fraction) || !offset_take(&text, &minutes))
		return -EINVAL;
	tm = (struct tm){ .tm_year = two(day) * 100 + two(day + 2) - 1900,
			  .tm_mon = two(day + 5) - 1,
			  .tm_mday = two(day + 8) };
	at = (int64_t)timegm(&tm);
	/* What is no day of its month was made one of another. */
	if (tm.tm_mon != two(day + 5) - 1 || two(hour) > 23 ||
	    two(hour + 3) > 59 || two(hour + 6) > 60)
		return -EINVAL;
	at += (two(hour) * 60 + two(hour + 3) - minutes) * INT64_C(60) +
	      two(hour + 6);
	/* By its offset it can leave the years that have a stamp. */
	if (at < 0 || at > YEAR_9999_END)
		return -EINVAL;
	*ms = (uint64_t)at * 1000 + (uint64_t)fraction;
	return 0;
}

static int ago_read(struct span text, uint64_t *seconds)
{
	bool is_first = true;
	uint64_t n;

	*seconds = 0;
	do {
		struct span part = { text.data, 0 };

		while (part.size < text.size &&
		       isdigit((unsigned char)text.data[part.size]))
			part.size++;
		/* Only one alone needs no unit. */
		if (part.size == text.size && !is_first)
			return -EINVAL;
		part.size += part.size < text.size;
		if (span_seconds(part, &n) < 0)
			return -EINVAL;
		*seconds += n;
		is_first = false;
		text.data += part.size;
		text.size -= part.size;
	} while (text.size);
	return 0;
}

int since_read(struct span text, uint64_t now_ms, uint64_t *ms)
{
	uint64_t seconds;

	if (!text.size || text.size > STAMP_SIZE + 8)
		return -EINVAL;
	if (ago_read(text, &seconds) < 0)
		return stamp_read(text, ms);
	*ms = seconds * 1000 < now_ms ? now_ms - seconds * 1000 : 0;
	return 0;
}
