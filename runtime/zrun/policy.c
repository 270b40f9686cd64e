#define _GNU_SOURCE
#include "policy.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/ioprio.h>
#include <linux/mount.h>
#include <linux/sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "base/path.h"
#include "base/span.h"
#include "serve.h"

_Static_assert(RUNTIME_NS_COUNT <= 8, "POLICY_HOSTS has them all");

#define N_OF(array) (sizeof(array) / sizeof((array)[0]))
/* So that a fork bomb ends at it, not at the memory of a small node. */
#define PIDS_DEFAULT 1024

static const char *const masked_always[] = {
	"/proc/acpi",	     "/proc/asound",
	"/proc/interrupts",  "/proc/kcore",
	"/proc/keys",	     "/proc/latency_stats",
	"/proc/timer_list",  "/proc/timer_stats",
	"/proc/sched_debug", "/proc/scsi",
	"/sys/firmware",     "/sys/devices/virtual/powercap",
};

static const char *const readonly_always[] = {
	"/proc/bus",	       "/proc/fs", "/proc/irq", "/proc/sys",
	"/proc/sysrq-trigger",
};

/* Files of a cgroup that only narrow, or weigh against its siblings. */
static const char *const unified_allowed[] = {
	"cpu.idle",	    "cpu.max",	       "cpu.max.burst", "cpu.weight",
	"io.max",	    "io.weight",       "memory.high",	"memory.max",
	"memory.oom.group", "memory.swap.max", "pids.max",
};

/* File systems that hold nothing of the node, and where they belong. */
static const struct {
	const char *type;
	const char *only_at; /* NULL: anywhere */
	bool readonly;
} file_systems[] = {
	{ "proc", "/proc", false },
	{ "sysfs", "/sys", true },
	{ "cgroup", "/sys/fs/cgroup", true },
	{ "cgroup2", "/sys/fs/cgroup", true },
	{ "tmpfs", NULL, false },
	{ "devpts", "/dev/pts", false },
	{ "mqueue", "/dev/mqueue", false },
	{ "file", NULL, false }, /* child_file.c */
};

int policy_refuse(char refusal[POLICY_TEXT_SIZE], const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(refusal, POLICY_TEXT_SIZE, fmt, args);
	va_end(args);
	return -EPERM;
}

static bool is_among(const char *text, const char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (strcmp(text, list[i]) == 0)
			return true;
	}
	return false;
}

static int check_capabilities(const struct runtime_process *process,
			      uint64_t granted, char *refusal)
{
	static const char *const sets[] = {
		[RUNTIME_CAP_BOUNDING] = "bounding",
		[RUNTIME_CAP_EFFECTIVE] = "effective",
		[RUNTIME_CAP_INHERITABLE] = "inheritable",
		[RUNTIME_CAP_PERMITTED] = "permitted",
		[RUNTIME_CAP_AMBIENT] = "ambient",
	};

	for (size_t i = 0; i < RUNTIME_CAP_SET_COUNT; i++) {
		uint64_t wider = process->capability[i] &
				 ~(RUNTIME_CAP_DEFAULT | granted);

		if (wider)
			return policy_refuse(
				refusal,
				"process.capabilities.%s: "
				"CAP_%s is not among the default ones, "
				"nor granted",
				sets[i],
				capability_name(
					(unsigned)__builtin_ctzll(wider)));
	}
	return 0;
}

/* What a process may say about its own turn: less than the default, never
 * more. */
static int check_schedule(const struct runtime_process *process, char *refusal)
{
	const struct runtime_scheduler *s = &process->scheduler;
	bool modest = s->policy.value == SCHED_NORMAL ||
		      s->policy.value == SCHED_BATCH ||
		      s->policy.value == SCHED_IDLE;

	if (s->policy.set && !modest)
		return policy_refuse(refusal,
				     "process.scheduler.policy: is not for "
				     "containers of a node");
	if (s->policy.set && (s->nice < 0 || s->flags))
		return policy_refuse(refusal,
				     "process.scheduler: flags and a nice "
				     "below 0 are not for containers of a "
				     "node");
	if (process->io_priority.class == IOPRIO_CLASS_RT)
		return policy_refuse(refusal,
				     "process.ioPriority.class: "
				     "IOPRIO_CLASS_RT is not for containers "
				     "of a node");
	return 0;
}

