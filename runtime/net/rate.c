#include "rate.h"

enum { WAIT_MAX_MS = 10000 };

void rate_init(struct rate *r, uint64_t per_s, uint64_t burst, uint64_t now_ms)
{
	*r = (struct rate){ .per_s = per_s, .at_ms = now_ms };
	r->burst = r->tokens = (int64_t)(burst ? burst : 1) * 1000;
}

unsigned int rate_wait(struct rate *r, uint64_t now_ms)
{
	uint64_t passed_ms = now_ms - r->at_ms, wait_ms;

	if (!r->per_s)
		return 0;
	/* More would only overflow. */
	if (passed_ms > WAIT_MAX_MS)
		passed_ms = WAIT_MAX_MS;
	r->at_ms = now_ms;
	r->tokens += (int64_t)(passed_ms * r->per_s);
	if (r->tokens > r->burst)
		r->tokens = r->burst;
	if (r->tokens >= 1000)
		return 0;
	wait_ms = (uint64_t)(1000 - r->tokens) / r->per_s + 1;
	return wait_ms < WAIT_MAX_MS ? (unsigned int)wait_ms : WAIT_MAX_MS;
}

void rate_take(struct rate *r, uint64_t n)
{
	if (r->per_s)
		r->tokens -= (int64_t)(n * 1000);
}

void rate_give(struct rate *r, uint64_t n)
{
	if (r->per_s)
		r->tokens += (int64_t)(n * 1000);
}
