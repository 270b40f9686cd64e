#define _GNU_SOURCE
#include "json.h"

#include <errno.h>
#include <stdio.h>
#include <time.h>

int member_text(yyjson_val *object, const char *key, char *out, size_t size)
{
	yyjson_val *v = yyjson_obj_get(object, key);

	out[0] = '\0';
	if (!yyjson_is_str(v))
		return -ENOENT;
	return span_copy(out, size,
			 (struct span){ yyjson_get_str(v), yyjson_get_len(v) });
}

void error_text(int status, struct span body, char *out, size_t size)
{
	yyjson_doc *doc = body.size ? yyjson_read(body.data, body.size, 0)
				    : NULL;
	const char *text = yyjson_get_str(
		yyjson_obj_get(yyjson_doc_get_root(doc), "error"));

	if (text)
		text_copy(out, size, text);
	else
		snprintf(out, size, "the hub answered with status %d", status);
	yyjson_doc_free(doc);
	for (; *out; out++)
		if (*out < ' ' || *out >= 127)
			*out = '?';
}

/* n digits at text + at. */
static int number(const char *text, size_t at, size_t n)
{
	uint64_t value;

	return span_u64((struct span){ text + at, n }, 9999, &value) < 0
		       ? -1
		       : (int)value;
}

int time_parse(struct span text, int64_t *seconds)
{
	static const char form[] = "dddd-dd-ddTdd:dd:ddZ";
	struct tm tm = { 0 }, again;
	time_t t;

	if (text.size != sizeof(form) - 1)
		return -EINVAL;
	for (size_t i = 0; i < text.size; i++)
		if (form[i] != 'd' && text.data[i] != form[i])
			return -EINVAL;
	tm.tm_year = number(text.data, 0, 4) - 1900;
	tm.tm_mon = number(text.data, 5, 2) - 1;
	tm.tm_mday = number(text.data, 8, 2);
	tm.tm_hour = number(text.data, 11, 2);
	tm.tm_min = number(text.data, 14, 2);
	tm.tm_sec = number(text.data, 17, 2);
	again = tm;
	t = timegm(&again);
	/* What timegm() had to move was no date. */
	if (tm.tm_year < 70 || again.tm_mon != tm.tm_mon ||
	    again.tm_mday != tm.tm_mday || again.tm_hour != tm.tm_hour ||
	    again.tm_min != tm.tm_min || again.tm_sec != tm.tm_sec)
		return -EINVAL;
	*seconds = t;
	return 0;
}
