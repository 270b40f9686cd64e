/* zrun update: other limits for a container that is there. */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/fd.h"
#include "cgroup_stat.h"
#include "cli.h"
#include "option.h"
#include "resctrl.h"

enum form {
	FORM_I64,
	FORM_U64,
	FORM_WEIGHT,
	FORM_BYTES, /* may end with k, m, g or t; -1: no limit */
	FORM_TEXT,
	FORM_ABSENT, /* what cgroup v2 has not got */
	FORM_RDT,
};

#define AT(name) offsetof(struct runtime_resources, name)

static const struct setting {
	const char *name;
	enum form form;
	size_t at;
} settings[] = {
	{ "blkio-weight", FORM_WEIGHT, AT(block_io.weight) },
	{ "cpu-period", FORM_U64, AT(cpu.period) },
	{ "cpu-quota", FORM_I64, AT(cpu.quota) },
	{ "cpu-burst", FORM_U64, AT(cpu.burst) },
	{ "cpu-idle", FORM_I64, AT(cpu.idle) },
	{ "cpu-share", FORM_U64, AT(cpu.shares) },
	{ "cpuset-cpus", FORM_TEXT, AT(cpu.cpus) },
	{ "cpuset-mems", FORM_TEXT, AT(cpu.mems) },
	{ "memory", FORM_BYTES, AT(memory.limit) },
	{ "memory-reservation", FORM_BYTES, AT(memory.reservation) },
	{ "memory-swap", FORM_BYTES, AT(memory.swap) },
	{ "pids-limit", FORM_I64, AT(pids_limit) },
	{ "cpu-rt-period", FORM_ABSENT, 0 },
	{ "cpu-rt-runtime", FORM_ABSENT, 0 },
	{ "kernel-memory", FORM_ABSENT, 0 },
	{ "kernel-memory-tcp", FORM_ABSENT, 0 },
	{ "l3-cache-schema", FORM_RDT,
	  offsetof(struct runtime_intel_rdt, l3_cache_schema) },
	{ "mem-bw-schema", FORM_RDT,
	  offsetof(struct runtime_intel_rdt, mem_bw_schema) },
};

#define N_SETTINGS (sizeof(settings) / sizeof(settings[0]))

static int read_number(const char *text, int64_t *value)
{
	char *end;

	errno = 0;
	*value = strtoll(text, &end, 10);
	return errno || end == text || *end ? -EINVAL : 0;
}

static int read_bytes(const char *text, int64_t *value)
{
	static const char units[] = "bkmgt";
	char *end;

	errno = 0;
	*value = strtoll(text, &end, 10);
	if (errno || end == text || *value < -1)
		return -EINVAL;
	if (!*end)
		return 0;
	const char *unit = strchr(units, tolower(*end));

	/* "512m", "512mb", "512MiB" */
	if (!unit || *value < 0 ||
	    (strcmp(end + 1, "") != 0 && strcasecmp(end + 1, "b") != 0 &&
	     strcasecmp(end + 1, "ib") != 0))
		return -EINVAL;
	return __builtin_mul_overflow(*value, INT64_C(1) << 10 * (unit - units),
				      value)
		       ? -EINVAL
		       : 0;
}

static int set_number(struct runtime_resources *to, const struct setting *s,
		      int64_t value)
{
	void *at = (char *)to + s->at;

	switch (s->form) {
	case FORM_I64:
	case FORM_BYTES:
		*(struct maybe_i64 *)at = (struct maybe_i64){ true, value };
		return 0;
	case FORM_U64:
		*(struct maybe_u64 *)at = (struct maybe_u64){ true,
							      (uint64_t)value };
		return value < 0 ? -EINVAL : 0;
	case FORM_WEIGHT: /* 0: not given, as runc has it */
		*(struct maybe_u32 *)at = (struct maybe_u32){ value != 0,
							      (uint32_t)value };
		return value && (value < 10 || value > 1000) ? -EINVAL : 0;
	case FORM_TEXT:
	case FORM_ABSENT:
	case FORM_RDT:
		break;
	}
	return -EINVAL;
}

