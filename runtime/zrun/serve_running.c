/* ZRUN_KILL, ZRUN_SOCKETS, ZRUN_FREEZER, ZRUN_LIST: what concerns containers
 * that are there. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "kernel.h"
#include "policy.h"
#include "resident.h"
#include "store_link.h"
#include "zrun/netlink.h"

struct resident_container *container_running(const struct asked *asked,
					     struct zrun_reply *reply,
					     int *error)
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
		*error = c->phase == PHASE_STARTING || c->phase == PHASE_DOZING
				 ? -EAGAIN
				 : -ESRCH;
	}
	return *error ? NULL : c;
}

int container_cgroup(const struct resident_container *c, struct cgroup *cg)
{
	char path[100];

	*cg = CGROUP_NONE;
	snprintf(path, sizeof(path), "zooid/%s", c->cgroup);
	cg->root = fcntl(resident.cgroups.root, F_DUPFD_CLOEXEC, 3);
	return cg->root < 0 ? -errno : cgroup_open(cg, path);
}

ino_t container_namespace(pid_t pid, const char *kind)
{
	char path[40];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)pid, kind);
	return stat(path, &st) < 0 ? 0 : st.st_ino;
}

/* A process of ZRUN_EXEC is init's to know. */
static int exec_kill(const char *id, uint32_t number, int signal)
{
	autoclose int pidfd = init_get(INIT_KIND_PIDFD, id, number);

	return pidfd < 0 ? pidfd : kernel_pidfd_signal(pidfd, signal);
}

int serve_kill(const struct asked *asked, struct zrun_reply *reply)
{
	int signal = (int)asked->request->arg, r;
	struct resident_container *c = container_running(asked, reply, &r);
	struct cgroup cg;

	if (!c)
		return r;
	if (asked->request->arg > 64)
		return -EINVAL;
	if (asked->request->flags >= ZRUN_KILL_EXEC)
		return exec_kill(c->id, asked->request->flags / ZRUN_KILL_EXEC,
				 signal);
	if (!(asked->request->flags & ZRUN_KILL_ALL))
		return kernel_pidfd_signal(c->pidfd, signal);
	r = container_cgroup(c, &cg);
	if (r == 0)
		r = cgroup_signal(&cg, signal);
	cgroup_close(&cg);
	return r;
}

int serve_freezer(const struct asked *asked, struct zrun_reply *reply,
		  struct ipc_fds *fds)
{
	struct cgroup cg;
	int r;
	struct resident_container *c = container_running(asked, reply, &r);

	if (!c)
		return r;
	r = container_cgroup(c, &cg);
	if (r == 0)
		r = kernel_result(
			openat(cg.dir, "cgroup.freeze", O_WRONLY | O_CLOEXEC));
	cgroup_close(&cg);
	if (r >= 0)
		fds->fd[fds->n++] = r;
	else
		snprintf(reply->text, sizeof(reply->text),
			 "container %s: its freezer: %s", c->id, strerror(-r));
	return r < 0 ? r : 0;
}

int serve_list(const struct asked *asked, struct zrun_reply *reply)
{
	static const char *const names[] = {
		[PHASE_STARTING] = "creating", [PHASE_RUNNING] = "running",
		[PHASE_ENDED] = "stopped",     [PHASE_DELETING] = "stopped",
		[PHASE_DOZING] = "running",    [PHASE_ASLEEP] = "asleep",
	};
	uint32_t n = asked->request->arg;

	for (struct resident_container *c = NULL; (c = container_next(c));) {
		if (n-- > 0)
			continue;
		text_copy(reply->id, sizeof(reply->id), c->id);
		text_copy(reply->text, sizeof(reply->text), names[c->phase]);
		reply->pid = c->phase == PHASE_RUNNING ? (uint32_t)c->pid : 0;
		if (c->phase == PHASE_ASLEEP)
			memcpy(reply->note, c->note, sizeof(reply->note));
		return 0;
	}
	return -ENOENT;
}

/* A socket of the namespace that we are in, which may use any local address and
 * leads its replies back (netlink.c). */
static int make_socket(uint32_t flags)
{
	int one = 1, mark = NETWORK_MARK, r;
	int family = flags & ZRUN_SOCKETS_V6 ? AF_INET6 : AF_INET;
	int type = flags & ZRUN_SOCKETS_UDP ? SOCK_DGRAM : SOCK_STREAM;
	autoclose int fd = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK,
				  0);

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
	int r;
	struct resident_container *c = container_running(asked, reply, &r);

	if (!c)
		return r;
	if (q->arg == 0 || q->arg > ZRUN_SOCKETS_MAX)
		return -EINVAL;
	/* In the node's own network they would be anybody on it. */
	if (c->capabilities & POLICY_HOST(RUNTIME_NS_NETWORK))
		return -EPERM;
	if (setns(c->pidfd, CLONE_NEWNET) < 0)
		return -errno;
	for (uint32_t i = 0; r >= 0 && i < q->arg; i++) {
		r = make_socket(q->flags);
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
