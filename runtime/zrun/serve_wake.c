/* ZRUN_WAKE: a container that sleeps becomes what it was.
 *
 *	worker: criu restores, stopped
 *	serve:  state BETWEEN ...| INIT_PUT, TUN, continue, state | reply */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "checkpoint.h"
#include "criu_image.h"
#include "kernel.h"
#include "policy.h"
#include "sleep.h"
#include "store_link.h"
#include "tun.h"

/* The processes that criu left, as a launch. */
static int find_process(struct start *s)
{
	struct launch *l = &s->launch;
	autofree char *text = NULL;
	size_t size;
	int r = file_read(s->state_dir, SLEEP_PID_FILE, 64, &text, &size);

	if (r < 0)
		return fault_set(&s->fault, r, "the id of what criu restored");
	unlinkat(s->state_dir, SLEEP_PID_FILE, 0);
	l->pid = (pid_t)strtol(text, NULL, 10);
	l->pidfd = l->pid > 0 ? kernel_pidfd_open(l->pid) : -ESRCH;
	return l->pidfd < 0
		       ? fault_set(&s->fault, l->pidfd,
				   "process %d that criu restored", (int)l->pid)
		       : 0;
}

static int note_awake(struct start *s)
{
	struct state *state = &s->state;
	char path[40];

	s->container->pid = state->pid = s->launch.pid;
	state->start_time = process_start_time(s->launch.pid);
	state->sleep = SLEEP_AWAKE;
	snprintf(path, sizeof(path), "/proc/%d/ns/mnt", (int)s->launch.pid);
	s->container->mounts = open(path, O_RDONLY | O_CLOEXEC);
	return state_write(s->state_dir, state);
}

/* It runs from here on, if it was not killed meanwhile. */
static int release(struct start *s)
{
	struct resident_container *c = s->container;
	int r = start_keep(s);

	if (r < 0)
		return r;
	r = c->address ? tun_give(c->id, s->launch.pidfd, c->address,
				  &s->config.annotations)
		       : 0;
	if (r < 0)
		return fault_set(&s->fault, r, "its network");
	/* In this order, so that it is never noted as awake while it stands
	 * still: whoever dies in between leaves one that is killed. */
	r = cgroup_signal(&s->cgroup, SIGCONT);
	if (r < 0)
		return fault_set(&s->fault, r, "let it go on");
	r = note_awake(s);
	return r < 0 ? fault_set(&s->fault, r, "keep its state") : 0;
}

int start_restored(struct start *s)
{
	struct resident_container *c = s->container;
	int r = find_process(s);

	if (r == 0)
		r = release(s);
	if (r < 0)
		return r;
	c->phase = PHASE_RUNNING;
	container_watch(c, fd_take(&s->launch.pidfd));
	return 0;
}

static int wake_run(struct container_work *work, char text[STORE_ERROR_SIZE])
{
	struct start *s = container_of(work, struct start, work);
	int r = sleep_restore(s, s->container->id);

	if (r < 0)
		snprintf(text, STORE_ERROR_SIZE, "container %.63s: %.180s",
			 s->container->id, s->fault.text);
	return r;
}

static void wake_finish(struct container_work *work, struct zrun_reply *reply)
{
	struct start *s = container_of(work, struct start, work);
	struct resident_container *c = s->container;
	int r = reply->error;

	if (r == 0)
		r = start_restored(s);
	if (r < 0 && reply->error == 0) {
		reply->error = r;
		snprintf(reply->text, sizeof(reply->text),
			 "container %.63s: %.180s", c->id, s->fault.text);
	}
	if (r < 0) {
		start_undo(s);
		return;
	}
	reply->pid = (uint32_t)c->pid;
	if (!sleep_keeps_images())
		serve_remove_checkpoint(c->id);
	start_free(s);
}

/* What is asked for is what slept. */
static int read_asked(struct start *s, const struct asked *asked)
{
	char digest[ZRUN_DIGEST_SIZE];

	memcpy(digest, s->container->digest, sizeof(digest));
	if (strcmp(digest, asked->request->digest) != 0)
		return fault_set(&s->fault, 0,
				 "its image is %.71s, another one cannot wake "
				 "it",
				 digest);
	int r = start_read(s, asked);

	for (int i = 0; r == 0 && i < RUNTIME_NS_COUNT; i++)
		if (policy_joined(&s->config, (enum runtime_namespace)i))
			r = fault_set(&s->fault, 0,
				      "linux.namespaces: who slept had all of "
				      "his own");
	return r;
}

static int prepare(struct start *s)
{
	const char *id = s->container->id;
	struct criu_options options;
	char path[4096];

	s->made = true;
	sleep_options(&options, id, path);
	int r = criu_image_check(path, &s->fault);

	if (r == 0)
		r = s->state_dir = state_open(resident.state, id, &s->fault);
	if (r >= 0)
		r = state_read(s->state_dir, &s->state, &s->fault);
	if (r < 0)
		return r;
	s->state.sleep = SLEEP_BETWEEN;
	/* They may be others by now. */
	devices_drop(s->container, s->state_dir);
	r = devices_note(s->container, s->state_dir, s->devices);
	if (r < 0)
		return fault_set(&s->fault, r, "note its devices");
	r = start_make_again(s);
	if (r == 0)
		r = start_cgroup(s);
	if (r < 0)
		return r;
	unlinkat(s->state_dir, SLEEP_PID_FILE, 0);
	r = state_write(s->state_dir, &s->state);
	return r < 0 ? fault_set(&s->fault, r, "keep its state") : 0;
}

static int refuse(const struct resident_container *c, const struct asked *asked,
		  struct zrun_reply *reply)
{
	snprintf(reply->text, sizeof(reply->text), "container %.63s %s",
		 asked->request->id, c ? "does not sleep" : "does not exist");
	return c ? -EBUSY : -ENOENT;
}

int serve_wake(const struct asked *asked, struct zrun_reply *reply)
{
	struct resident_container *c = container_find(asked->request->id);

	if (!c || c->phase != PHASE_ASLEEP)
		return refuse(c, asked, reply);
	struct start *s = start_new(c);

	if (!s)
		return -ENOMEM;
	s->asker = asked->asker;
	memcpy(s->note, asked->request->note, sizeof(s->note));
	c->phase = PHASE_STARTING;
	int r = read_asked(s, asked);

	if (r == 0)
		r = prepare(s);
	s->work = (struct container_work){ .container = c,
					   .run = wake_run,
					   .finish = wake_finish };
	if (r == 0)
		r = serve_container_work(asked, reply, &s->work);
	if (r == SERVE_LATER)
		return r;
	snprintf(reply->text, sizeof(reply->text), "container %.63s: %.180s",
		 c->id, s->fault.text);
	if (s->made) {
		start_undo(s);
	} else {
		c->phase = PHASE_ASLEEP;
		start_free(s);
	}
	return r;
}
