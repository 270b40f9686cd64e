#define _GNU_SOURCE
#include "child.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "kernel.h"
#include "launch.h"
#include "state.h"
#include "zrun/netlink.h"

bool child_leaves;

int child_detail(struct child *c, int error, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(c->detail, sizeof(c->detail), fmt, args);
	va_end(args);
	return error;
}

static void send_message(int sock, uint32_t what, const struct child *c, int op,
			 int error)
{
	struct child_message message = { .what = what,
					 .op = op,
					 .error = error };

	if (what == CHILD_FAILED && op >= 0)
		message.code = c->plan->op[op].code;
	memcpy(message.detail, c->detail, sizeof(message.detail));
	if (sock >= 0)
		(void)send(sock, &message, sizeof(message), MSG_NOSIGNAL);
}

/* For the parent's one-byte answer; a parent that went away ends the child. */
static void await_parent(const struct child *c)
{
	char answer;
	ssize_t n;

	do
		n = recv(c->channel, &answer, 1, 0);
	while (n < 0 && errno == EINTR);
	if (n != 1)
		_exit(1);
}

static void ask_parent(const struct child *c, uint32_t what)
{
	send_message(c->channel, what, c, 0, 0);
	await_parent(c);
}

/* The parent has staged the state before its go: from here on somebody who
 * looks finds the container running, as it soon does. */
static int commit(const struct child *c, int state_dir)
{
	await_parent(c);
	return state_dir < 0 ? 0 : state_commit(state_dir);
}

/* Serves the socket that `zrun start` connects to. Whoever connects and goes
 * away without the byte 's' (`zrun state` does) changes nothing. The
 * connection stays open, so that the failure of execve can be told; its
 * success closes it. */
static void wait_start(struct child *c)
{
	for (;;) {
		int peer = accept4(c->start_listener, NULL, NULL, SOCK_CLOEXEC);
		char byte = 0;

		if (peer < 0 && (errno == EINTR || errno == ECONNABORTED))
			continue;
		if (peer < 0)
			_exit(1);
		if (recv(peer, &byte, 1, 0) == 1 && byte == 's') {
			c->start_peer = peer;
			return;
		}
		close(peer);
	}
}

static int set_id_maps(struct child *c)
{
	ask_parent(c, CHILD_NEEDS_MAPS);
	if (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0)
		return child_detail(c, -errno,
				    "become root of the user "
				    "namespace");
	/* Changing ids cleared it, and /proc/self must stay ours. */
	prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
	return 0;
}

static int set_oom_score(struct child *c, int64_t score)
{
	char text[24];

	snprintf(text, sizeof(text), "%lld", (long long)score);
	return file_put(c->host_proc, "self/oom_score_adj", text);
}

static int set_sysctl(struct child *c, const char *key, const char *value)
{
	char path[4 + SYSCTL_PATH_SIZE] = "sys/";

	sysctl_path(key, path + 4);
	return file_put(c->host_proc, path, value);
}

/* A lower limit of descriptors takes no privilege: it waits, since until
 * execve more are open than the program will have. */
static int set_rlimit(struct child *c, const struct runtime_rlimit *limit)
{
	struct rlimit want = { .rlim_cur = limit->soft,
			       .rlim_max = limit->hard };
	struct rlimit is;

	if (limit->resource == RLIMIT_NOFILE &&
	    getrlimit(RLIMIT_NOFILE, &is) == 0 &&
	    want.rlim_max <= is.rlim_max) {
		c->files_limit = limit;
		return 0;
	}
	if (setrlimit((int)limit->resource, &want) == 0)
		return 0;
	return child_detail(c, -errno, "limit %llu above what zrun may set",
			    (unsigned long long)limit->hard);
}

static int root_readonly(struct child *c)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };

	return kernel_mount_setattr(c->root, 0, &attr);
}

/* createContainer hooks end when the parent dies, as the child does; those of
 * startContainer are the container's own. */
