/* clone3 with all that makes it cheap.
 *
 * The child is born inside its cgroup: writing cgroup.procs makes the kernel
 * wait until every processor has passed a quiet point, some milliseconds on a
 * busy machine.
 *
 * And it shares the memory of a process that has nothing else to do, on a stack
 * of its own, so that no page table is copied and no page twice. The two take
 * turns: the parent waits in recv() from the clone until the child waits in
 * recv() for its word, and again until the channel closes. What one of them
 * writes, even errno, so never meets the other. Between clone3 and recv() the
 * parent makes no call that could fail. After launch_early() both work at the
 * same time, until the parent's word: it then makes no call that is expected to
 * fail, as a failure ends the container anyway, whatever errno says by then;
 * nothing that it writes but the filter is the child's to read, and that after
 * the word only. It may not free what the child uses
 * before execve, which for `zrun create` is never. Not shared when that would
 * show: what the child does to its own time, user namespace or OOM score would
 * be done to its parent, and hooks take time. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdalign.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "clone_shared.h"
#include "kernel.h"
#include "launch.h"

#define STACK_SIZE (128 << 10)

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
	take_lower(l->child.listener, least, &lowest);
	take_lower(l->child.reaper, least, &lowest);
	take_lower(l->child.creating_state, least, &lowest);
	take_lower(l->child.created_state, least, &lowest);
	for (size_t i = 0; i < l->plan.n; i++)
		take_lower(l->plan.op[i].fd, least, &lowest);
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
		    (i == RUNTIME_NS_NETWORK && l->network_apart) ||
		    (i == RUNTIME_NS_TIME && plan_offsets_time(l->config)))
			continue;
		if (ns->set && !ns->path)
			flags |= namespace_flag((enum runtime_namespace)i);
	}
	return flags;
}

static bool may_share(const struct launch *l, uint64_t flags)
{
	if (!l->alone || !l->privileged ||
	    (flags & (CLONE_NEWUSER | CLONE_NEWTIME)))
		return false;
	for (size_t i = 0; i < l->plan.n; i++) {
		const struct op *op = &l->plan.op[i];

		switch (op->code) {
		case OP_JOIN:
			if (op->number & (CLONE_NEWUSER | CLONE_NEWTIME))
				return false;
			break;
		case OP_TIME_OFFSETS:
		case OP_OOM_SCORE:
		case OP_HOOKS_RUNTIME:
		case OP_HOOKS_CONTAINER:
		case OP_HOOKS_START:
			return false;
		default: /* all others end with execve */
			break;
		}
	}
	return true;
}

static bool parent_has_part(const struct launch *l)
{
	const struct runtime_process *process = l->child.process;

	return l->resctrl >= 0 || plan_parent_raises(l->config) ||
	       process->scheduler.policy.set || process->io_priority.class ||
	       (l->exec && process->cpu_affinity.final.set) ||
	       (!l->exec && l->config->n_net_device);
}

bool launch_early(struct launch *l, int state_dir)
{
	if (parent_has_part(l) || !may_share(l, clone_flags(l)))
		return false;
	struct op *op = l->plan.op;
	size_t user = 0, ready = 0;

	while (op[user].code != OP_USER_NAME && op[user].code != OP_USER)
		user++;
	while (op[ready].code != OP_READY)
		ready++;
	/* As another user it could not. */
	memmove(op + user + 1, op + user, (ready - user) * sizeof(*op));
	op[user] =
		(struct op){ .code = OP_COMMIT, .index = -1, .fd = state_dir };
	l->early = true;
	launch_network_apart(l);
	return true;
}

_Noreturn static void fail(const struct launch *l, int error, const char *what)
{
	struct child_message message = { .what = CHILD_FAILED,
					 .op = -1,
					 .error = error };

	snprintf(message.detail, sizeof(message.detail), "%s", what);
	(void)send(l->child.channel, &message, sizeof(message), MSG_NOSIGNAL);
	_exit(1);
}

