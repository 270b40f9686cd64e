/* Times as RFC 3339 writes them, in UTC. */
#ifndef BASE_STAMP_H
#define BASE_STAMP_H

#include <stdint.h>
#include <time.h>

#include "span.h"

enum { STAMP_SIZE = 32 };

/* "2026-11-26T19:00:00Z" of seconds since 1970. strftime(3) would bring time
 * zones and locales into the program. */
void stamp_make(time_t at, char out[STAMP_SIZE]);

/* A time as a person says it: as RFC 3339 has it, with Z or an offset, or how
 * long it is before now_ms, as 90, 10m, 1h30m or 7d. Times are ms since 1970.
 * 0 or -EINVAL. */
int since_read(struct span text, uint64_t now_ms, uint64_t *ms);
#define SINCE_WANT "a time as 10m, 1h30m or 2026-11-26T19:00:00Z"

#endif