static int run_hooks(struct child *c, enum op_code code,
		     const struct runtime_hooks *hooks)
{
	bool starts = code == OP_HOOKS_START;
	const struct hook_place place = {
		.state = starts ? c->created_state : c->creating_state,
		.dir = starts ? -1 : c->root,
		.watch = starts ? -1 : c->channel,
	};
	char detail[HOOK_DETAIL_SIZE];

	if (!starts)
		umask(c->umask);
	int r = hooks_run(hooks, &place, detail);

	if (!starts)
		umask(0);
	return r < 0 ? child_detail(c, r, "%s", detail) : 0;
}

/* The host's session keyring would go along otherwise. A kernel without keys,
 * or one where they are forbidden, has none to hide. */
static int new_keyring(void)
{
	long r = syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);

	return r < 0 && errno != ENOSYS && errno != EPERM ? -errno : 0;
}

static int result(int r)
{
	return r < 0 ? -errno : 0;
}

static int run_op(struct child *c, const struct op *op)
{
	switch (op->code) {
	case OP_JOIN:
		if (op->number == CLONE_NEWUSER && c->user_joined)
			return 0;
		return result(setns(op->fd, (int)op->number));
	case OP_ID_MAPS:
		return set_id_maps(c);
	case OP_CGROUP_NAMESPACE:
		return result(unshare(CLONE_NEWCGROUP));
	case OP_TIME_OFFSETS:
		return child_time_offsets(c);
	case OP_OOM_SCORE:
		return set_oom_score(c, (int64_t)op->number);
	case OP_SYSCTL:
		return set_sysctl(c, op->path, op->text);
	case OP_ADDRESS:
		return network_address((uint32_t)op->number);
	case OP_NETWORK:
		return network_prepare(c->host_proc, (uint32_t)op->number);
	case OP_NETWORK_TAKE:
		return launch_network_take(c->channel);
	case OP_PROPAGATION:
	case OP_ROOT_PROPAGATION:
		return child_propagation(op->number);
	case OP_ROOT_BIND:
		return child_root_bind(c, op);
	case OP_ROOT_OVERLAY:
		return child_root_overlay(c, op->object);
	case OP_ROOT_TAKE:
		return child_root_take(c, op->fd);
	case OP_ROOT_OPEN:
		return child_root_open(c, op->path);
	case OP_ROOT_ENTER:
		return child_root_enter(c, op->fd);
	case OP_MOVE:
		return child_move(c, op->object);
	case OP_ROOT_HERE:
		return child_root_here(c);
	case OP_UNMOUNT:
		return child_unmount(c, op->path);
	case OP_MOUNT:
		return child_mount(c, op->object, op->fd);
	case OP_DEVICE:
		return child_device(c, op->object);
	case OP_DEVICE_BIND:
		return child_device_bind(c, op->object);
	case OP_SYMLINK:
		return child_symlink(c, op->path, op->text);
	case OP_MASK:
		return child_mask(c, op->path);
	case OP_READONLY:
		return child_readonly(c, op->path);
	case OP_TERMINAL:
		return child_terminal(c);
	case OP_CWD_MAKE:
		return child_make(c, op->path, true);
	case OP_ROOT_READONLY:
		return root_readonly(c);
	case OP_MOVE_ROOT:
		return child_move_root(c);
	case OP_PIVOT:
		return child_pivot(c);
	case OP_HOSTNAME:
		return result(sethostname(op->text, strlen(op->text)));
	case OP_DOMAINNAME:
		return result(setdomainname(op->text, strlen(op->text)));
	case OP_PERSONALITY:
		return child_personality((uint32_t)op->number);
	case OP_MEMORY_POLICY:
		return child_memory_policy(op->object);
	case OP_KEYRING:
		return new_keyring();
	case OP_SESSION:
		return child_session(c);
	case OP_RLIMIT:
		return set_rlimit(c, op->object);
	case OP_CWD:
		return child_cwd(c, op->path);
	case OP_USER_NAME:
		return child_user_name(c, op->text);
	case OP_USER:
		return child_user(c);
	case OP_CAPABILITIES:
		return child_capabilities(c);
	case OP_APPARMOR:
		return child_apparmor(c, op->text);
	case OP_SELINUX:
		return child_selinux(c, op->text);
	case OP_NO_NEW_PRIVILEGES:
		return result(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	case OP_HOME:
		identity_home(c->has_identity ? c->identity.uid
					      : c->process->user.uid,
			      (char *)op->text, HOME_SIZE);
		return 0;
	case OP_LOOKUP:
		return child_lookup(c);
	case OP_HOOKS_RUNTIME:
		ask_parent(c, CHILD_HOOKS);
		return 0;
	case OP_HOOKS_CONTAINER:
	case OP_HOOKS_START:
		return run_hooks(c, op->code, op->object);
	case OP_READY:
		ask_parent(c, CHILD_READY);
		return 0;
	case OP_COMMIT:
		return commit(c, op->fd);
	case OP_WAIT_START:
		wait_start(c);
		return 0;
	case OP_DESCRIPTORS:
		return child_descriptors(c);
	case OP_SECCOMP:
		return child_seccomp(c);
	case OP_EXEC:
		return child_exec(c);
	case OP_COUNT:
		break;
	}
	return -EINVAL;
}

/* The signals that are ignored or handled; all if the kernel does not say. */
static uint64_t changed_signals(const struct child *c)
{
	char text[2048];
	autoleave int fd = openat(c->host_proc, "self/status",
				  O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (n < 0)
		return UINT64_MAX;
	text[n] = '\0';
	const char *ignored = strstr(text, "\nSigIgn:");
	const char *handled = strstr(text, "\nSigCgt:");

	if (!ignored || !handled)
		return UINT64_MAX;
	return strtoull(ignored + 8, NULL, 16) |
	       strtoull(handled + 8, NULL, 16);
}

/* zrun blocks or handles signals for its own sake; a program starts with none
 * of that. */
static void reset_signals(const struct child *c)
{
	struct sigaction standard = { .sa_handler = SIG_DFL };
	uint64_t changed = changed_signals(c);
	sigset_t none;

	for (int i = 1; i < NSIG; i++) {
		if (changed >> (i - 1) & 1)
			sigaction(i, &standard, NULL);
	}
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static int take_stdio(const struct child *c)
{
	for (int i = 0; i < 3; i++) {
		if (c->stdio[i] >= 0 && dup2(c->stdio[i], i) < 0)
			return -errno;
	}
	return 0;
}

_Noreturn void child_fail(const struct child *c, int op, int error)
{
	int to = c->start_peer >= 0 ? c->start_peer : c->channel;

	send_message(to, CHILD_FAILED, c, op, error);
	_exit(1);
}

int child_run_some(struct child *c, size_t *n)
{
	for (size_t i = 0; i < *n; i++) {
		const struct op *op = &c->plan->op[i];

		c->detail[0] = '\0';
		if (op->code != OP_DEVICE && op->code != OP_SYMLINK)
			child_parent_close(c);
		int r = run_op(c, op);

		if (r < 0) {
			*n = i;
			return r;
		}
	}
	return 0;
}

void child_reset(struct child *c)
{
	c->root = c->mask = c->null = c->fresh = c->files = -1;
	c->proc = c->sys = c->parent = -1;
	c->mask_at = c->null_at = c->here = -1;
	c->umask = umask(0);
	c->start_peer = c->terminal = -1;
	reset_signals(c);
	/* In a pid namespace that is joined, others could otherwise trace this
	 * process and take its descriptors of the host (CVE-2016-9962); execve
	 * undoes it. For a user namespace /proc/PID/uid_map must stay ours. */
	if (!c->new_user_namespace && !c->hidden)
		prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

_Noreturn void child_run(struct child *c)
{
	child_reset(c);
	child_finish(c);
}

_Noreturn void child_finish(struct child *c)
{
	size_t n = c->plan->n;
	int r = take_stdio(c);

	if (r < 0)
		child_fail(c, -1, r);
	r = child_run_some(c, &n);
	child_fail(c, (int)n, r < 0 ? r : -EINVAL);
}
