#define _GNU_SOURCE
#include "stamp.h"

#include <stdio.h>

void stamp_make(time_t at, char out[STAMP_SIZE])
{
	struct tm tm = { 0 };

	gmtime_r(&at, &tm);
	snprintf(out, STAMP_SIZE, "%04d-%02d-%02dT%02d:%02d:%02dZ",
		 (tm.tm_year + 1900) % 10000, (tm.tm_mon + 1) % 100,
		 tm.tm_mday % 100, tm.tm_hour % 100, tm.tm_min % 100,
		 tm.tm_sec % 100);
}
