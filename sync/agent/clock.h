/* What time it is. A node may wake in 1970; certificates need better.
 *
 * The floor at start is the latest time that a hub signed (identity_time) and
 * the start of our certificate. The hub then signs the time together with a
 * number that only this request has, so an old answer is worth nothing; that
 * goes over a connection which takes a hub's outdated certificate, since with
 * a wrong clock every certificate is. init sets the clock of a node; where it
 * may not (an ordinary host), the difference is kept here. */
#ifndef AGENT_CLOCK_H
#define AGENT_CLOCK_H

#include "wire/http.h"

/* Seconds since 1970. */
int64_t clock_now(void);

/* Takes the floor; after identity_open(). */
void clock_open(void);

/* Whether the machine's own clock is not the one to judge by. */
bool clock_is_ours(void);
/* clock_ms() of the last answer, 0 when there was none. */
uint64_t clock_heard_ms(void);

/* Asks the hub. done: 0, or -errno with one line. */
int clock_ask(struct http_client *client,
	      void (*done)(int error, const char *why));

/* The payload of the hub's answer: for clock_ask() and tests. 0 or -EBADMSG. */
int clock_payload(struct span json, const char *nonce, int64_t *seconds);

#endif
