/* ZRUN_KILL, ZRUN_EXEC, ZRUN_SOCKETS, ZRUN_LIST: what concerns containers that
 * are there. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "join.h"
#include "kernel.h"
#include "policy.h"
#include "resident.h"
#include "seccomp_filter.h"
#include "zrun/netlink.h"

static struct resident_container *find(const struct asked *asked,
				       struct zrun_reply *reply, int *error)
{
	const char *id = asked->request->id;
	struct resident_container *c = container_find(id);

	*error = 0;
	if (!c) {
		snprintf(reply->text, sizeof(reply->text),
			 "container %s does "
			 "not exist",
			 id);
		*error = -ENOENT;
	} else if (c->phase != PHASE_RUNNING) {
		snprintf(reply->text, sizeof(reply->text),
			 "container %s does "
			 "not run",
			 id);
		*error = c->phase == PHASE_STARTING ? -EAGAIN : -ESRCH;
	}
	return *error ? NULL : c;
}

static int open_cgroup(const char *id, struct cgroup *cg)
{
	char path[100];

	*cg = (struct cgroup)CGROUP_NONE;
	snprintf(path, sizeof(path), "zooid/%s", id);
	cg->root = fcntl(resident.cgroups.root, F_DUPFD_CLOEXEC, 3);
	return cg->root < 0 ? -errno : cgroup_open(cg, path);
}

int serve_kill(const struct asked *asked, struct zrun_reply *reply)
{
	int signal = (int)asked->request->arg, r;
	struct resident_container *c = find(asked, reply, &r);
	struct cgroup cg;

	if (!c)
		return r;
	if (asked->request->arg > 64)
		return -EINVAL;
	if (!(asked->request->flags & ZRUN_KILL_ALL))
		return kernel_pidfd_signal(c->pidfd, signal);
	r = open_cgroup(c->id, &cg);
	if (r == 0)
		r = cgroup_signal(&cg, signal);
	cgroup_close(&cg);
	return r;
}

int serve_list(const struct asked *asked, struct zrun_reply *reply)
{
	static const char *const names[] = {
		[PHASE_STARTING] = "creating",
		[PHASE_RUNNING] = "running",
		[PHASE_ENDED] = "stopped",
		[PHASE_DELETING] = "stopped",
	};
	uint32_t n = asked->request->arg;

	for (int i = 0; i < RESIDENT_CONTAINERS_MAX; i++) {
		const struct resident_container *c = &resident.container[i];

		if (c->phase == PHASE_FREE || n-- > 0)
			continue;
		text_copy(reply->id, sizeof(reply->id), c->id);
		text_copy(reply->text, sizeof(reply->text), names[c->phase]);
		reply->pid = c->phase == PHASE_RUNNING ? (uint32_t)c->pid : 0;
		return 0;
	}
	return -ENOENT;
}

/* A stream socket of the namespace that we are in, which may use any local
 * address and leads its replies back (netlink.c). */
static int make_socket(int family)
{
	int one = 1, mark = NETWORK_MARK, r;
	autoclose int fd =
		socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return -errno;
	r = family == AF_INET6 ? setsockopt(fd, IPPROTO_IPV6, IPV6_TRANSPARENT,
					    &one, sizeof(one))
			       : setsockopt(fd, IPPROTO_IP, IP_TRANSPARENT,
					    &one, sizeof(one));
	if (r < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_MARK, &mark, sizeof(mark)) < 0)
		return -errno;
	return fd_take(&fd);
}

int serve_sockets(const struct asked *asked, struct zrun_reply *reply,
		  struct ipc_fds *fds)
{
	const struct zrun_request *q = asked->request;
	int family = q->flags & ZRUN_SOCKETS_V6 ? AF_INET6 : AF_INET, r;
	struct resident_container *c = find(asked, reply, &r);

	if (!c)
		return r;
	if (q->arg == 0 || q->arg > ZRUN_SOCKETS_MAX)
		return -EINVAL;
	if (setns(c->pidfd, CLONE_NEWNET) < 0)
		return -errno;
	for (uint32_t i = 0; r >= 0 && i < q->arg; i++) {
		r = make_socket(family);
		if (r >= 0)
			fds->fd[fds->n++] = r;
	}
	/* Going on in a container's namespace would be worse than dying. */
	if (setns(resident.own_netns, CLONE_NEWNET) < 0) {
		log_error(c->id, "cannot leave its network namespace");
		_exit(1);
	}
	if (fds->n > 0)
		return 0; /* some are better than none */
	snprintf(reply->text, sizeof(reply->text), "container %s: socket: %s",
		 c->id, strerror(-r));
	return r;
}

