/* Times as RFC 3339 writes them, in UTC. */
#ifndef BASE_STAMP_H
#define BASE_STAMP_H

#include <time.h>

enum { STAMP_SIZE = 32 };

/* "2026-11-26T19:00:00Z" of seconds since 1970. strftime(3) would bring time
 * zones and locales into the program. */
void stamp_make(time_t at, char out[STAMP_SIZE]);

#endif
