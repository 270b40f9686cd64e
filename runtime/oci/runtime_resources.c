/* config.json: linux.resources. The units are cgroup v1's, as the
 * specification has them; runtime/zrun turns them into v2's. What only v1 had
 * is refused when it asks for something, but for what the specification itself
 * calls obsolete. */
#include <string.h>

#include "runtime_parts.h"

static int at_v1_only(struct json_read *in, const struct at *at, void *out)
{
	int r = at_refuse(in, at, out);

	return r < 0 ? at_error(in, at, "cgroup v2 has no such limit") : 0;
}

static int at_cpu_list(struct json_read *in, const struct at *at, void *out)
{
	int r = at_text(in, at, out);

	if (r < 0)
		return r;
	const char *list = *(const char **)out;

	if (list[strspn(list, "0123456789,-")])
		return at_error(in, at, "\"%.40s\" is no list like 0-2,4",
				list);
	return 0;
}

#define CPU(name) offsetof(struct runtime_cpu, name)

static int at_cpu(struct json_read *in, const struct at *at, void *out)
{
	static const struct field fields[] = {
		{ "shares", at_maybe_u64, CPU(shares) },
		{ "quota", at_maybe_i64, CPU(quota) },
		{ "period", at_maybe_u64, CPU(period) },
		{ "burst", at_maybe_u64, CPU(burst) },
		{ "idle", at_maybe_i64, CPU(idle) },
		{ "cpus", at_cpu_list, CPU(cpus) },
		{ "mems", at_cpu_list, CPU(mems) },
		{ "realtimeRuntime", at_v1_only, 0 },
		{ "realtimePeriod", at_v1_only, 0 },
	};

	return at_object(in, at, fields, N_OF(fields), out);
}

/* A limit in bytes, -1 for none. */
static int at_limit(struct json_read *in, const struct at *at, void *out)
{
	struct maybe_i64 *limit = out;
	int r = at_maybe_i64(in, at, limit);

	if (r == 0 && limit->value < -1)
		return at_error(in, at, "want a number of bytes, or -1");
	return r;
}

#define MEMORY(name) offsetof(struct runtime_memory, name)

static int at_memory(struct json_read *in, const struct at *at, void *out)
{
	/* kernel, kernelTCP, useHierarchy: the specification calls them
	 * obsolete; v2 has no such thing and always keeps one hierarchy. */
	static const struct field fields[] = {
		{ "limit", at_limit, MEMORY(limit) },
		{ "reservation", at_limit, MEMORY(reservation) },
		{ "swap", at_limit, MEMORY(swap) },
		{ "checkBeforeUpdate", at_bool, MEMORY(check_before_update) },
		{ "swappiness", at_v1_only, 0 },
		{ "disableOOMKiller", at_v1_only, 0 },
	};
	struct runtime_memory *m = out;
	int r = at_object(in, at, fields, N_OF(fields), m);

	if (r < 0)
		return r;
	if (m->swap.set && m->swap.value > 0 && !m->limit.set)
		return at_error(in, at,
				"swap counts limit in, which is "
				"missing");
	if (m->swap.set && m->swap.value >= 0 && m->limit.value > 0 &&
	    m->swap.value < m->limit.value)
		return at_error(in, at,
				"swap is below limit, which it "
				"includes");
	return 0;
}

static int at_pids(struct json_read *in, const struct at *at, void *out)
{
	static const struct field fields[] = {
		{ "limit", at_maybe_i64, 0 },
	};

	return at_object(in, at, fields, N_OF(fields), out);
}

struct throttle_text {
	struct maybe_u32 major, minor, weight;
	struct maybe_u64 rate;
};

#define THROTTLE(name) offsetof(struct throttle_text, name)

static const struct field throttle_fields[] = {
	{ "major", at_maybe_u32, THROTTLE(major) },
	{ "minor", at_maybe_u32, THROTTLE(minor) },
	{ "rate", at_maybe_u64, THROTTLE(rate) },
	{ "weight", at_maybe_u32, THROTTLE(weight) },
	{ "leafWeight", at_v1_only, 0 },
};

static int at_throttle(struct json_read *in, const struct at *at, void *out)
{
	struct runtime_throttle *throttle = out;
	struct throttle_text text = { 0 };
	int r = at_object(in, at, throttle_fields, N_OF(throttle_fields),
			  &text);

	if (r < 0)
		return r;
	if (!text.major.set || !text.minor.set || !text.rate.set)
		return at_error(in, at, "want major, minor and rate");
	*throttle = (struct runtime_throttle){ text.major.value,
					       text.minor.value,
					       text.rate.value };
	return 0;
}

