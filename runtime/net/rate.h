/* A token bucket: how much of something there may be in a second. What comes in
 * one piece may be more than there is; then it waits until that is paid for. */
#ifndef NET_RATE_H
#define NET_RATE_H

#include <stdbool.h>
#include <stdint.h>

struct rate {
	uint64_t per_s;	       /* 0: no limit */
	int64_t tokens, burst; /* thousandths; burst: at most */
	uint64_t at_ms;	       /* as of then */
};

/* burst: how many at once after a while without any, at least 1. It is full. */
void rate_init(struct rate *r, uint64_t per_s, uint64_t burst, uint64_t now_ms);

/* For how many ms there is nothing; 0: there is. */
unsigned int rate_wait(struct rate *r, uint64_t now_ms);

void rate_take(struct rate *r, uint64_t n);
/* Takes a rate_take() back. */
void rate_give(struct rate *r, uint64_t n);

#endif
