#define _GNU_SOURCE
#include "plan.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernel.h"
#include "label.h"

#define N_OF(array) (sizeof(array) / sizeof((array)[0]))

/* The devices and links that the specification promises in /dev. */
static const struct runtime_device default_devices[] = {
	{ "/dev/null", 'c', 1, 3, 0666, 0, 0 },
	{ "/dev/zero", 'c', 1, 5, 0666, 0, 0 },
	{ "/dev/full", 'c', 1, 7, 0666, 0, 0 },
	{ "/dev/random", 'c', 1, 8, 0666, 0, 0 },
	{ "/dev/urandom", 'c', 1, 9, 0666, 0, 0 },
	{ "/dev/tty", 'c', 5, 0, 0666, 0, 0 },
};

static const struct {
	const char *path, *target;
} default_links[] = {
	{ "/dev/fd", "/proc/self/fd" },
	{ "/dev/stdin", "/proc/self/fd/0" },
	{ "/dev/stdout", "/proc/self/fd/1" },
	{ "/dev/stderr", "/proc/self/fd/2" },
	{ "/dev/ptmx", "pts/ptmx" },
};

static const uint64_t namespace_flags[] = {
	[RUNTIME_NS_USER] = CLONE_NEWUSER,
	[RUNTIME_NS_PID] = CLONE_NEWPID,
	[RUNTIME_NS_NETWORK] = CLONE_NEWNET,
	[RUNTIME_NS_IPC] = CLONE_NEWIPC,
	[RUNTIME_NS_UTS] = CLONE_NEWUTS,
	[RUNTIME_NS_CGROUP] = CLONE_NEWCGROUP,
	[RUNTIME_NS_TIME] = CLONE_NEWTIME,
	[RUNTIME_NS_MOUNT] = CLONE_NEWNS,
};

_Static_assert(N_OF(namespace_flags) == RUNTIME_NS_COUNT, "a flag for each");

uint64_t namespace_flag(enum runtime_namespace ns)
{
	return namespace_flags[ns];
}

/* What an error calls an operation: the JSON path it comes from. */
static const char *const op_names[] = {
	[OP_JOIN] = "linux.namespaces",
	[OP_ID_MAPS] = "linux.uidMappings",
	[OP_CGROUP_NAMESPACE] = "linux.namespaces (cgroup)",
	[OP_TIME_OFFSETS] = "linux.timeOffsets",
	[OP_OOM_SCORE] = "process.oomScoreAdj",
	[OP_SYSCTL] = "linux.sysctl",
	[OP_NETWORK] = "network namespace",
	[OP_NETWORK_TAKE] = "linux.namespaces (network)",
	[OP_ADDRESS] = "network namespace",
	[OP_PROPAGATION] = "linux.rootfsPropagation",
	[OP_ROOT_BIND] = "root.path",
	[OP_ROOT_OVERLAY] = "root overlay",
	[OP_ROOT_TAKE] = "root",
	[OP_MOVE] = "mounts",
	[OP_ROOT_OPEN] = "root.path",
	[OP_ROOT_ENTER] = "root",
	[OP_ROOT_HERE] = "root",
	[OP_UNMOUNT] = "mounts",
	[OP_MOUNT] = "mounts",
	[OP_DEVICE] = "linux.devices",
	[OP_DEVICE_BIND] = "linux.devices",
	[OP_SYMLINK] = "link",
	[OP_MASK] = "linux.maskedPaths",
	[OP_READONLY] = "linux.readonlyPaths",
	[OP_TERMINAL] = "process.terminal",
	[OP_CWD_MAKE] = "process.cwd",
	[OP_HOOKS_RUNTIME] = "hooks.createRuntime",
	[OP_HOOKS_CONTAINER] = "hooks.createContainer",
	[OP_ROOT_READONLY] = "root.readonly",
	[OP_PIVOT] = "pivot_root",
	[OP_MOVE_ROOT] = "--no-pivot",
	[OP_ROOT_PROPAGATION] = "linux.rootfsPropagation",
	[OP_HOSTNAME] = "hostname",
	[OP_DOMAINNAME] = "domainname",
	[OP_PERSONALITY] = "linux.personality",
	[OP_MEMORY_POLICY] = "linux.memoryPolicy",
	[OP_KEYRING] = "session keyring (see --no-new-keyring)",
	[OP_SESSION] = "session",
	[OP_RLIMIT] = "process.rlimits",
	[OP_CWD] = "process.cwd",
	[OP_USER_NAME] = "process.user.username",
	[OP_USER] = "process.user",
	[OP_CAPABILITIES] = "process.capabilities",
	[OP_APPARMOR] = "process.apparmorProfile",
	[OP_SELINUX] = "process.selinuxLabel",
	[OP_NO_NEW_PRIVILEGES] = "process.noNewPrivileges",
	[OP_HOME] = "process.env",
	[OP_LOOKUP] = "process.args",
	[OP_READY] = "ready",
	[OP_COMMIT] = "keep its state",
	[OP_WAIT_START] = "start",
	[OP_HOOKS_START] = "hooks.startContainer",
	[OP_DESCRIPTORS] = "close_range",
	[OP_SECCOMP] = "linux.seccomp",
	[OP_EXEC] = "process.args",
};

