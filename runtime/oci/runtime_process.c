/* config.json: process */
#include <string.h>
#include <strings.h>
#include <sys/resource.h>

#include "runtime_parts.h"

/* By number, linux/capability.h. */
static const char *const capability_names[] = {
	"CHOWN",
	"DAC_OVERRIDE",
	"DAC_READ_SEARCH",
	"FOWNER",
	"FSETID",
	"KILL",
	"SETGID",
	"SETUID",
	"SETPCAP",
	"LINUX_IMMUTABLE",
	"NET_BIND_SERVICE",
	"NET_BROADCAST",
	"NET_ADMIN",
	"NET_RAW",
	"IPC_LOCK",
	"IPC_OWNER",
	"SYS_MODULE",
	"SYS_RAWIO",
	"SYS_CHROOT",
	"SYS_PTRACE",
	"SYS_PACCT",
	"SYS_ADMIN",
	"SYS_BOOT",
	"SYS_NICE",
	"SYS_RESOURCE",
	"SYS_TIME",
	"SYS_TTY_CONFIG",
	"MKNOD",
	"LEASE",
	"AUDIT_WRITE",
	"AUDIT_CONTROL",
	"SETFCAP",
	"MAC_OVERRIDE",
	"MAC_ADMIN",
	"SYSLOG",
	"WAKE_ALARM",
	"BLOCK_SUSPEND",
	"AUDIT_READ",
	"PERFMON",
	"BPF",
	"CHECKPOINT_RESTORE",
};

static const struct {
	const char *name;
	int number;
} rlimits[] = {
	{ "RLIMIT_AS", RLIMIT_AS },
	{ "RLIMIT_CORE", RLIMIT_CORE },
	{ "RLIMIT_CPU", RLIMIT_CPU },
	{ "RLIMIT_DATA", RLIMIT_DATA },
	{ "RLIMIT_FSIZE", RLIMIT_FSIZE },
	{ "RLIMIT_LOCKS", RLIMIT_LOCKS },
	{ "RLIMIT_MEMLOCK", RLIMIT_MEMLOCK },
	{ "RLIMIT_MSGQUEUE", RLIMIT_MSGQUEUE },
	{ "RLIMIT_NICE", RLIMIT_NICE },
	{ "RLIMIT_NOFILE", RLIMIT_NOFILE },
	{ "RLIMIT_NPROC", RLIMIT_NPROC },
	{ "RLIMIT_RSS", RLIMIT_RSS },
	{ "RLIMIT_RTPRIO", RLIMIT_RTPRIO },
	{ "RLIMIT_RTTIME", RLIMIT_RTTIME },
	{ "RLIMIT_SIGPENDING", RLIMIT_SIGPENDING },
	{ "RLIMIT_STACK", RLIMIT_STACK },
};

int capability_number(const char *name)
{
	if (strncasecmp(name, "CAP_", 4) == 0)
		name += 4;
	for (size_t i = 0; i < N_OF(capability_names); i++) {
		if (strcasecmp(name, capability_names[i]) == 0)
			return (int)i;
	}
	return -1;
}

const char *capability_name(unsigned number)
{
	return number < N_OF(capability_names) ? capability_names[number]
					       : NULL;
}

int rlimit_number(const char *name)
{
	for (size_t i = 0; i < N_OF(rlimits); i++) {
		if (strcmp(name, rlimits[i].name) == 0)
			return rlimits[i].number;
	}
	return -1;
}

const char *rlimit_name(int number)
{
	for (size_t i = 0; i < N_OF(rlimits); i++) {
		if (rlimits[i].number == (typeof(rlimits[i].number))number)
			return rlimits[i].name;
	}
	return NULL;
}

/* A name this code does not know is a warning only, as the specification says:
 * what it cannot name it cannot grant. */
static int at_capability_set(struct json_read *in, const struct at *at,
			     void *out)
{
	struct text_list names = { 0 };
	uint64_t *set = out;
	int r = at_text_list(in, at, &names);

	for (size_t i = 0; r == 0 && i < names.n; i++) {
		int number = capability_number(names.item[i]);

		if (number >= 0)
			*set |= UINT64_C(1) << number;
		else
			at_warning(in, at,
				   "\"%.40s\" is no known capability; "
				   "not granted",
				   names.item[i]);
	}
	return r;
}

static int at_capabilities(struct json_read *in, const struct at *at, void *out)
{
	static const struct field fields[] = {
		{ "bounding", at_capability_set,
		  RUNTIME_CAP_BOUNDING * sizeof(uint64_t) },
		{ "effective", at_capability_set,
		  RUNTIME_CAP_EFFECTIVE * sizeof(uint64_t) },
		{ "inheritable", at_capability_set,
		  RUNTIME_CAP_INHERITABLE * sizeof(uint64_t) },
		{ "permitted", at_capability_set,
		  RUNTIME_CAP_PERMITTED * sizeof(uint64_t) },
		{ "ambient", at_capability_set,
		  RUNTIME_CAP_AMBIENT * sizeof(uint64_t) },
	};
	struct runtime_process *process = out;

	process->has_capabilities = true;
	return at_object(in, at, fields, N_OF(fields), process->capability);
}

struct rlimit_text {
	const char *type;
	struct maybe_u64 soft, hard;
};