int policy_process(const struct runtime_process *process, uint64_t granted,
		   char refusal[POLICY_TEXT_SIZE])
{
	int r = check_capabilities(process, granted, refusal);

	if (r < 0)
		return r;
	if (!process->no_new_privileges)
		return policy_refuse(refusal,
				     "process.noNewPrivileges: must be true");
	if (process->apparmor_profile || process->selinux_label)
		return policy_refuse(refusal,
				     "process: a label of AppArmor or "
				     "SELinux is not for containers of a "
				     "node");
	r = check_schedule(process, refusal);
	if (r < 0)
		return r;
	if (process->oom_score_adj.set && process->oom_score_adj.value < 0)
		return policy_refuse(refusal,
				     "process.oomScoreAdj: must not be below "
				     "0");
	for (size_t i = 0; i < process->n_rlimit; i++) {
		uint32_t resource = process->rlimit[i].resource;

		/* They let a program take the processor for itself. */
		if ((resource == RLIMIT_RTPRIO || resource == RLIMIT_NICE) &&
		    process->rlimit[i].hard != 0)
			return policy_refuse(refusal,
					     "process.rlimits[%zu]: "
					     "priorities cannot be raised",
					     i);
	}
	return 0;
}

pid_t policy_joined(const struct runtime_config *config,
		    enum runtime_namespace ns)
{
	static const char *const files[RUNTIME_NS_COUNT] = {
		[RUNTIME_NS_PID] = "ns/pid",
		[RUNTIME_NS_NETWORK] = "ns/net",
		[RUNTIME_NS_IPC] = "ns/ipc",
	};
	const char *path = config->namespace[ns].path;
	struct span rest, number;
	uint64_t pid;

	if (!path || !files[ns] || strncmp(path, "/proc/", 6) != 0)
		return 0;
	rest = span_of(path + 6);
	if (!span_cut(&rest, '/', &number) || !rest.data ||
	    span_u64(number, INT32_MAX, &pid) < 0 || !span_is(rest, files[ns]))
		return 0;
	return (pid_t)pid;
}

/* Those of a pod are of one container; whose, is for may_join to say. */
static int check_joined(const struct runtime_config *config,
			enum runtime_namespace ns, policy_join *may_join,
			char *refusal)
{
	const char *name = runtime_namespace_name(ns);
	pid_t pid = policy_joined(config, ns);
	int r = pid > 0 ? may_join(config, pid) : -EPERM;

	if (r == -ESRCH)
		policy_refuse(refusal,
			      "linux.namespaces: %s: process %d is none of a "
			      "container that runs",
			      name, (int)pid);
	else if (r < 0)
		policy_refuse(refusal,
			      "linux.namespaces: %s must be new, or that of a "
			      "container of the same application",
			      name);
	return r;
}

/* The address of a network of its own would be put on the node's. */
static bool is_granted_host(const struct runtime_config *config,
			    enum runtime_namespace ns,
			    const struct policy_grants *grants)
{
	return grants->capabilities & POLICY_HOST(ns) &&
	       !(ns == RUNTIME_NS_NETWORK &&
		 text_map_find(&config->annotations, ZRUN_ANNOTATION_ADDRESS));
}

static int check_namespaces(const struct runtime_config *config,
			    const struct policy_grants *grants,
			    policy_join *may_join, char *refusal)
{
	for (int i = 0; i < RUNTIME_NS_COUNT; i++) {
		const struct runtime_namespace_use *ns = &config->namespace[i];
		const char *name =
			runtime_namespace_name((enum runtime_namespace)i);
		int r = ns->path ? check_joined(config,
						(enum runtime_namespace)i,
						may_join, refusal)
				 : 0;

		if (r < 0)
			return r;
		if (i == RUNTIME_NS_USER && ns->set)
			return policy_refuse(
				refusal, "linux.namespaces: user is not "
					 "supported by this version of zrun "
					 "serve");
		if (!ns->set && i != RUNTIME_NS_USER && i != RUNTIME_NS_TIME &&
		    !is_granted_host(config, (enum runtime_namespace)i, grants))
			return policy_refuse(refusal,
					     "linux.namespaces: %s must be "
					     "new",
					     name);
	}
	return 0;
}

const char *policy_volume(const char *source)
{
	const char *data = path_data();
	size_t n = strlen(data);

	if (strncmp(source, data, n) != 0 ||
	    strncmp(source + n, "/volumes/", 9) != 0 || !source[n + 9])
		return NULL;
	return source + n + 9;
}

static bool is_granted_bind(const struct runtime_mount *m,
			    const struct policy_grants *grants)
{
	uint64_t set = m->recursive ? m->tree_attr_set : m->attr_set;
	uint8_t access = RUNTIME_DEVICE_READ;

	if (!(set & MOUNT_ATTR_RDONLY))
		access |= RUNTIME_DEVICE_WRITE;
	for (size_t k = 0; k < grants->n_place; k++) {
		const struct grant *g = &grants->place[k];

		if (g->kind == GRANT_BIND && span_is(g->path, m->source) &&
		    !(access & ~g->access))
			return true;
	}
	return false;
}