_Static_assert(N_OF(op_names) == OP_COUNT, "a name for each");

void op_name(const struct op *op, char *out, size_t size)
{
	size_t n = (size_t)snprintf(out, size, "%s", op_names[op->code]);

	if (op->index >= 0 && n < size)
		n += (size_t)snprintf(out + n, size - n, "[%d]", op->index);
	if (op->path && n < size)
		snprintf(out + n, size - n, " (%.120s)", op->path);
}

static void add(struct plan *plan, struct op op)
{
	plan->op[plan->n++] = op;
}

static void add_code(struct plan *plan, enum op_code code)
{
	add(plan, (struct op){ .code = code, .index = -1, .fd = -1 });
}

static void add_number(struct plan *plan, enum op_code code, uint64_t number)
{
	add(plan, (struct op){ .code = code, .index = -1, .number = number });
}

static void add_text(struct plan *plan, enum op_code code, const char *text)
{
	add(plan, (struct op){ .code = code, .index = -1, .text = text });
}

static void add_path(struct plan *plan, enum op_code code, int index,
		     const char *path)
{
	add(plan, (struct op){ .code = code, .index = index, .path = path });
}

static void add_object(struct plan *plan, enum op_code code, int index,
		       const char *path, const void *object)
{
	add(plan, (struct op){ .code = code,
			       .index = index,
			       .fd = -1,
			       .path = path,
			       .object = object });
}

/* Enough for most: who makes one plan in its life needs no heap for it. */
static struct op few[160];
static bool few_taken;

void plan_free(struct plan *plan)
{
	if (plan->op == few)
		few_taken = false;
	else
		free(plan->op);
	plan->op = NULL;
}

static int plan_room(struct plan *plan, const struct runtime_config *config,
		     struct fault *fault)
{
	plan->room = OP_COUNT + RUNTIME_NS_COUNT + N_OF(default_devices) +
		     N_OF(default_links) + config->sysctl.n + config->n_mount +
		     config->n_device + config->masked_paths.n +
		     config->readonly_paths.n + config->process.n_rlimit;
	plan->n = 0;
	if (!few_taken && plan->room <= N_OF(few)) {
		few_taken = true;
		plan->op = few;
		return 0;
	}
	plan->op = calloc(plan->room, sizeof(*plan->op));
	if (!plan->op)
		return fault_set(fault, -ENOMEM, "plan");
	return 0;
}

void sysctl_path(const char *key, char out[SYSCTL_PATH_SIZE])
{
	bool dotted = key[strcspn(key, "./")] == '.';
	size_t n = 0;

	for (; n < SYSCTL_PATH_SIZE - 1 && key[n]; n++) {
		out[n] = key[n];
		if (dotted && (key[n] == '.' || key[n] == '/'))
			out[n] = key[n] == '.' ? '/' : '.';
	}
	out[n] = '\0';
}

/* A sysctl is only for the container when it belongs to a namespace of its
 * own; every other one would change the host. */
static bool sysctl_is_own(const struct runtime_config *config, const char *key)
{
	static const char *const ipc[] = { "kernel/msg", "kernel/sem",
					   "kernel/shm", "fs/mqueue/" };
	const struct runtime_namespace_use *ns = config->namespace;
	char path[SYSCTL_PATH_SIZE];

	sysctl_path(key, path);
	/* "net.//.kernel.panic" */
	if (strstr(path, ".."))
		return false;
	if (strncmp(path, "net/", 4) == 0)
		return ns[RUNTIME_NS_NETWORK].set;
	if (strcmp(path, "kernel/hostname") == 0 ||
	    strcmp(path, "kernel/domainname") == 0)
		return ns[RUNTIME_NS_UTS].set;
	for (size_t i = 0; i < N_OF(ipc); i++) {
		if (strncmp(path, ipc[i], strlen(ipc[i])) == 0)
			return ns[RUNTIME_NS_IPC].set;
	}
	return false;
}