struct exec {
	struct runtime_config config;
	struct launch launch;
	struct join join;
	struct cgroup cgroup;
	struct fault fault;
};

static int exec_config(struct exec *e, const struct asked *asked)
{
	autofree char *text = NULL;
	char error[RUNTIME_ERROR_SIZE], refusal[POLICY_TEXT_SIZE];
	size_t size;

	if (asked->fds->n != 4)
		return fault_set(&e->fault, 0,
				 "want the process and three "
				 "descriptors with the message");
	int r = memfd_read(asked->fds->fd[0], ZRUN_CONFIG_MAX, &text, &size);

	if (r < 0)
		return fault_set(&e->fault, r, "process");
	r = runtime_process_parse(&e->config, text, size, error);
	if (r < 0)
		return fault_set(&e->fault, 0, "process: %s", error);
	/* The descriptors given are the terminal, if there is one. */
	if (e->config.process.terminal)
		return fault_set(&e->fault, 0,
				 "process.terminal: not "
				 "supported by this version of zrun serve");
	r = policy_process(&e->config.process, refusal);
	if (r < 0)
		fault_set(&e->fault, 0, "refused: %s", refusal);
	return r;
}

static const struct timeval exec_limit = { .tv_sec = 2 };

static int exec_clone(struct exec *e, const struct asked *asked,
		      const struct resident_container *c)
{
	struct plan_setting setting = { .seccomp = true, .user_name = true };
	struct launch *l = &e->launch;
	int r = open_cgroup(c->id, &e->cgroup);

	if (r < 0)
		return fault_set(&e->fault, r, "cgroup");
	r = join_open(&e->join, c->pid, &e->fault);
	if (r < 0)
		return r;
	/* While the pidfd says that it lives, the number was its own. */
	r = kernel_pidfd_signal(c->pidfd, 0);
	if (r < 0)
		return fault_set(&e->fault, r, "it ended");
	join_setting(&e->join, &setting, l);
	l->exec = true;
	l->parent_is_init = true;
	l->cgroup_dir = e->cgroup.dir;
	l->child.filter = seccomp_default();
	l->child.grantable = launch_grantable(false);
	for (int i = 0; i < 3; i++)
		l->child.stdio[i] = asked->fds->fd[i + 1];
	r = plan_exec(&l->plan, &e->config, &setting, &e->fault);
	if (r == 0)
		r = launch_clone(l, &e->fault);
	/* Joining takes microseconds; a program on a stuck file system must
	 * not hold up the loop for long. */
	if (r == 0)
		setsockopt(l->channel, SOL_SOCKET, SO_RCVTIMEO, &exec_limit,
			   sizeof(exec_limit));
	if (r == 0)
		r = launch_receive(l, &e->fault);
	if (r == 0)
		return fault_set(&e->fault, -ECHILD, "it was killed");
	if (r > 0)
		r = launch_go(l);
	return r < 0 ? r : launch_receive(l, &e->fault);
}

int serve_exec(const struct asked *asked, struct zrun_reply *reply,
	       struct ipc_fds *fds)
{
	struct exec e = { .cgroup = CGROUP_NONE };
	int r;
	struct resident_container *c = find(asked, reply, &r);

	if (!c)
		return r;
	launch_init(&e.launch, c->id, &e.config);
	join_init(&e.join);
	r = exec_config(&e, asked);
	if (r == 0)
		r = exec_clone(&e, asked, c);
	if (r < 0) {
		launch_kill(&e.launch);
		snprintf(reply->text, sizeof(reply->text),
			 "container %.63s: %.180s", c->id, e.fault.text);
	} else {
		reply->pid = (uint32_t)e.launch.pid;
		fds->fd[fds->n++] = fd_take(&e.launch.pidfd);
	}
	join_close(&e.join);
	cgroup_close(&e.cgroup);
	launch_close(&e.launch);
	runtime_config_free(&e.config);
	return r;
}