static int at_throttles(struct json_read *in, const struct at *at, void *out)
{
	struct runtime_throttles *list = out;

	return at_array(in, at, sizeof(*list->item), at_throttle, &list->item,
			&list->n);
}

static int at_weight(struct json_read *in, const struct at *at, void *out)
{
	struct maybe_u32 *weight = out;
	int r = at_maybe_u32(in, at, weight);

	/* 0 is how Go's omitempty structs say "not given". */
	if (r == 0 && weight->value == 0)
		weight->set = false;
	else if (r == 0 && (weight->value < 10 || weight->value > 1000))
		return at_error(in, at, "want 10 to 1000");
	return r;
}

static int at_weight_device(struct json_read *in, const struct at *at,
			    void *out)
{
	struct runtime_weight_device *device = out;
	struct throttle_text text = { 0 };
	int r = at_object(in, at, throttle_fields, N_OF(throttle_fields),
			  &text);

	if (r < 0)
		return r;
	if (!text.major.set || !text.minor.set || text.weight.value < 10 ||
	    text.weight.value > 1000)
		return at_error(in, at,
				"want major, minor and a weight of 10 "
				"to 1000");
	*device = (struct runtime_weight_device){ text.major.value,
						  text.minor.value,
						  text.weight.value };
	return 0;
}

static int at_weight_devices(struct json_read *in, const struct at *at,
			     void *out)
{
	struct runtime_block_io *io = out;

	return at_array(in, at, sizeof(*io->weight_device), at_weight_device,
			&io->weight_device, &io->n_weight_device);
}

#define IO(name) offsetof(struct runtime_block_io, name)

static int at_block_io(struct json_read *in, const struct at *at, void *out)
{
	static const struct field fields[] = {
		{ "weight", at_weight, IO(weight) },
		{ "leafWeight", at_v1_only, 0 },
		{ "weightDevice", at_weight_devices, 0 },
		{ "throttleReadBpsDevice", at_throttles, IO(read_bps) },
		{ "throttleWriteBpsDevice", at_throttles, IO(write_bps) },
		{ "throttleReadIOPSDevice", at_throttles, IO(read_iops) },
		{ "throttleWriteIOPSDevice", at_throttles, IO(write_iops) },
	};

	return at_object(in, at, fields, N_OF(fields), out);
}

static int at_hugepage(struct json_read *in, const struct at *at, void *out)
{
	static const struct field fields[] = {
		{ "pageSize", at_text,
		  offsetof(struct runtime_hugepage, page_size) },
		{ "limit", at_u64, offsetof(struct runtime_hugepage, limit) },
	};
	struct runtime_hugepage *page = out;
	int r = at_object(in, at, fields, N_OF(fields), page);

	if (r < 0)
		return r;
	if (!page->page_size)
		return at_error(in, at, "pageSize is missing");
	size_t digits = strspn(page->page_size, "0123456789");
	const char *unit = page->page_size + digits;

	if (!digits || digits > 6 ||
	    (strcmp(unit, "KB") != 0 && strcmp(unit, "MB") != 0 &&
	     strcmp(unit, "GB") != 0))
		return at_error(in, at, "pageSize \"%.20s\" is not like 2MB",
				page->page_size);
	return 0;
}

static int at_hugepages(struct json_read *in, const struct at *at, void *out)
{
	struct runtime_resources *resources = out;

	return at_array(in, at, sizeof(*resources->hugepage), at_hugepage,
			&resources->hugepage, &resources->n_hugepage);
}

#define RDMA(name) offsetof(struct runtime_rdma, name)

/* Limits of one device; its name becomes the first word of a line. */
static int at_rdma_device(struct json_read *in, const struct at *at, void *out)
{
	static const struct field fields[] = {
		{ "hcaHandles", at_maybe_u32, RDMA(handles) },
		{ "hcaObjects", at_maybe_u32, RDMA(objects) },
	};
	struct runtime_rdma *rdma = out;
	int r = at_object(in, at, fields, N_OF(fields), rdma);

	rdma->device = at->key;
	for (const char *c = at->key; *c; c++) {
		if (*c <= ' ' || *c == 0x7f)
			return at_error(in, at, "is no name of a device");
	}
	if (r == 0 && (strlen(at->key) > 64 || !at->key[0]))
		return at_error(in, at, "is no name of a device");
	if (r == 0 && !rdma->handles.set && !rdma->objects.set)
		return at_error(in, at, "want hcaHandles or hcaObjects");
	if (r == 0 && !rdma->handles.set && !rdma->objects.set)
		return at_error(in, at, "want hcaHandles or hcaObjects");
	return r;
}