static void enter_cgroup(const struct launch *l)
{
	const struct runtime_number_set *cpus =
		&l->child.process->cpu_affinity.initial;
	int r = l->exec && cpus->set ? launch_affinity(0, cpus) : 0;

	if (r < 0)
		fail(l, r, "process.execCPUAffinity.initial");
	if (l->cgroup_dir >= 0 && !l->born_inside)
		r = file_put(l->cgroup_dir, "cgroup.procs", "0");
	if (r < 0)
		fail(l, r, "cgroup.procs");
}

static void child_main(void *data)
{
	struct launch *l = data;

	l->child.began = true;
	child_leaves = l->early;
	enter_cgroup(l);
	/* What executes its program at once closes the rest by that; the
	 * parent's end must be the parent's alone. */
	if (!l->early)
		close_others(l);
	else
		close(l->channel);
	if (l->early && l->exe >= 0)
		close(l->exe);
	child_run(&l->child);
}

static int clone_once(struct launch *l)
{
	/* From the end of a page on: of many calls the first few use one. */
	static alignas(4096) char stack[STACK_SIZE];
	struct clone_args args = {
		.flags = clone_flags(l),
		.pidfd = (uint64_t)(uintptr_t)&l->pidfd,
		.exit_signal = l->parent_is_init ? 0 : SIGCHLD,
	};

	if (l->born_inside) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)l->cgroup_dir;
	}
	if (may_share(l, args.flags)) {
		args.flags |= CLONE_VM;
		args.stack = (uint64_t)(uintptr_t)stack;
		args.stack_size = sizeof(stack);
		return clone_shared(&args, child_main, l);
	}
	int pid = kernel_clone3(&args);

	if (pid == 0)
		child_main(l);
	return pid;
}

/* Any refusal to be born in the cgroup is told better by entering it. */
static int clone_child(struct launch *l)
{
	int pid = clone_once(l);

	if (pid >= 0 || !l->born_inside)
		return pid;
	l->born_inside = false;
	return clone_once(l);
}

/* Joining a pid namespace holds for children only, and is undone after the
 * clone, since serve goes on in its own. */
static int clone_joined(struct launch *l)
{
	int own = openat(AT_FDCWD, "/proc/self/ns/pid", O_RDONLY | O_CLOEXEC);

	if (own < 0)
		return -errno;
	int pid = setns(l->join_pid, CLONE_NEWPID) < 0 ? -errno
						       : clone_child(l);

	if (setns(own, CLONE_NEWPID) < 0 && pid >= 0)
		pid = -errno;
	close(own);
	return pid;
}

/* The user namespace to join; -1: none. */
static int joined_user(const struct launch *l)
{
	for (size_t i = 0; i < l->plan.n; i++) {
		if (l->plan.op[i].code == OP_JOIN &&
		    l->plan.op[i].number == CLONE_NEWUSER)
			return l->plan.op[i].fd;
	}
	return -1;
}

static void join_one(const struct launch *l, int fd, enum runtime_namespace ns)
{
	char what[64];

	if (fd < 0 || setns(fd, (int)namespace_flag(ns)) == 0)
		return;
	int error = -errno;

	snprintf(what, sizeof(what), "linux.namespaces (%s)",
		 runtime_namespace_name(ns));
	fail(l, error, what);
}

/* The same for a container that has a user namespace, and others that are
 * joined: who is in a user namespace has no right to join what belongs to one
 * above, so root joins that last; what is new is to belong to it, so the child
 * is made afterwards. */
static int clone_ahead(struct launch *l)
{
	int user = l->join_fd[RUNTIME_NS_USER];
	bool last = geteuid() == 0;

	/* Our last right to. */
	enter_cgroup(l);
	l->cgroup_dir = -1;
	if (!last)
		join_one(l, user, RUNTIME_NS_USER);
	for (int i = RUNTIME_NS_USER + 1; i < RUNTIME_NS_COUNT; i++)
		join_one(l, l->join_fd[i], (enum runtime_namespace)i);
	if (last)
		join_one(l, user, RUNTIME_NS_USER);
	/* Files made from here on belong to its root. */
	if (user >= 0 && (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0))
		fail(l, -errno, "become root of the user namespace");
	l->parent_is_init = true;
	return clone_child(l);
}

/* In the process between: enters, makes the child, and leaves it to our
 * parent. */