static int plan_sysctls(struct plan *plan, const struct runtime_config *config,
			struct fault *fault)
{
	for (size_t i = 0; i < config->sysctl.n; i++) {
		const struct text_pair *pair = &config->sysctl.item[i];

		if (!sysctl_is_own(config, pair->key))
			return fault_set(fault, 0,
					 "linux.sysctl.%s: belongs to no "
					 "namespace of the container",
					 pair->key);
		add(plan, (struct op){ .code = OP_SYSCTL,
				       .index = -1,
				       .path = pair->key,
				       .text = pair->value });
	}
	return 0;
}

/* Root of the host may enter every namespace, but no longer that of a user
 * namespace above once it is in one: it joins that last. Everybody else gets
 * the right to join the others there. */
static void plan_namespaces(struct plan *plan,
			    const struct plan_setting *setting)
{
	bool last = setting->join_fd[RUNTIME_NS_USER] >= 0 && geteuid() == 0;
	size_t first = last ? RUNTIME_NS_USER + 1 : RUNTIME_NS_USER;

	for (size_t n = 0; n < RUNTIME_NS_COUNT; n++) {
		size_t i = (first + n) % RUNTIME_NS_COUNT;

		/* Joining a pid namespace is the parent's part, as it only
		 * holds for children. */
		if (setting->join_fd[i] < 0 || i == RUNTIME_NS_PID)
			continue;
		struct op *before = plan->n ? &plan->op[plan->n - 1] : NULL;

		/* By a pidfd all at once. */
		if (before && before->code == OP_JOIN &&
		    before->fd == setting->join_fd[i]) {
			before->number |= namespace_flags[i];
			before->path = NULL;
			continue;
		}
		add(plan, (struct op){ .code = OP_JOIN,
				       .index = -1,
				       .fd = setting->join_fd[i],
				       .number = namespace_flags[i],
				       .path = runtime_namespace_name(
					       (enum runtime_namespace)i) });
	}
}

static bool new_namespace(const struct runtime_config *config,
			  enum runtime_namespace ns)
{
	return config->namespace[ns].set && !config->namespace[ns].path;
}

/* A /dev of the host is not ours to fill. */
static bool dev_is_bound(const struct runtime_config *config)
{
	for (size_t i = 0; i < config->n_mount; i++) {
		const char *at = config->mount[i].destination;

		if (config->mount[i].bind && strncmp(at, "/dev", 4) == 0 &&
		    (at[4] == '\0' || strcmp(at + 4, "/") == 0))
			return true;
	}
	return false;
}

static void plan_devices(struct plan *plan, const struct runtime_config *config)
{
	/* mknod is refused in a user namespace, whoever asks. */
	bool user = config->namespace[RUNTIME_NS_USER].set;
	enum op_code code = user ? OP_DEVICE_BIND : OP_DEVICE;
	bool bound = dev_is_bound(config);

	for (size_t i = 0; !bound && i < N_OF(default_devices); i++)
		add_object(plan, code, -1, default_devices[i].path,
			   &default_devices[i]);
	for (size_t i = 0; i < config->n_device; i++)
		add_object(plan,
			   config->device[i].type == 'p' ? OP_DEVICE : code,
			   (int)i, config->device[i].path, &config->device[i]);
	for (size_t i = 0; !bound && i < N_OF(default_links); i++)
		add(plan, (struct op){ .code = OP_SYMLINK,
				       .index = -1,
				       .path = default_links[i].path,
				       .text = default_links[i].target });
}

/* Without a cgroup namespace of its own a container sees only its own cgroup:
 * a bind of it instead of a mount of the whole tree. */
static void cgroup_mount_bind(struct runtime_mount *m, const char *cgroup_path)
{
	m->bind = true;
	m->recursive = false;
	m->type = "bind";
	m->source = cgroup_path;
	m->data.n = 0;
}