static int at_rdma(struct json_read *in, const struct at *at, void *out)
{
	struct runtime_resources *resources = out;

	return at_map(in, at, sizeof(*resources->rdma), at_rdma_device,
		      &resources->rdma, &resources->n_rdma);
}

struct rule_text {
	bool allow;
	const char *type, *access;
	struct maybe_i64 major, minor;
};

#define RULE(name) offsetof(struct rule_text, name)

static int rule_access(struct json_read *in, const struct at *at,
		       const char *text, uint8_t *access)
{
	for (; text && *text; text++) {
		if (*text == 'r')
			*access |= RUNTIME_DEVICE_READ;
		else if (*text == 'w')
			*access |= RUNTIME_DEVICE_WRITE;
		else if (*text == 'm')
			*access |= RUNTIME_DEVICE_MKNOD;
		else
			return at_error(in, at,
					"access has \"%c\", want only "
					"r, w and m",
					*text);
	}
	return 0;
}

static int at_device_rule(struct json_read *in, const struct at *at, void *out)
{
	static const struct field fields[] = {
		{ "allow", at_bool, RULE(allow) },
		{ "type", at_text, RULE(type) },
		{ "access", at_text, RULE(access) },
		{ "major", at_maybe_i64, RULE(major) },
		{ "minor", at_maybe_i64, RULE(minor) },
	};
	struct runtime_device_rule *rule = out;
	struct rule_text text = { .type = "a" };
	int r = at_object(in, at, fields, N_OF(fields), &text);

	if (r < 0)
		return r;
	char type = text.type[0] ? text.type[0] : 'a';

	if (!strchr("abc", type) || (text.type[0] && text.type[1]))
		return at_error(in, at, "type \"%.8s\" is not a, b or c",
				text.type);
	*rule = (struct runtime_device_rule){ .allow = text.allow,
					      .type = type,
					      .major = text.major,
					      .minor = text.minor };
	/* -1 is how engines write "any". */
	rule->major.set = text.major.set && text.major.value >= 0;
	rule->minor.set = text.minor.set && text.minor.value >= 0;
	if (rule->major.value > 0xfff || rule->minor.value > 0xfffff)
		return at_error(in, at,
				"major above 4095 or minor above "
				"1048575");
	r = rule_access(in, at, text.access, &rule->access);
	if (r == 0 && !rule->access)
		rule->access = RUNTIME_DEVICE_READ | RUNTIME_DEVICE_WRITE |
			       RUNTIME_DEVICE_MKNOD;
	return r;
}

static int at_device_rules(struct json_read *in, const struct at *at, void *out)
{
	struct runtime_resources *resources = out;

	return at_array(in, at, sizeof(*resources->device), at_device_rule,
			&resources->device, &resources->n_device);
}

/* Files of the container's cgroup: a plain name such as "memory.high". */
static int at_unified(struct json_read *in, const struct at *at, void *out)
{
	struct text_map *map = out;
	int r = at_text_map(in, at, map);

	for (size_t i = 0; r == 0 && i < map->n; i++) {
		const char *key = map->item[i].key;

		if (strchr(key, '/') || !strchr(key, '.') || key[0] == '.' ||
		    strlen(key) > 200)
			return at_error(in, at,
					"\"%.60s\" is no file of a "
					"cgroup",
					key);
	}
	return r;
}

static int at_network(struct json_read *in, const struct at *at, void *out)
{
	static const struct field fields[] = {
		{ "classID", at_v1_only, 0 },
		{ "priorities", at_v1_only, 0 },
	};

	return at_object(in, at, fields, N_OF(fields), out);
}

#define AT(name) offsetof(struct runtime_resources, name)

int at_resources(struct json_read *in, const struct at *at, void *out)
{
	static const struct field fields[] = {
		{ "cpu", at_cpu, AT(cpu) },
		{ "memory", at_memory, AT(memory) },
		{ "pids", at_pids, AT(pids_limit) },
		{ "blockIO", at_block_io, AT(block_io) },
		{ "hugepageLimits", at_hugepages, 0 },
		{ "devices", at_device_rules, 0 },
		{ "unified", at_unified, AT(unified) },
		{ "network", at_network, 0 },
		{ "rdma", at_rdma, 0 },
	};

	return at_object(in, at, fields, N_OF(fields), out);
}
