#include "pace.h"

enum {
	FIRST_MS = 1000,
	CAP_MS = 5000,
	SLOW_FIRST_MS = 5000,
	SLOW_CAP_MS = 300000,
};

/* Between low and high. */
static uint32_t spread(uint32_t low, uint32_t high, uint16_t random)
{
	return low + (uint32_t)((uint64_t)(high - low) * random / UINT16_MAX);
}

static uint32_t grown(uint32_t first_ms, uint32_t cap_ms, unsigned failures)
{
	uint32_t ms = first_ms;

	while (failures-- && ms < cap_ms)
		ms *= 2;
	return ms < cap_ms ? ms : cap_ms;
}

uint32_t backoff_next_ms(struct backoff *b, uint16_t random)
{
	uint32_t ms = grown(FIRST_MS, CAP_MS, b->failures);
	uint32_t low = b->failures ? ms / 2 : 0;

	b->failures++;
	return spread(low, ms, random);
}

uint32_t backoff_slow_ms(struct backoff *b, uint16_t random)
{
	uint32_t ms = grown(SLOW_FIRST_MS, SLOW_CAP_MS, b->failures);

	b->failures++;
	return spread(ms / 2, ms, random);
}

void heartbeat_init(struct heartbeat *h, uint32_t fixed_s)
{
	*h = (struct heartbeat){
		.period_s = fixed_s ? fixed_s : HEARTBEAT_S,
		.fixed = fixed_s != 0,
	};
}

void heartbeat_answered(struct heartbeat *h)
{
	h->answers++;
}

void heartbeat_died(struct heartbeat *h)
{
	if (h->fixed)
		return;
	h->below_s = h->period_s;
	h->period_s /= 2;
	if (h->period_s < HEARTBEAT_MIN_S)
		h->period_s = HEARTBEAT_MIN_S;
}

uint32_t heartbeat_begin(struct heartbeat *h)
{
	uint32_t longer = h->period_s + h->period_s / 2;
	bool held = h->answers >= HEARTBEAT_PROOF;

	h->answers = 0;
	if (h->fixed || !held)
		return h->period_s;
	if (longer > HEARTBEAT_MAX_S)
		longer = HEARTBEAT_MAX_S;
	if (!h->below_s || longer < h->below_s)
		h->period_s = longer;
	return h->period_s;
}

/* What was saved since the last one, at most a burst. */
static uint64_t credit(const struct damper *d, uint64_t now_ms)
{
	const uint64_t most = DAMPER_BURST * DAMPER_COST_MS;
	uint64_t saved;

	if (!d->last_ms)
		return most;
	saved = d->credit_ms + (now_ms - d->last_ms);
	return saved < most ? saved : most;
}

uint64_t damper_wait_ms(const struct damper *d, uint64_t now_ms)
{
	uint64_t saved = credit(d, now_ms);
	uint64_t wait = saved < DAMPER_COST_MS ? DAMPER_COST_MS - saved : 0;
	uint64_t since = now_ms - d->last_ms;

	if (d->last_ms && since < DAMPER_GAP_MS && wait < DAMPER_GAP_MS - since)
		wait = DAMPER_GAP_MS - since;
	return wait;
}

void damper_sent(struct damper *d, uint64_t now_ms)
{
	uint64_t saved = credit(d, now_ms);

	d->credit_ms = saved < DAMPER_COST_MS ? 0 : saved - DAMPER_COST_MS;
	d->last_ms = now_ms;
}
