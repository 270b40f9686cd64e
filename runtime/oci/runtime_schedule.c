/* config.json: when and where a process runs: process.scheduler, ioPriority,
 * execCPUAffinity, linux.memoryPolicy. */
#include <linux/ioprio.h>
#include <linux/mempolicy.h>
#include <linux/sched.h>
#include <stdlib.h>
#include <string.h>

#include "runtime_parts.h"

/* Newer than the headers of some hosts. */
enum {
	MODE_PREFERRED_MANY = 5,
	MODE_WEIGHTED_INTERLEAVE = 6,
	FLAG_NUMA_BALANCING = 1 << 13,
};

struct named {
	const char *name;
	uint32_t value;
};

static int at_named(struct json_read *in, const struct at *at,
		    const struct named *names, size_t n, uint32_t *value)
{
	for (size_t i = 0; i < n; i++) {
		if (yyjson_equals_str(at->val, names[i].name)) {
			*value = names[i].value;
			return 0;
		}
	}
	return at_error(in, at, "\"%.40s\" is not known",
			yyjson_is_str(at->val) ? yyjson_get_str(at->val) : "");
}

/* "0-2,4" */
static int at_number_set(struct json_read *in, const struct at *at, void *out)
{
	struct runtime_number_set *set = out;
	const char *text;
	int r = at_text(in, at, &text);

	while (r == 0 && *text) {
		char *end;
		unsigned long first = strtoul(text, &end, 10), last = first;
		bool odd = *text < '0' || *text > '9';

		if (*end == '-' && end[1] >= '0' && end[1] <= '9')
			last = strtoul(end + 1, &end, 10);
		odd |= (*end && *end != ',') || (*end && !end[1]);
		if (odd || last < first || last >= RUNTIME_NUMBER_SET_SIZE)
			return at_error(in, at,
					"\"%.40s\" is no list like 0-2,4 of "
					"numbers below %d",
					yyjson_get_str(at->val),
					RUNTIME_NUMBER_SET_SIZE);
		for (; first <= last; first++)
			set->word[first / 64] |= UINT64_C(1) << first % 64;
		set->set = true;
		text = *end ? end + 1 : end;
	}
	return r;
}

static int at_scheduler_policy(struct json_read *in, const struct at *at,
			       void *out)
{
	static const struct named policies[] = {
		{ "SCHED_OTHER", SCHED_NORMAL },
		{ "SCHED_FIFO", SCHED_FIFO },
		{ "SCHED_RR", SCHED_RR },
		{ "SCHED_BATCH", SCHED_BATCH },
		{ "SCHED_ISO", 4 }, /* reserved by the kernel */
		{ "SCHED_IDLE", SCHED_IDLE },
		{ "SCHED_DEADLINE", SCHED_DEADLINE },
	};
	struct maybe_u32 *policy = out;

	policy->set = true;
	return at_named(in, at, policies, N_OF(policies), &policy->value);
}

static int at_scheduler_flag(struct json_read *in, const struct at *at,
			     void *out)
{
	static const struct named flags[] = {
		{ "SCHED_FLAG_RESET_ON_FORK", SCHED_FLAG_RESET_ON_FORK },
		{ "SCHED_FLAG_RECLAIM", SCHED_FLAG_RECLAIM },
		{ "SCHED_FLAG_DL_OVERRUN", SCHED_FLAG_DL_OVERRUN },
		{ "SCHED_FLAG_KEEP_POLICY", SCHED_FLAG_KEEP_POLICY },
		{ "SCHED_FLAG_KEEP_PARAMS", SCHED_FLAG_KEEP_PARAMS },
		{ "SCHED_FLAG_UTIL_CLAMP_MIN", SCHED_FLAG_UTIL_CLAMP_MIN },
		{ "SCHED_FLAG_UTIL_CLAMP_MAX", SCHED_FLAG_UTIL_CLAMP_MAX },
	};

	return at_named(in, at, flags, N_OF(flags), out);
}

/* Reads an array of words into one number. */
static int at_flags(struct json_read *in, const struct at *at,
		    int (*read)(struct json_read *, const struct at *, void *),
		    uint32_t *flags)
{
	struct u32_list list = { 0 };
	int r = at_array(in, at, sizeof(*list.item), read, &list.item, &list.n);

	for (size_t i = 0; r == 0 && i < list.n; i++)
		*flags |= list.item[i];
	return r;
}

static int at_scheduler_flags(struct json_read *in, const struct at *at,
			      void *out)
{
	return at_flags(in, at, at_scheduler_flag, out);
}

static int at_nice(struct json_read *in, const struct at *at, void *out)
{
	int64_t *nice = out;
	int r = at_i64(in, at, nice);

	if (r == 0 && (*nice < -20 || *nice > 19))
		return at_error(in, at, "want -20 to 19");
	return r;
}

#define SCHEDULER(name) offsetof(struct runtime_scheduler, name)