static int at_rlimit(struct json_read *in, const struct at *at, void *out)
{
	static const struct field fields[] = {
		{ "type", at_text, offsetof(struct rlimit_text, type) },
		{ "soft", at_maybe_u64, offsetof(struct rlimit_text, soft) },
		{ "hard", at_maybe_u64, offsetof(struct rlimit_text, hard) },
	};
	struct runtime_rlimit *limit = out;
	struct rlimit_text text = { 0 };
	int r = at_object(in, at, fields, N_OF(fields), &text);

	if (r < 0)
		return r;
	if (!text.type || !text.soft.set || !text.hard.set)
		return at_error(in, at, "want type, soft and hard");
	int number = rlimit_number(text.type);

	if (number < 0)
		return at_error(in, at, "\"%.40s\" is no known limit",
				text.type);
	if (text.soft.value > text.hard.value)
		return at_error(in, at, "soft is above hard");
	limit->resource = (uint32_t)number;
	limit->soft = text.soft.value;
	limit->hard = text.hard.value;
	return 0;
}

static int at_rlimits(struct json_read *in, const struct at *at, void *out)
{
	struct runtime_process *process = out;
	int r = at_array(in, at, sizeof(*process->rlimit), at_rlimit,
			 &process->rlimit, &process->n_rlimit);

	for (size_t i = 0; r == 0 && i < process->n_rlimit; i++) {
		for (size_t j = 0; j < i; j++) {
			if (process->rlimit[i].resource ==
			    process->rlimit[j].resource)
				return at_error(in, at,
						"[%zu] and [%zu] set "
						"the same limit",
						j, i);
		}
	}
	return r;
}

static int at_user(struct json_read *in, const struct at *at, void *out)
{
	static const struct field fields[] = {
		{ "uid", at_u32, offsetof(struct runtime_user, uid) },
		{ "gid", at_u32, offsetof(struct runtime_user, gid) },
		{ "username", at_text, offsetof(struct runtime_user, name) },
		{ "umask", at_maybe_u32, offsetof(struct runtime_user, umask) },
		{ "additionalGids", at_u32_list,
		  offsetof(struct runtime_user, additional_gids) },
	};
	struct runtime_user *user = out;
	int r = at_object(in, at, fields, N_OF(fields), user);

	if (r < 0)
		return r;
	if (user->umask.set && user->umask.value > 0777)
		return at_error(in, at, "umask is above 511 (octal 777)");
	if (user->uid == UINT32_MAX || user->gid == UINT32_MAX)
		return at_error(in, at, "4294967295 means no user at all");
	return 0;
}

static int at_console_size(struct json_read *in, const struct at *at, void *out)
{
	static const struct field fields[] = {
		{ "width", at_u32,
		  offsetof(struct runtime_process, console_width) },
		{ "height", at_u32,
		  offsetof(struct runtime_process, console_height) },
	};
	struct runtime_process *process = out;
	int r = at_object(in, at, fields, N_OF(fields), process);

	if (r == 0 && (process->console_width > UINT16_MAX ||
		       process->console_height > UINT16_MAX))
		return at_error(in, at, "a side is longer than 65535");
	return r;
}

static int at_oom_score(struct json_read *in, const struct at *at, void *out)
{
	struct maybe_i64 *score = out;
	int r = at_maybe_i64(in, at, score);

	if (r == 0 && (score->value < -1000 || score->value > 1000))
		return at_error(in, at, "want -1000 to 1000");
	return r;
}

static int at_environment(struct json_read *in, const struct at *at, void *out)
{
	struct text_list *env = out;
	int r = at_text_list(in, at, env);

	for (size_t i = 0; r == 0 && i < env->n; i++) {
		const char *equals = strchr(env->item[i], '=');

		if (!equals || equals == env->item[i])
			return at_error(in, at,
					"[%zu]: \"%.40s\" is not "
					"NAME=value",
					i, env->item[i]);
	}
	return r;
}

int at_label(struct json_read *in, const struct at *at, void *out)
{
	const char **label = out;
	int r = at_text(in, at, label);

	if (r == 0 && !**label)
		*label = NULL;
	return r;
}

#define AT(name) offsetof(struct runtime_process, name)

int at_process(struct json_read *in, const struct at *at, void *out)
{
	static const struct field fields[] = {
		{ "terminal", at_bool, AT(terminal) },
		{ "consoleSize", at_console_size, 0 },
		{ "args", at_text_list, AT(args) },
		{ "env", at_environment, AT(env) },
		{ "cwd", at_path, AT(cwd) },
		{ "user", at_user, AT(user) },
		{ "capabilities", at_capabilities, 0 },
		{ "rlimits", at_rlimits, 0 },
		{ "noNewPrivileges", at_bool, AT(no_new_privileges) },
		{ "oomScoreAdj", at_oom_score, AT(oom_score_adj) },
		{ "apparmorProfile", at_label, AT(apparmor_profile) },
		{ "selinuxLabel", at_label, AT(selinux_label) },
		{ "scheduler", at_scheduler, AT(scheduler) },
		{ "ioPriority", at_io_priority, AT(io_priority) },
		{ "execCPUAffinity", at_cpu_affinity, AT(cpu_affinity) },
	};
	struct runtime_process *process = out;
	int r = at_object(in, at, fields, N_OF(fields), process);

	if (r < 0)
		return r;
	if (!process->cwd)
		return at_error(in, at, "cwd is missing");
	if (!process->args.n || !process->args.item[0][0])
		return at_error(in, at, "args is missing or empty");
	return 0;
}
