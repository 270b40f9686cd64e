#define _GNU_SOURCE
#include "show.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/fd.h"
#include "base/log.h"
#include "ctl.h"

const char *show_age(int64_t seconds, char text[SHOW_SIZE])
{
	static const struct {
		int64_t seconds;
		char unit;
	} units[] = { { 86400, 'd' }, { 3600, 'h' }, { 60, 'm' }, { 1, 's' } };

	snprintf(text, SHOW_SIZE, "%s", seconds < 0 ? "-" : "0 s");
	for (size_t i = 0; i < 4; i++)
		if (seconds >= units[i].seconds) {
			snprintf(text, SHOW_SIZE, "%lld %c",
				 (long long)(seconds / units[i].seconds),
				 units[i].unit);
			break;
		}
	return text;
}

const char *show_bytes(uint64_t bytes, char text[SHOW_SIZE])
{
	static const char *const units[] = { "B",  "KB", "MB", "GB",
					     "TB", "PB", "EB" };
	double n = (double)bytes;
	size_t i = 0;

	/* What would be rounded up to 1024 is the next unit's. */
	for (; n >= 1023.5; i++)
		n /= 1024;
	snprintf(text, SHOW_SIZE, i && n < 9.95 ? "%.1f %s" : "%.0f %s", n,
		 units[i]);
	return text;
}

const char *show_cpu(uint64_t ms, char text[SHOW_SIZE])
{
	snprintf(text, SHOW_SIZE, "%llu:%02llu",
		 (unsigned long long)(ms / 60000),
		 (unsigned long long)(ms / 1000 % 60));
	return text;
}

int64_t time_read(yyjson_val *v)
{
	const char *text = yyjson_get_str(v), *rest;
	struct tm tm = { 0 };

	if (yyjson_is_uint(v))
		return (int64_t)yyjson_get_uint(v);
	rest = text ? strptime(text, "%Y-%m-%dT%H:%M:%S", &tm) : NULL;
	if (rest && *rest == '.')
		rest += 1 + strspn(rest + 1, "0123456789");
	return rest && !strcmp(rest, "Z") ? (int64_t)timegm(&tm) : -1;
}

const char *text_of(yyjson_val *object, const char *key)
{
	const char *text = yyjson_get_str(yyjson_obj_get(object, key));

	return text ? text : "";
}

int64_t number_of(yyjson_val *object, const char *key, int64_t missing)
{
	yyjson_val *v = yyjson_obj_get(object, key);

	return yyjson_is_int(v) ? yyjson_get_sint(v) : missing;
}

static int print(char *json)
{
	if (!json) {
		log_error(NULL, "out of memory");
		return EXIT_FAILED;
	}
	puts(json);
	free(json);
	return EXIT_DONE;
}

int show_json(yyjson_val *value)
{
	return print(
		yyjson_val_write(value, YYJSON_WRITE_PRETTY_TWO_SPACES, NULL));
}

int show_json_mut(yyjson_mut_doc *doc)
{
	return print(
		yyjson_mut_write(doc, YYJSON_WRITE_PRETTY_TWO_SPACES, NULL));
}