int at_scheduler(struct json_read *in, const struct at *at, void *out)
{
	static const struct field fields[] = {
		{ "policy", at_scheduler_policy, SCHEDULER(policy) },
		{ "nice", at_nice, SCHEDULER(nice) },
		{ "priority", at_u32, SCHEDULER(priority) },
		{ "flags", at_scheduler_flags, SCHEDULER(flags) },
		{ "runtime", at_u64, SCHEDULER(runtime) },
		{ "deadline", at_u64, SCHEDULER(deadline) },
		{ "period", at_u64, SCHEDULER(period) },
	};
	struct runtime_scheduler *s = out;
	int r = at_object(in, at, fields, N_OF(fields), s);

	if (r < 0)
		return r;
	if (!s->policy.set)
		return at_error(in, at, "policy is missing");
	if (s->priority && s->policy.value != SCHED_FIFO &&
	    s->policy.value != SCHED_RR)
		return at_error(in, at,
				"a priority goes with SCHED_FIFO and "
				"SCHED_RR only");
	if ((s->runtime | s->deadline | s->period) &&
	    s->policy.value != SCHED_DEADLINE)
		return at_error(in, at,
				"runtime, deadline and period go with "
				"SCHED_DEADLINE only");
	return 0;
}

static int at_io_class(struct json_read *in, const struct at *at, void *out)
{
	static const struct named classes[] = {
		{ "IOPRIO_CLASS_RT", IOPRIO_CLASS_RT },
		{ "IOPRIO_CLASS_BE", IOPRIO_CLASS_BE },
		{ "IOPRIO_CLASS_IDLE", IOPRIO_CLASS_IDLE },
	};

	return at_named(in, at, classes, N_OF(classes), out);
}

int at_io_priority(struct json_read *in, const struct at *at, void *out)
{
	static const struct field fields[] = {
		{ "class", at_io_class,
		  offsetof(struct runtime_io_priority, class) },
		{ "priority", at_u32,
		  offsetof(struct runtime_io_priority, priority) },
	};
	struct runtime_io_priority *p = out;
	int r = at_object(in, at, fields, N_OF(fields), p);

	if (r < 0)
		return r;
	if (!p->class)
		return at_error(in, at, "class is missing");
	if (p->priority > 7)
		return at_error(in, at, "priority is above 7");
	return 0;
}

int at_cpu_affinity(struct json_read *in, const struct at *at, void *out)
{
	static const struct field fields[] = {
		{ "initial", at_number_set,
		  offsetof(struct runtime_cpu_affinity, initial) },
		{ "final", at_number_set,
		  offsetof(struct runtime_cpu_affinity, final) },
	};

	return at_object(in, at, fields, N_OF(fields), out);
}

static const struct named memory_modes[] = {
	{ "MPOL_DEFAULT", MPOL_DEFAULT },
	{ "MPOL_PREFERRED", MPOL_PREFERRED },
	{ "MPOL_BIND", MPOL_BIND },
	{ "MPOL_INTERLEAVE", MPOL_INTERLEAVE },
	{ "MPOL_LOCAL", MPOL_LOCAL },
	{ "MPOL_PREFERRED_MANY", MODE_PREFERRED_MANY },
	{ "MPOL_WEIGHTED_INTERLEAVE", MODE_WEIGHTED_INTERLEAVE },
};

static const struct named memory_flags[] = {
	{ "MPOL_F_NUMA_BALANCING", FLAG_NUMA_BALANCING },
	{ "MPOL_F_RELATIVE_NODES", MPOL_F_RELATIVE_NODES },
	{ "MPOL_F_STATIC_NODES", MPOL_F_STATIC_NODES },
};

const char *runtime_memory_mode(size_t i)
{
	return i < N_OF(memory_modes) ? memory_modes[i].name : NULL;
}

const char *runtime_memory_flag(size_t i)
{
	return i < N_OF(memory_flags) ? memory_flags[i].name : NULL;
}

static int at_memory_mode(struct json_read *in, const struct at *at, void *out)
{
	struct maybe_u32 *mode = out;

	mode->set = true;
	return at_named(in, at, memory_modes, N_OF(memory_modes), &mode->value);
}

static int at_memory_flag(struct json_read *in, const struct at *at, void *out)
{
	return at_named(in, at, memory_flags, N_OF(memory_flags), out);
}

static int at_memory_flags(struct json_read *in, const struct at *at, void *out)
{
	return at_flags(in, at, at_memory_flag, out);
}

int at_memory_policy(struct json_read *in, const struct at *at, void *out)
{
	static const struct field fields[] = {
		{ "mode", at_memory_mode,
		  offsetof(struct runtime_memory_policy, mode) },
		{ "nodes", at_number_set,
		  offsetof(struct runtime_memory_policy, nodes) },
		{ "flags", at_memory_flags,
		  offsetof(struct runtime_memory_policy, flags) },
	};
	struct runtime_memory_policy *policy = out;
	int r = at_object(in, at, fields, N_OF(fields), policy);

	if (r == 0 && !policy->mode.set)
		return at_error(in, at, "mode is missing");
	return r;
}