static int check_bind(const struct runtime_mount *m, size_t i,
		      const struct policy_grants *grants, char *refusal)
{
	if (m->remount)
		return policy_refuse(refusal,
				     "mounts[%zu].options: remount is not "
				     "for containers of a node",
				     i);
	/* Read by its path, in the node's own tree. */
	if (m->copy_symlink)
		return policy_refuse(
			refusal,
			"mounts[%zu].options: copy-symlink is not for "
			"containers of a node",
			i);
	if (is_granted_bind(m, grants))
		return 0;
	if (!policy_volume(m->source))
		return policy_refuse(refusal,
				     "mounts[%zu].source: %.60s is not "
				     "beneath the volumes",
				     i, m->source);
	/* A volume's own mounts, if somebody put any there, are not granted. */
	if (m->recursive || m->tree_attr_set || m->tree_attr_clear)
		return policy_refuse(refusal,
				     "mounts[%zu].options: recursive ones "
				     "are not for volumes",
				     i);
	return 0;
}

uint8_t policy_device_access(const struct runtime_mount *m)
{
	static const struct {
		const char *option;
		uint8_t bit;
	} options[] = { { "read", RUNTIME_DEVICE_READ },
			{ "write", RUNTIME_DEVICE_WRITE },
			{ "mknod", RUNTIME_DEVICE_MKNOD } };
	uint8_t access = 0;

	for (size_t i = 0; i < m->data.n; i++)
		for (size_t k = 0; k < N_OF(options); k++)
			if (strcmp(m->data.item[i], options[k].option) == 0)
				access |= options[k].bit;
	return access;
}

/* A line of it is kept (serve_device.c): none that would be two, or another. */
static bool is_beneath_dev(const char *path)
{
	for (const char *p = path; *p; p++)
		if ((unsigned char)*p < ' ' || *p == ':')
			return false;
	return strncmp(path, "/dev/", 5) == 0 && !strstr(path, "/.");
}

static int check_device(const struct runtime_mount *m, size_t i,
			const struct policy_grants *grants, char *refusal)
{
	uint8_t access = policy_device_access(m);

	for (size_t k = 0; k < grants->n_place; k++) {
		const struct grant *g = &grants->place[k];

		if (g->kind == GRANT_DEVICE && access && m->source &&
		    is_beneath_dev(m->destination) &&
		    span_is(g->path, m->source) && !(access & ~g->access))
			return 0;
	}
	return policy_refuse(refusal,
			     "mounts[%zu]: device %.60s is not granted", i,
			     m->source ? m->source : "");
}

static int check_file_system(const struct runtime_mount *m, size_t i,
			     const struct policy_grants *grants, char *refusal)
{
	size_t f = 0;

	while (f < N_OF(file_systems) &&
	       strcmp(m->type, file_systems[f].type) != 0)
		f++;
	if (f == N_OF(file_systems))
		return policy_refuse(refusal,
				     "mounts[%zu].type: %.40s is not for "
				     "containers of a node",
				     i, m->type);
	if (file_systems[f].only_at &&
	    strcmp(m->destination, file_systems[f].only_at) != 0)
		return policy_refuse(refusal,
				     "mounts[%zu].destination: %s belongs at "
				     "%s",
				     i, m->type, file_systems[f].only_at);
	if (file_systems[f].readonly && !(m->attr_set & MOUNT_ATTR_RDONLY) &&
	    !(grants->capabilities & POLICY_PRIVILEGED))
		return policy_refuse(refusal,
				     "mounts[%zu].options: %s must be ro", i,
				     m->type);
	return 0;
}

static int check_mounts(const struct runtime_config *config,
			const struct policy_grants *grants, char *refusal)
{
	for (size_t i = 0; i < config->n_mount; i++) {
		const struct runtime_mount *m = &config->mount[i];

		if ((m->propagation | m->tree_propagation) & MS_SHARED)
			return policy_refuse(refusal,
					     "mounts[%zu].options: shared is "
					     "not for containers of a node",
					     i);
		if (m->idmap)
			return policy_refuse(
				refusal,
				"mounts[%zu].options: idmap is not for "
				"containers of a node",
				i);
		int r = m->bind || m->remount
				? check_bind(m, i, grants, refusal)
			: strcmp(m->type, "device") == 0
				? check_device(m, i, grants, refusal)
				: check_file_system(m, i, grants, refusal);

		if (r < 0)
			return r;
	}
	return 0;
}

static int check_resources(const struct runtime_resources *resources,
			   char *refusal)
{
	for (size_t i = 0; i < resources->n_device; i++) {
		if (resources->device[i].allow)
			return policy_refuse(refusal,
					     "linux.resources.devices[%zu]: "
					     "needs a grant",
					     i);
	}
	for (size_t i = 0; i < resources->unified.n; i++) {
		const char *key = resources->unified.item[i].key;

		if (!is_among(key, unified_allowed, N_OF(unified_allowed)))
			return policy_refuse(refusal,
					     "linux.resources.unified: %.60s "
					     "is not for containers of a node",
					     key);
	}
	return 0;
}

