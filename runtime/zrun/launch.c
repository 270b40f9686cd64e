#define _GNU_SOURCE
#include "launch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "kernel.h"
#include "userns.h"

void launch_init(struct launch *l, const char *id,
		 struct runtime_config *config)
{
	memset(l, 0, sizeof(*l));
	l->id = id;
	l->config = config;
	l->join_pid = l->cgroup_dir = l->pidfd = l->channel = -1;
	l->child.config = config;
	l->child.process = &config->process;
	l->child.plan = &l->plan;
	l->child.channel = l->child.start_listener = -1;
	l->child.console_socket = l->child.host_proc = -1;
	l->child.creating_state = l->child.created_state = -1;
	for (int i = 0; i < 3; i++)
		l->child.stdio[i] = -1;
}

uint64_t launch_grantable(bool new_user)
{
	struct __user_cap_header_struct head = {
		.version = _LINUX_CAPABILITY_VERSION_3,
	};
	struct __user_cap_data_struct data[2] = { 0 };
	uint64_t all = 0;

	for (int i = 0; i < 64 && prctl(PR_CAPBSET_READ, i, 0, 0, 0) >= 0; i++)
		all |= UINT64_C(1) << i;
	if (new_user || syscall(SYS_capget, &head, data) < 0)
		return all;
	return all & ((uint64_t)data[1].permitted << 32 | data[0].permitted);
}

static void take_lower(int fd, unsigned least, int *lowest)
{
	if (fd >= (int)least && (*lowest < 0 || fd < *lowest))
		*lowest = fd;
}

/* The lowest descriptor from `least` on that the child needs; -1. */
static int next_kept(const struct launch *l, unsigned least)
{
	int lowest = -1;

	for (int i = 0; i < 3; i++)
		take_lower(l->child.stdio[i], least, &lowest);
	take_lower(l->child.channel, least, &lowest);
	take_lower(l->child.start_listener, least, &lowest);
	take_lower(l->child.console_socket, least, &lowest);
	take_lower(l->child.host_proc, least, &lowest);
	take_lower(l->child.creating_state, least, &lowest);
	take_lower(l->child.created_state, least, &lowest);
	for (size_t i = 0; i < l->plan.n; i++) {
		if (l->plan.op[i].code == OP_JOIN ||
		    l->plan.op[i].code == OP_MOUNT)
			take_lower(l->plan.op[i].fd, least, &lowest);
	}
	return lowest;
}

/* Closes all that the child has no part in: in `zrun serve` that would be the
 * channels of other children, which must close when serve dies. */
static void close_others(const struct launch *l)
{
	unsigned next = 3 + l->child.preserve_fds;

	for (int kept; (kept = next_kept(l, next)) >= 0;
	     next = (unsigned)kept + 1) {
		if ((unsigned)kept > next)
			kernel_close_range(next, (unsigned)kept - 1, 0);
	}
	kernel_close_range(next, ~0u, 0);
}

static uint64_t clone_flags(const struct launch *l)
{
	uint64_t flags = CLONE_PIDFD;

	if (l->parent_is_init)
		flags |= CLONE_PARENT;
	for (size_t i = 0; !l->exec && i < RUNTIME_NS_COUNT; i++) {
		const struct runtime_namespace_use *ns =
			&l->config->namespace[i];

		/* The child makes that of the cgroup itself, once inside it:
		 * clone would take the maker's cgroup for its root. */
		if (i == RUNTIME_NS_CGROUP ||
		    (i == RUNTIME_NS_TIME && plan_offsets_time(l->config)))
			continue;
		if (ns->set && !ns->path)
			flags |= namespace_flag((enum runtime_namespace)i);
	}
	return flags;
}

static int clone_child(struct launch *l)
{
	struct clone_args args = {
		.flags = clone_flags(l),
		.pidfd = (uint64_t)(uintptr_t)&l->pidfd,
		.exit_signal = l->parent_is_init ? 0 : SIGCHLD,
	};

	return kernel_clone3(&args);
}

/* Joining a pid namespace holds for children only, and is undone after the
 * clone, since serve goes on in its own. */
