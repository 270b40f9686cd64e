/* How often: the next attempt, the heartbeat, the next report. Pure numbers:
 * the clock and the dice are the caller's. */
#ifndef AGENT_PACE_H
#define AGENT_PACE_H

#include <stdbool.h>
#include <stdint.h>

/* ---- attempts ---- */

/* Delays that grow with each failure, and spread: a thousand nodes that lost
 * one hub must not come back in one instant. random is any 16 bits. */
struct backoff {
	unsigned failures; /* in a row; 0 starts anew */
};

/* What may pass by itself: at most 1 s at first, at most 5 s later, so that a
 * node is back within 10 s of the cause's end. */
uint32_t backoff_next_ms(struct backoff *b, uint16_t random);
/* What a person has to mend: 5 s at first, 5 minutes later. */
uint32_t backoff_slow_ms(struct backoff *b, uint16_t random);

/* ---- heartbeat ---- */

/* The period of PINGs. Paths forget idle connections after times that nobody
 * tells; one that died in silence halves the guess, one that held lets the
 * next connection try a longer one, below what has failed. */
enum {
	HEARTBEAT_MIN_S = 30,
	HEARTBEAT_S = 75,
	HEARTBEAT_MAX_S = 300,
	HEARTBEAT_PROOF = 10, /* answers after which it has held */
};

struct heartbeat {
	uint32_t period_s;
	uint32_t below_s; /* a period that failed; 0: none did */
	uint32_t answers; /* on this connection */
	bool fixed;	  /* by who tests */
};

/* fixed_s 0: adapts. */
void heartbeat_init(struct heartbeat *h, uint32_t fixed_s);
void heartbeat_answered(struct heartbeat *h);
void heartbeat_died(struct heartbeat *h);
/* A new connection begins: the period that it keeps. */
uint32_t heartbeat_begin(struct heartbeat *h);

/* ---- reports ---- */

/* At most once a second, and once in 10 s for what never rests; before that as
 * many in a row as a few applications need to get where they are going. */
struct damper {
	uint64_t last_ms; /* 0: none yet */
	uint64_t credit_ms;
};

enum { DAMPER_GAP_MS = 1000, DAMPER_COST_MS = 10000, DAMPER_BURST = 10 };

/* How long the next one has to wait. */
uint64_t damper_wait_ms(const struct damper *d, uint64_t now_ms);
void damper_sent(struct damper *d, uint64_t now_ms);

#endif