static int set_option(struct runtime_config *config, const struct setting *s,
		      const char *text, struct fault *fault)
{
	struct runtime_resources *to = &config->resources;
	int64_t value = 0;

	if (s->form == FORM_RDT) {
		config->intel_rdt.set = true;
		*(const char **)((char *)&config->intel_rdt + s->at) = text;
		return 0;
	}
	if (s->form == FORM_TEXT) {
		*(const char **)((char *)to + s->at) = text;
		return 0;
	}
	if (s->form == FORM_ABSENT)
		return fault_set(fault, 0, "--%s: cgroup v2 has no such limit",
				 s->name);
	int r = s->form == FORM_BYTES ? read_bytes(text, &value)
				      : read_number(text, &value);

	if (r == 0)
		r = set_number(to, s, value);
	return r < 0 ? fault_set(fault, 0, "--%s %.40s: want a number%s",
				 s->name, text,
				 s->form == FORM_WEIGHT ? " from 10 to 1000"
							: "")
		     : 0;
}

static int read_file(const char *path, struct runtime_config *config,
		     struct fault *fault)
{
	autofree char *text = NULL;
	char error[RUNTIME_ERROR_SIZE];
	size_t size;
	int r = file_read(AT_FDCWD, option_file(path), RUNTIME_CONFIG_SIZE_MAX,
			  &text, &size);

	if (r < 0)
		return fault_set(fault, r, "--resources %.200s", path);
	r = runtime_resources_parse(config, text, size, error);
	return r < 0 ? fault_set(fault, 0, "--resources: %s", error) : 0;
}

/* A limit of swap counts memory in; the one that holds is in the cgroup. */
static void complete_swap(const struct cgroup *cg,
			  struct runtime_memory *memory)
{
	if (!memory->swap.set || memory->limit.set)
		return;
	int64_t limit = cgroup_number(cg, "memory.max");

	memory->limit.value = limit == CGROUP_NUMBER_MAX ? -1 : limit;
}

/* Into the class that its config put it into. */
static int update_rdt(const struct container *c, struct runtime_intel_rdt *rdt,
		      struct fault *fault)
{
	struct runtime_config own = { 0 };
	int r = container_config(c->dir, &own, fault);

	if (r == 0 && !own.intel_rdt.set)
		r = fault_set(fault, 0,
			      "--l3-cache-schema, --mem-bw-schema: has no "
			      "linux.intelRdt");
	autoclose int root = r < 0 ? r : resctrl_find(fault);

	rdt->clos_id = own.intel_rdt.clos_id;
	if (root >= 0)
		r = resctrl_write(root, rdt, c->state.id, fault);
	runtime_config_free(&own);
	return root < 0 ? root : r;
}

static int update(struct container *c, struct runtime_config *config,
		  struct fault *fault)
{
	struct runtime_resources *resources = &config->resources;
	enum status status = state_status(c->dir, &c->state);

	if (status == STATUS_STOPPED || status == STATUS_CREATING)
		return fault_set(fault, 0,
				 "cannot update a container that is %s",
				 status_name(status));
	if (c->cgroup.dir < 0)
		return fault_set(fault, 0, "has no cgroup to limit");
	complete_swap(&c->cgroup, &resources->memory);
	int r = cgroup_limit(&c->cgroup, resources, fault);

	if (r == 0 && resources->n_device)
		r = cgroup_devices(&c->cgroup, resources, fault);
	if (r == 0 && config->intel_rdt.set)
		r = update_rdt(c, &config->intel_rdt, fault);
	return r;
}

static int read_options(int argc, char **argv, struct runtime_config *config,
			struct fault *fault)
{
	struct option options[N_SETTINGS + 2] = { 0 };
	const char *file = NULL;
	int option, index = 0, r = 0;

	for (size_t i = 0; i < N_SETTINGS; i++)
		options[i] = (struct option){ settings[i].name,
					      required_argument, NULL, 0 };
	options[N_SETTINGS] = (struct option){ "resources", required_argument,
					       NULL, 'r' };
	while ((option = option_next(argc, argv, "r:", options, &index)) >= 0) {
		if (option == '?')
			return -EINVAL;
		if (option == 'r')
			file = optarg;
		else if (r == 0)
			r = set_option(config, &settings[index], optarg, fault);
	}
	/* All other options are ignored beside a file, as by runc. */
	return file ? read_file(file, config, fault) : r;
}

int command_update(int argc, char **argv)
{
	struct runtime_config config = { 0 };
	struct container c;
	struct fault fault = { "" };
	int r = read_options(argc, argv, &config, &fault);

	if (r == 0 && cli_operand(argc, argv) < 0)
		return 1;
	if (r == 0 && container_open(&c, argv[optind]) < 0)
		return 1;
	if (r == 0) {
		r = update(&c, &config, &fault);
		container_close(&c);
	}
	runtime_config_free(&config);
	if (r < 0 && fault.text[0])
		cli_error(fault.text);
	return r < 0;
}
