#define _GNU_SOURCE
#include "launch.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "kernel.h"
#include "seccomp_listener.h"
#include "userns.h"

void launch_init(struct launch *l, const char *id,
		 struct runtime_config *config)
{
	memset(l, 0, offsetof(struct launch, child.program));
	l->id = id;
	l->config = config;
	l->privileged = geteuid() == 0;
	l->join_pid = l->cgroup_dir = l->pidfd = l->channel = -1;
	l->resctrl = l->exe = l->network = -1;
	l->child.config = config;
	l->child.process = &config->process;
	l->child.plan = &l->plan;
	l->child.channel = l->child.start_listener = -1;
	l->child.console_socket = l->child.host_proc = -1;
	l->child.creating_state = l->child.created_state = -1;
	l->child.stage = -1;
	l->child.listener = l->child.reaper = -1;
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

	/* What a program begins with never exceeds its bounding set. */
	if (!new_user && syscall(SYS_capget, &head, data) == 0)
		return (uint64_t)data[1].permitted << 32 | data[0].permitted;
	for (int i = 0; i < 64 && prctl(PR_CAPBSET_READ, i, 0, 0, 0) >= 0; i++)
		all |= UINT64_C(1) << i;
	return all;
}

static int deny_setgroups(pid_t pid)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/setgroups", (int)pid);
	return file_put(AT_FDCWD, path, "deny");
}

/* Without privilege one may map oneself alone, once groups cannot be dropped
 * any more; all else is done by programs that have it. */
static int map_unprivileged(struct launch *l, struct fault *fault)
{
	const struct runtime_config *config = l->config;
	int r = userns_map_by("newuidmap", l->pid, &config->uid_maps);

	if (r == -ENOENT)
		return fault_set(fault, 0,
				 "linux.uidMappings: takes privilege or the "
				 "program newuidmap, which is not there");
	if (r < 0)
		return fault_set(fault, r, "linux.uidMappings: newuidmap");
	r = userns_map_by("newgidmap", l->pid, &config->gid_maps);
	return r < 0 ? fault_set(fault, r, "linux.gidMappings: newgidmap") : 0;
}

static bool maps_oneself(const struct runtime_config *config)
{
	return config->uid_maps.n == 1 && config->gid_maps.n == 1 &&
	       config->uid_maps.item[0].size == 1 &&
	       config->gid_maps.item[0].size == 1 &&
	       config->uid_maps.item[0].host_id == geteuid() &&
	       config->gid_maps.item[0].host_id == getegid();
}

static int map(struct launch *l, struct fault *fault)
{
	const struct runtime_config *config = l->config;
	bool alone = geteuid() != 0 && maps_oneself(config);
	int r = alone ? deny_setgroups(l->pid) : 0;

	if (r == 0)
		r = userns_map(l->pid, "uid_map", &config->uid_maps);
	if (r == -EPERM && geteuid() != 0 && !alone)
		return map_unprivileged(l, fault);
	if (r == 0)
		r = userns_map(l->pid, "gid_map", &config->gid_maps);
	return r < 0 ? fault_set(fault, r, "linux.uidMappings") : 0;
}

static int answer_maps(struct launch *l, struct fault *fault)
{
	int r = map(l, fault);

	if (r < 0)
		return r;
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
		/* A child that was told to go on before it was ready, and
		 * failed, ends with the word unread: the message follows. */
		do
			n = recv(l->channel, &message, sizeof(message), 0);
		while (n < 0 && (errno == EINTR || errno == ECONNRESET));
		if (n == 0 && l->early && l->child.began)
			return l->child.executes
				       ? 0
				       : fault_set(fault, -ECHILD,
						   "the process was killed");
		if (n == 0) {
			int r = launch_clone_again(l, fault);

			if (r == 0 && l->early)
				return CHILD_AGAIN;
			if (r == 0)
				continue;
			/* The agent waits for the end of what it reads. */
			seccomp_listener_close(&l->child);
			return r == -ESRCH ? 0 : r;
		}
		if (n != (ssize_t)sizeof(message))
			return fault_set(fault, n < 0 ? -errno : -EBADMSG,
					 "message of the child");
		l->heard = true;
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
	int r = send(l->channel, "g", 1, MSG_NOSIGNAL) == 1 ? 0 : -EPIPE;

	fd_close(&l->exe);
	return r;
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
	fd_close(&l->pidfd);
	fd_close(&l->resctrl);
	fd_close(&l->network);
	fd_close(&l->child.host_proc);
	fd_close(&l->child.reaper);
	fd_close(&l->child.start_listener);
	seccomp_listener_close(&l->child);
	fd_close(&l->child.creating_state);
	fd_close(&l->child.created_state);
	plan_free(&l->plan);
}
