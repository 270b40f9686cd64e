/* A service of a Compose file: what it has of memory and processors against
 * others, and how early it is killed for them. */
#include <stdlib.h>
#include <string.h>

#include "compose_service.h"

static void bytes_set(struct walk *w, const struct compose_node *value,
		      struct limit *limit)
{
	uint64_t bytes;

	if (value_bytes(w, value, &bytes))
		limit_set(w, limit, value->line, bytes);
}

void mem_reservation_read(struct walk *w, const struct compose_node *value,
			  void *into)
{
	struct service *s = into;

	bytes_set(w, value, &s->reserved);
}

/* -1 is no limit; 0 is as if it were not said. */
void memswap_read(struct walk *w, const struct compose_node *value, void *into)
{
	struct service *s = into;
	const char *text = walk_text(w, value, "bytes, or -1");

	if (!text)
		return;
	if (strcmp(text, "-1") != 0) {
		bytes_set(w, value, &s->swap);
		return;
	}
	s->swap = (struct limit){ UINT64_MAX, value->line };
}

void cpu_shares_read(struct walk *w, const struct compose_node *value,
		     void *into)
{
	struct service *s = into;
	uint64_t n;

	if (!value_number(w, value, DESIRED_CPU_SHARES_MAX, &n) || !n)
		return;
	yyjson_mut_obj_add_uint(s->doc, s->app, "cpu_shares", n < 2 ? 2 : n);
}

void cpuset_read(struct walk *w, const struct compose_node *value, void *into)
{
	struct service *s = into;
	const char *text = walk_text(w, value, "processors, as 0-3,7");

	if (text && !desired_cpuset_valid(text))
		walk_fail(w, value->line,
			  "\"%.40s\": want processors, as 0-3,7", text);
	else if (text)
		yyjson_mut_obj_add_strcpy(s->doc, s->app, "cpuset", text);
}

static void time_set(struct walk *w, const struct compose_node *value,
		     struct limit *limit)
{
	static const char want[] = "microseconds, or a time as 50ms";
	const char *text = walk_text(w, value, want);
	uint64_t ms;

	if (!text)
		return;
	if (span_u64(span_of(text), 1000000000, &limit->value) < 0) {
		if (!value_duration(w, value, &ms))
			return;
		limit->value = ms * 1000;
	}
	limit->line = value->line;
}

/* -1 is no limit. */
void cpu_quota_read(struct walk *w, const struct compose_node *value,
		    void *into)
{
	struct service *s = into;
	const char *text = walk_text(w, value, "microseconds, or -1");

	if (text && strcmp(text, "-1") != 0)
		time_set(w, value, &s->quota);
}

void cpu_period_read(struct walk *w, const struct compose_node *value,
		     void *into)
{
	struct service *s = into;

	time_set(w, value, &s->period);
}

void oom_score_adj_read(struct walk *w, const struct compose_node *value,
			void *into)
{
	struct service *s = into;
	const char *text = walk_text(w, value, "0 to 1000");
	uint64_t n;

	if (text && text[0] == '-')
		walk_fail(w, value->line,
			  "\"%.10s\": want 0 to 1000; none is spared before "
			  "others",
			  text);
	else if (text && value_number(w, value, DESIRED_OOM_SCORE_MAX, &n) && n)
		yyjson_mut_obj_add_uint(s->doc, s->app, "oom_score", n);
}

/* A part of a period is so much of a processor. */
static void quota_write(struct walk *w, struct service *s)
{
	uint64_t period = s->period.value ? s->period.value : 100000;
	uint64_t milli = s->quota.value * 1000 / period;

	if (!s->quota.value)
		return;
	if (s->cpus_milli.value)
		walk_fail(w, s->quota.line, "differs from line %u",
			  compose_line(s->cpus_milli.line));
	if (milli > 4096000)
		walk_fail(w, s->quota.line,
			  "want at most 4096 times cpu_period");
	s->cpus_milli = (struct limit){ milli ? milli : 1, s->quota.line };
}

void shares_write(struct walk *w, struct service *s)
{
	quota_write(w, s);
	if (s->reserved.value)
		yyjson_mut_obj_add_uint(s->doc, s->app, "memory_reserved",
					s->reserved.value);
	if (!s->swap.value)
		return;
	if (!s->memory.value || s->swap.value < s->memory.value)
		walk_fail(w, s->swap.line,
			  "want mem_limit, and no less than that");
	else if (s->swap.value == UINT64_MAX)
		yyjson_mut_obj_add_sint(s->doc, s->app, "memory_swap", -1);
	else
		yyjson_mut_obj_add_uint(s->doc, s->app, "memory_swap",
					s->swap.value);
}
