/* Starts made before anybody asks for them.
 *
 * A container that was started twice will be started again: a node wakes the
 * same ones over and over. So of the config and image that came twice in a row
 * AHEAD_MAX of the buds are led on to the first instruction of the program:
 * root, output, user, capabilities and seccomp filter are what they will be,
 * and execve is done (held.h). A start with the same bytes then takes one,
 * gives it the id, and lets it go.
 *
 * What was allowed for those bytes still is, so the config is not read again.
 * Left out are configs with what may change between two starts: volumes, and
 * an address, which belongs to one container. */
#ifndef ZRUN_AHEAD_H
#define ZRUN_AHEAD_H

#include "start.h"

/* Of the POOL_SPARE buds; others may be asked for too. */
enum { AHEAD_MAX = 2 };

/* One that is what was asked for; the taker frees it. NULL: there is none. */
struct start *ahead_take(const struct asked *asked);
/* A bud was used for this start, which has come to its end. */
void ahead_note(const struct start *s);
/* How many there are, ready or not. */
int ahead_count(void);
/* Makes one more if there should be; called when there is time. True: call
 * again. */
bool ahead_refill(void);
/* The image is about to be removed, or the buds are. */
void ahead_forget(const char *digest);

#endif