static int clone_joined(struct launch *l)
{
	autoclose int own = open("/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);

	if (own < 0 || setns(l->join_pid, CLONE_NEWPID) < 0)
		return -errno;
	int pid = clone_child(l);

	if (pid != 0 && setns(own, CLONE_NEWPID) < 0)
		return -errno;
	return pid;
}

/* Not by CLONE_INTO_CGROUP: where a process was ever killed by cgroup.kill in
 * the maker's own cgroup (init does so to services), the kernel takes the
 * difference of the two kill counts for a kill, and the child is born dead. */
static void enter_cgroup(const struct launch *l)
{
	const struct runtime_number_set *cpus =
		&l->child.process->cpu_affinity.initial;
	struct child_message message = { .what = CHILD_FAILED,
					 .op = -1,
					 .detail = "cgroup.procs" };
	int r = 0;

	if (l->exec && cpus->set) {
		r = launch_affinity(0, cpus);
		if (r < 0)
			snprintf(message.detail, sizeof(message.detail),
				 "process.execCPUAffinity.initial");
	}
	if (r == 0 && l->cgroup_dir >= 0)
		r = file_put(l->cgroup_dir, "cgroup.procs", "0");
	if (r == 0)
		return;
	message.error = r;
	(void)send(l->child.channel, &message, sizeof(message), MSG_NOSIGNAL);
	_exit(1);
}

int launch_clone(struct launch *l, struct fault *fault)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return fault_set(fault, -errno, "socketpair");
	l->channel = pair[0];
	l->child.channel = pair[1];
	l->child.host_proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (l->child.host_proc < 0)
		return fault_set(fault, -errno, "/proc");
	int pid = l->join_pid >= 0 ? clone_joined(l) : clone_child(l);

	if (pid == 0) {
		enter_cgroup(l);
		close_others(l);
		child_run(&l->child);
	}
	fd_close(&l->child.channel);
	if (pid < 0)
		return fault_set(fault, pid, "clone");
	l->pid = pid;
	return 0;
}

static int deny_setgroups(pid_t pid)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/setgroups", (int)pid);
	return file_put(AT_FDCWD, path, "deny");
}

static int answer_maps(struct launch *l, struct fault *fault)
{
	const struct runtime_config *config = l->config;
	int r = userns_map(l->pid, "uid_map", &config->uid_maps);

	if (r == 0)
		r = userns_map(l->pid, "gid_map", &config->gid_maps);
	if (r == -EPERM && deny_setgroups(l->pid) == 0)
		r = userns_map(l->pid, "gid_map", &config->gid_maps);
	if (r < 0)
		return fault_set(fault, r, "linux.uidMappings");
	return send(l->channel, "m", 1, MSG_NOSIGNAL) == 1 ? 0 : -EPIPE;
}

int launch_fault(const struct plan *plan, const struct child_message *message,
		 struct fault *fault)
{
	int error = message->error < 0 ? message->error : -EIO;
	char name[200] = "start";

	if (message->op >= 0 && (size_t)message->op < plan->n)
		op_name(&plan->op[message->op], name, sizeof(name));
	if (message->detail[0])
		return fault_set(fault, error, "%s: %.107s", name,
				 message->detail);
	return fault_set(fault, error, "%s", name);
}

int launch_receive(struct launch *l, struct fault *fault)
{
	struct child_message message;
	ssize_t n;

	for (;;) {
		do
			n = recv(l->channel, &message, sizeof(message), 0);
		while (n < 0 && errno == EINTR);
		if (n == 0)
			return 0;
		if (n != (ssize_t)sizeof(message))
			return fault_set(fault, n < 0 ? -errno : -EBADMSG,
					 "message of the child");
		if (message.what == CHILD_READY) {
			int r = launch_ready(l, fault);

			return r < 0 ? r : CHILD_READY;
		}
		if (message.what == CHILD_HOOKS)
			return CHILD_HOOKS;
		message.detail[sizeof(message.detail) - 1] = '\0';
		if (message.what != CHILD_NEEDS_MAPS)
			return launch_fault(&l->plan, &message, fault);
		int r = answer_maps(l, fault);

		if (r < 0)
			return r;
	}
}

int launch_go(struct launch *l)
{
	return send(l->channel, "g", 1, MSG_NOSIGNAL) == 1 ? 0 : -EPIPE;
}

void launch_kill(struct launch *l)
{
	if (l->pidfd < 0)
		return;
	kernel_pidfd_signal(l->pidfd, SIGKILL);
	if (!l->parent_is_init)
		waitpid(l->pid, NULL, 0);
}

void launch_close(struct launch *l)
{
	fd_close(&l->channel);
	fd_close(&l->child.channel);
	fd_close(&l->pidfd);
	fd_close(&l->child.host_proc);
	fd_close(&l->child.start_listener);
	fd_close(&l->child.creating_state);
	fd_close(&l->child.created_state);
	free(l->plan.op);
	l->plan.op = NULL;
}