static int plan_mounts(struct plan *plan, struct runtime_config *config,
		       const struct plan_setting *setting, struct fault *fault)
{
	for (size_t i = 0; i < config->n_mount; i++) {
		struct runtime_mount *m = &config->mount[i];

		if (!m->bind && m->type && strncmp(m->type, "cgroup", 6) == 0) {
			m->type = "cgroup2"; /* v1 is not there */
			if (!config->namespace[RUNTIME_NS_CGROUP].set) {
				if (!setting->cgroup_path)
					return fault_set(
						fault, 0,
						"mounts[%zu]: no cgroup to "
						"show",
						i);
				cgroup_mount_bind(m, setting->cgroup_path);
			}
		}
		add(plan,
		    (struct op){ .code = OP_MOUNT,
				 .index = (int)i,
				 .fd = setting->mount_fd ? setting->mount_fd[i]
							 : -1,
				 .path = m->destination,
				 .object = m });
	}
	return 0;
}

/* The first also fills the memfd that the others read. */
static void plan_hooks(struct plan *plan, const struct runtime_hooks *hooks)
{
	bool inside = hooks[RUNTIME_HOOK_CREATE_CONTAINER].n;

	if (inside || hooks[RUNTIME_HOOK_PRESTART].n ||
	    hooks[RUNTIME_HOOK_CREATE_RUNTIME].n)
		add_code(plan, OP_HOOKS_RUNTIME);
	if (inside)
		add_object(plan, OP_HOOKS_CONTAINER, -1, NULL,
			   &hooks[RUNTIME_HOOK_CREATE_CONTAINER]);
}

static void plan_root_mount(struct plan *plan,
			    const struct runtime_config *config,
			    const struct plan_setting *setting)
{
	uint64_t propagation = config->rootfs_propagation;

	/* Whatever is mounted here must not appear on the host; the host's
	 * changes may appear here if the config says so. A mount that is to
	 * share with the host's comes from there (mount_source.h). */
	bool own = propagation == MS_PRIVATE || propagation == MS_UNBINDABLE;

	add_number(plan, OP_PROPAGATION,
		   (own ? MS_PRIVATE : MS_SLAVE) | MS_REC);
	if (setting->overlay)
		add_object(plan, OP_ROOT_OVERLAY, -1, NULL, setting->overlay);
	else
		add(plan,
		    (struct op){ .code = OP_ROOT_BIND,
				 .index = -1,
				 .fd = setting->root_fd,
				 .number = propagation == MS_SLAVE ? MS_SLAVE
								   : MS_PRIVATE,
				 .path = setting->root_path });
}

static int plan_root(struct plan *plan, struct runtime_config *config,
		     const struct plan_setting *setting, struct fault *fault)
{
	bool own = new_namespace(config, RUNTIME_NS_MOUNT);

	if (own)
		plan_root_mount(plan, config, setting);
	else
		add_path(plan, OP_ROOT_OPEN, -1, setting->root_path);
	int r = plan_mounts(plan, config, setting, fault);

	if (r < 0)
		return r;
	plan_devices(plan, config);
	for (size_t i = 0; i < config->readonly_paths.n; i++)
		add_path(plan, OP_READONLY, (int)i,
			 config->readonly_paths.item[i]);
	for (size_t i = 0; i < config->masked_paths.n; i++)
		add_path(plan, OP_MASK, (int)i, config->masked_paths.item[i]);
	if (setting->has_console)
		add_code(plan, OP_TERMINAL);
	if (config->has_process && strcmp(config->process.cwd, "/") != 0)
		add_path(plan, OP_CWD_MAKE, -1, config->process.cwd);
	plan_hooks(plan, config->hooks);
	if (config->root_readonly)
		add_code(plan, OP_ROOT_READONLY);
	add_code(plan, !own		   ? OP_ROOT_ENTER
		       : setting->no_pivot ? OP_MOVE_ROOT
					   : OP_PIVOT);
	if (config->rootfs_propagation)
		add_number(plan, OP_ROOT_PROPAGATION,
			   config->rootfs_propagation |
				   (config->rootfs_propagation_recursive
					    ? MS_REC
					    : 0));
	return 0;
}

bool plan_offsets_time(const struct runtime_config *config)
{
	for (int i = 0; i < RUNTIME_CLOCK_COUNT; i++) {
		if (config->time_offset[i].set)
			return true;
	}
	return false;
}

bool plan_parent_raises(const struct runtime_config *config)
{
	return config->namespace[RUNTIME_NS_USER].set && geteuid() == 0;
}

static void plan_oom_score(struct plan *plan,
			   const struct runtime_config *config)
{
	const struct maybe_i64 *score = &config->process.oom_score_adj;

	if (score->set && !plan_parent_raises(config))
		add_number(plan, OP_OOM_SCORE, (uint64_t)score->value);
}