static int check_linux(const struct runtime_config *config, const char *id,
		       char *refusal)
{
	char own[100];

	snprintf(own, sizeof(own), "/zooid/%s", id);
	if (config->n_device)
		return policy_refuse(refusal,
				     "linux.devices[0]: needs a grant");
	if (config->cgroups_path && config->cgroups_path[0] &&
	    strcmp(config->cgroups_path, own) != 0)
		return policy_refuse(refusal,
				     "linux.cgroupsPath: must be absent or "
				     "%s",
				     own);
	if (config->seccomp.set)
		return policy_refuse(refusal,
				     "linux.seccomp: the node's profile "
				     "always holds");
	if (config->n_net_device)
		return policy_refuse(refusal, "linux.netDevices: is not for "
					      "containers of a node");
	/* It could fill one memory node, which others share, and no other. */
	if (config->memory_policy.mode.set)
		return policy_refuse(refusal, "linux.memoryPolicy: is not for "
					      "containers of a node");
	if (config->intel_rdt.set)
		return policy_refuse(refusal,
				     "linux.intelRdt: is not for containers "
				     "of a node");
	if (config->mount_label)
		return policy_refuse(refusal, "linux.mountLabel: is not for "
					      "containers of a node");
	if (config->rootfs_propagation & MS_SHARED)
		return policy_refuse(refusal,
				     "linux.rootfsPropagation: must not be "
				     "shared");
	return check_resources(&config->resources, refusal);
}

/* They are programs of the node's own, run with all rights. */
static int check_hooks(const struct runtime_config *config, char *refusal)
{
	for (int i = 0; i < RUNTIME_HOOK_COUNT; i++) {
		if (config->hooks[i].n)
			return policy_refuse(
				refusal, "hooks.%s: are not run here",
				runtime_hook_name((enum runtime_hook_kind)i));
	}
	return 0;
}

int policy_container(const struct runtime_config *config, const char *id,
		     const struct policy_grants *grants, policy_join *may_join,
		     char refusal[POLICY_TEXT_SIZE])
{
	if (!config->has_process)
		return policy_refuse(refusal, "process: missing");
	if (config->process.terminal)
		return policy_refuse(refusal,
				     "process.terminal: is for exec only");
	int r = policy_process(&config->process, grants->capabilities, refusal);

	if (r == 0)
		r = check_namespaces(config, grants, may_join, refusal);
	if (r == 0)
		r = check_mounts(config, grants, refusal);
	if (r == 0)
		r = check_hooks(config, refusal);
	if (r == 0)
		r = check_linux(config, id, refusal);
	return r;
}

int policy_stdio(int fd)
{
	struct stat st;
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || flags & O_PATH || fstat(fd, &st) < 0)
		return -EPERM;
	if (S_ISFIFO(st.st_mode))
		return 0;
	return S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3) ? 0 : -EPERM;
}

static int append(struct runtime_config *config, struct text_list *list,
		  const char *const *more, size_t n_more)
{
	const char **item = arena_take(&config->arena,
				       (list->n + n_more + 1) * sizeof(*item));
	size_t n = list->n;

	if (!item)
		return -ENOMEM;
	if (n)
		memcpy(item, list->item, n * sizeof(*item));
	for (size_t i = 0; i < n_more; i++) {
		if (!is_among(more[i], item, n))
			item[n++] = more[i];
	}
	list->item = item;
	list->n = n;
	return 0;
}

int policy_complete(struct runtime_config *config, bool is_privileged)
{
	struct maybe_i64 *pids = &config->resources.pids_limit;
	int r = is_privileged ? 0
			      : append(config, &config->masked_paths,
				       masked_always, N_OF(masked_always));

	if (r == 0 && !is_privileged)
		r = append(config, &config->readonly_paths, readonly_always,
			   N_OF(readonly_always));
	if (!pids->set || pids->value <= 0)
		*pids = (struct maybe_i64){ true, PIDS_DEFAULT };
	/* serve's own, far below 0, would be inherited. */
	config->process.oom_score_adj.set = true;
	for (size_t i = 0; i < config->n_mount; i++) {
		struct runtime_mount *m = &config->mount[i];

		if (!m->bind)
			continue;
		m->attr_set |= MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID;
		m->attr_clear &= ~(uint64_t)(MOUNT_ATTR_NODEV |
					     MOUNT_ATTR_NOSUID);
		if (m->recursive) {
			m->tree_attr_set |= m->attr_set;
			m->tree_attr_clear &= m->attr_clear;
		}
		m->source_nofollow = true;
	}
	return r;
}
