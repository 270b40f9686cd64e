/* ZRUN_EXEC: one more process in a container that runs.
 *
 *	child: joins ... READY | go | execve (the channel ends)
 *	serve: clone           | INIT_PUT, go | reply
 *
 * The child waits for init to have its pidfd, as the first process of a
 * container does, so its exit status is never lost, not even when serve is
 * killed meanwhile. Where execve fails after that, the child's end is waited
 * for, so that its record is gone when the asker is told. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "join.h"
#include "kernel.h"
#include "policy.h"
#include "resident.h"
#include "seccomp_filter.h"
#include "store_link.h"

enum { EXEC_TIMEOUT_MS = 10000, END_TIMEOUT_MS = 2000 };

struct exec {
	struct watch channel; /* then, after a failure, the pidfd */
	struct timer timer;
	struct asker asker;
	char id[ZRUN_ID_SIZE];
	uint32_t n;	  /* of init's key */
	uint64_t granted; /* capabilities of its container */
	uint8_t note[INIT_NOTE_SIZE];
	struct runtime_config config;
	struct launch launch;
	bool released; /* told to go: the channel's end means execve */
	int error;     /* what the asker is told, once the child is gone */
	struct fault fault;
};

static void exec_free(struct exec *e)
{
	watch_del(&resident.loop, &e->channel);
	timer_cancel(&e->timer);
	launch_close(&e->launch);
	for (int i = 0; i < 3; i++)
		fd_close(&e->launch.child.stdio[i]);
	runtime_config_free(&e->config);
	free(e);
}

static void exec_answer(struct exec *e)
{
	struct zrun_reply reply = { .error = e->error };
	struct ipc_fds fds = { .n = 1, .fd = { e->launch.pidfd } };

	memcpy(reply.id, e->id, sizeof(reply.id));
	if (e->error < 0)
		snprintf(reply.text, sizeof(reply.text),
			 "container %.63s: %.180s", e->id, e->fault.text);
	else
		reply.pid = (uint32_t)e->launch.pid;
	serve_answer(&e->asker, &reply, e->error < 0 ? NULL : &fds);
	exec_free(e);
}

static void end_ready(struct watch *w, uint32_t events)
{
	struct exec *e = container_of(w, struct exec, channel);

	(void)events;
	init_drop(INIT_KIND_PIDFD, e->id, e->n);
	exec_answer(e);
}

/* It hangs in the kernel; ZRUN_DELETE will find its record. */
static void end_late(struct timer *t)
{
	exec_answer(container_of(t, struct exec, timer));
}

static void exec_fail(struct exec *e, int error)
{
	e->error = error;
	launch_kill(&e->launch);
	watch_del(&resident.loop, &e->channel);
	e->channel.ready = end_ready;
	e->timer.fire = end_late;
	timer_set(&resident.loop, &e->timer, END_TIMEOUT_MS);
	/* Without a record nothing keeps the answer. */
	if (!e->released || watch_add(&resident.loop, &e->channel,
				      e->launch.pidfd, EPOLLIN) < 0)
		exec_answer(e);
}

/* The child has joined: init gets it, then it may go on. */
static int exec_release(struct exec *e)
{
	int r = init_put(INIT_KIND_PIDFD, e->id, e->n, e->launch.pidfd,
			 e->note);

	if (r < 0)
		return fault_set(&e->fault, r, "hand it to init as number %u",
				 e->n);
	e->released = true;
	r = launch_go(&e->launch);
	return r < 0 ? fault_set(&e->fault, r, "it was killed") : 0;
}

static void channel_ready(struct watch *w, uint32_t events)
{
	struct exec *e = container_of(w, struct exec, channel);
	int r = launch_receive(&e->launch, &e->fault);

	(void)events;
	if (r == CHILD_READY) {
		r = exec_release(e);
		if (r < 0)
			exec_fail(e, r);
	} else if (r == 0 && e->released) {
		exec_answer(e);
	} else {
		exec_fail(e, r < 0 ? r
				   : fault_set(&e->fault, -ECHILD,
					       "it was killed"));
	}
}

static void exec_late(struct timer *t)
{
	struct exec *e = container_of(t, struct exec, timer);

	exec_fail(e, fault_set(&e->fault, -ETIMEDOUT, "exec"));
}