static int clone_inside(struct launch *l, int user)
{
	if (setns(user, CLONE_NEWUSER) < 0 ||
	    setns(l->join_pid, CLONE_NEWPID) < 0)
		return -errno;
	l->child.user_joined = true;
	l->parent_is_init = true;
	return clone_child(l);
}

/* Without privilege one may join a pid namespace only from inside the user
 * namespace that owns it, and nobody comes back out of that. 0: the process
 * between has told by the channel why it failed. */
static int clone_between(struct launch *l, int user)
{
	int result[2], pid = -ECHILD;

	if (pipe2(result, O_CLOEXEC) < 0)
		return -errno;
	pid_t between = fork();

	if (between == 0) {
		pid = l->join_fd ? clone_ahead(l) : clone_inside(l, user);
		_exit(fd_write(result[1], &pid, sizeof(pid)) < 0);
	}
	close(result[1]);
	if (between > 0) {
		if (fd_read(result[0], &pid, sizeof(pid)) != sizeof(pid))
			pid = 0;
		waitpid(between, NULL, 0);
	}
	close(result[0]);
	l->pidfd = pid > 0 ? kernel_pidfd_open(pid) : -1;
	return pid > 0 && l->pidfd < 0 ? l->pidfd : pid;
}

static int launch_make(struct launch *l)
{
	int user = joined_user(l);

	if (l->join_fd) {
		l->born_inside = false;
		return clone_between(l, user);
	}
	if (l->join_pid < 0)
		return clone_child(l);
	return user >= 0 && !l->privileged ? clone_between(l, user)
					   : clone_joined(l);
}

/* Who is in a pid namespace that the child joins sees it from the clone on,
 * and must not get at its program file or descriptors (child_reset()): so it
 * is born untouchable. Somebody without privilege, or with maps to write for
 * it, must reach it himself. */
static int clone_hidden(struct launch *l)
{
	bool hides = !l->child.new_user_namespace && l->privileged;

	l->child.hidden = hides && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) == 0;
	int pid = launch_make(l);

	/* Shared memory has one such flag for both. */
	if (hides && !l->alone)
		prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	return pid;
}

static int launch_try(struct launch *l, struct fault *fault)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return fault_set(fault, -errno, "socketpair");
	l->channel = pair[0];
	l->child.channel = pair[1];
	l->child.began = l->child.executes = false;
	int pid = clone_hidden(l);

	close(pair[1]); /* its number stays: the child may share this memory */
	if (pid < 0)
		return fault_set(fault, pid, "clone");
	l->pid = pid;
	return 0;
}

int launch_clone(struct launch *l, struct fault *fault)
{
	const struct runtime_cpu_affinity *cpus =
		&l->child.process->cpu_affinity;

	/* Where it has a memory of its own, a piece is shared. */
	if (l->child.made &&
	    (l->join_fd || l->join_pid >= 0 || !may_share(l, clone_flags(l)))) {
		void *p = mmap(NULL, sizeof(struct made),
			       PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

		l->child.made = p == MAP_FAILED ? NULL : p;
	}
	/* A number that --preserve-fds means would go on into the container. */
	if (!l->early || l->exe < 3 + (int)l->child.preserve_fds)
		fd_close(&l->exe);
	l->child.host_proc = openat(AT_FDCWD, "/proc",
				    O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (l->child.host_proc < 0)
		return fault_set(fault, -errno, "/proc");
	/* The first processors are those from which it enters the cgroup. */
	l->born_inside = l->alone && l->cgroup_dir >= 0 &&
			 !(l->exec && cpus->initial.set);
	return launch_try(l, fault);
}

/* Where a process was ever killed by cgroup.kill in the maker's own cgroup
 * (init does so to services), the kernel takes the difference of the two kill
 * counts for a kill, and who is born inside another cgroup is born dead. */
int launch_clone_again(struct launch *l, struct fault *fault)
{
	siginfo_t info = { 0 };

	if (!l->born_inside || l->heard)
		return -ESRCH;
	if (waitid(P_PID, (id_t)l->pid, &info, WEXITED) < 0 ||
	    info.si_code != CLD_KILLED || info.si_status != SIGKILL)
		return -ESRCH;
	fd_close(&l->channel);
	fd_close(&l->pidfd);
	l->born_inside = false;
	return launch_try(l, fault);
}