/* Before no_new_privs, which would forbid a change of profile. */
static void plan_labels(struct plan *plan,
			const struct runtime_process *process)
{
	if (process->apparmor_profile)
		add_text(plan, OP_APPARMOR, process->apparmor_profile);
	if (process->selinux_label)
		add_text(plan, OP_SELINUX, process->selinux_label);
}

/* From the container's surroundings to its program.
 *
 * A seccomp filter may be loaded by somebody with CAP_SYS_ADMIN or with
 * no_new_privs. With no_new_privs it comes last, so that it needs to allow
 * nothing but execve; without, it must come before the capabilities go. */
static void plan_process(struct plan *plan, const struct runtime_config *config,
			 const struct plan_setting *setting)
{
	const struct runtime_process *process = &config->process;
	bool last = process->no_new_privileges;

	if (config->personality.set)
		add_number(plan, OP_PERSONALITY, config->personality.value);
	if (config->memory_policy.mode.set)
		add_object(plan, OP_MEMORY_POLICY, -1, NULL,
			   &config->memory_policy);
	if (setting->new_keyring)
		add_code(plan, OP_KEYRING);
	add_code(plan, OP_SESSION);
	for (size_t i = 0; !plan_parent_raises(config) && i < process->n_rlimit;
	     i++)
		add_object(plan, OP_RLIMIT, (int)i, NULL, &process->rlimit[i]);
	add_path(plan, OP_CWD, -1, process->cwd);
	if (setting->user_name && process->user.name)
		add_text(plan, OP_USER_NAME, process->user.name);
	add_code(plan, OP_USER);
	plan_labels(plan, process);
	if (last) {
		add_code(plan, OP_CAPABILITIES);
		add_code(plan, OP_NO_NEW_PRIVILEGES);
	}
	if (setting->home)
		add_text(plan, OP_HOME, setting->home);
	add_code(plan, OP_LOOKUP);
	add_code(plan, OP_READY);
	if (setting->wait_start)
		add_code(plan, OP_WAIT_START);
	if (setting->start_hooks)
		add_object(plan, OP_HOOKS_START, -1, NULL,
			   setting->start_hooks);
	add_code(plan, OP_DESCRIPTORS);
	if (setting->seccomp)
		add_code(plan, OP_SECCOMP);
	if (!last)
		add_code(plan, OP_CAPABILITIES);
	add_path(plan, OP_EXEC, -1, process->args.item[0]);
}

int plan_container(struct plan *plan, struct runtime_config *config,
		   const struct plan_setting *setting, struct fault *fault)
{
	int r = plan_room(plan, config, fault);

	if (r == 0)
		r = label_check(&config->process, fault);
	if (r == 0)
		r = label_check_mounts(config, fault);
	if (r < 0)
		return r;
	if (!setting->joins_ahead)
		plan_namespaces(plan, setting);
	if (new_namespace(config, RUNTIME_NS_USER))
		add_code(plan, OP_ID_MAPS);
	if (new_namespace(config, RUNTIME_NS_CGROUP))
		add_code(plan, OP_CGROUP_NAMESPACE);
	if (plan_offsets_time(config))
		add_code(plan, OP_TIME_OFFSETS);
	plan_oom_score(plan, config);
	if (new_namespace(config, RUNTIME_NS_NETWORK))
		add_number(plan, OP_NETWORK, setting->address);
	r = plan_sysctls(plan, config, fault);
	if (r == 0)
		r = plan_root(plan, config, setting, fault);
	if (r < 0)
		return r;
	if (config->hostname)
		add_text(plan, OP_HOSTNAME, config->hostname);
	if (config->domainname)
		add_text(plan, OP_DOMAINNAME, config->domainname);
	plan_process(plan, config, setting);
	return 0;
}

int plan_exec(struct plan *plan, const struct runtime_config *config,
	      const struct plan_setting *setting, struct fault *fault)
{
	int r = plan_room(plan, config, fault);

	if (r == 0)
		r = label_check(&config->process, fault);
	if (r < 0)
		return r;
	plan_oom_score(plan, config);
	plan_namespaces(plan, setting);
	if (setting->enters_root)
		add(plan, (struct op){ .code = OP_ROOT_ENTER,
				       .index = -1,
				       .fd = setting->root_fd });
	if (setting->has_console)
		add_code(plan, OP_TERMINAL);
	plan_process(plan, config, setting);
	return 0;
}