static int read_process(struct exec *e, const struct asked *asked)
{
	autofree char *text = NULL;
	char error[RUNTIME_ERROR_SIZE], refusal[POLICY_TEXT_SIZE];
	size_t size;

	if (e->n == 0 || e->n > ZRUN_EXECS_MAX)
		return fault_set(&e->fault, 0, "exec: want a number 1 to %d",
				 ZRUN_EXECS_MAX);
	if (asked->fds->n != 4)
		return fault_set(&e->fault, 0,
				 "want the process and three "
				 "descriptors with the message");
	for (int i = 1; i < 4; i++) {
		if (policy_stdio(asked->fds->fd[i]) == 0)
			continue;
		fault_set(&e->fault, 0,
			  "refused: descriptor %d: want a pipe or the null "
			  "device",
			  i - 1);
		return -EPERM;
	}
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
	r = policy_process(&e->config.process, e->granted, refusal);
	if (r < 0)
		fault_set(&e->fault, 0, "refused: %s", refusal);
	return r;
}

/* The namespaces and the cgroup are held by the clone only. */
static int clone_into(struct exec *e, const struct resident_container *c,
		      struct join *join, struct cgroup *cgroup)
{
	bool is_privileged = e->granted & POLICY_PRIVILEGED;
	struct plan_setting setting = { .seccomp = !is_privileged,
					.user_name = true };
	struct launch *l = &e->launch;
	int r = container_cgroup(c, cgroup);

	if (r < 0)
		return fault_set(&e->fault, r, "cgroup");
	/* What is born in a frozen one would never say that it is there. */
	cgroup_freeze(cgroup, false);
	r = join_open(join, c->pid, NULL, &e->fault);
	if (r < 0)
		return r;
	/* While the pidfd says that it lives, the number was its own. */
	r = kernel_pidfd_signal(c->pidfd, 0);
	if (r < 0)
		return fault_set(&e->fault, r, "it ended");
	join_setting(join, &setting, l);
	l->exec = true;
	l->parent_is_init = true;
	l->cgroup_dir = cgroup->dir;
	if (!is_privileged)
		l->child.filter = seccomp_default();
	l->child.grantable = launch_grantable(false);
	r = plan_exec(&l->plan, &e->config, &setting, &e->fault);
	if (r == 0)
		r = launch_clone(l, &e->fault);
	l->join_pid = l->cgroup_dir = -1;
	return r;
}

static int prepare(struct exec *e, const struct asked *asked,
		   const struct resident_container *c)
{
	struct cgroup cgroup = CGROUP_NONE;
	struct join join;
	int r = read_process(e, asked);

	if (r < 0)
		return r;
	for (int i = 0; i < 3; i++)
		e->launch.child.stdio[i] = ipc_fds_take(asked->fds, i + 1);
	join_init(&join);
	r = clone_into(e, c, &join, &cgroup);
	join_close(&join);
	cgroup_close(&cgroup);
	for (int i = 0; i < 3; i++)
		fd_close(&e->launch.child.stdio[i]);
	if (r < 0)
		return r;
	e->channel.ready = channel_ready;
	r = watch_add(&resident.loop, &e->channel, e->launch.channel, EPOLLIN);
	return r < 0 ? fault_set(&e->fault, r, "watch") : 0;
}

int serve_exec(const struct asked *asked, struct zrun_reply *reply)
{
	int r;
	struct resident_container *c = container_running(asked, reply, &r);
	struct exec *e = c ? calloc(1, sizeof(*e)) : NULL;

	if (!e)
		return c ? -ENOMEM : r;
	e->asker = asked->asker;
	e->n = asked->request->arg;
	e->granted = c->capabilities;
	e->channel.fd = -1;
	e->timer.fire = exec_late;
	memcpy(e->id, c->id, sizeof(e->id));
	memcpy(e->note, asked->request->note, sizeof(e->note));
	launch_init(&e->launch, e->id, &e->config);
	r = prepare(e, asked, c);
	if (r == 0) {
		timer_set(&resident.loop, &e->timer, EXEC_TIMEOUT_MS);
		return SERVE_LATER;
	}
	snprintf(reply->text, sizeof(reply->text), "container %.63s: %.180s",
		 e->id, e->fault.text);
	launch_kill(&e->launch);
	exec_free(e);
	return r;
}
