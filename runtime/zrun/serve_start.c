/* ZRUN_START. What can be done at once is done in the loop: checks, small
 * files, directories, the clone. The image's own slowness is met in the child,
 * whose channel the loop watches. Commonly that is a bud (bud.h):
 *
 *	bud:   config | the rest of the mounts ... | execve (the channel ends)
 *	serve: config | root, INIT_PUT, state, go  | reply
 *
 * all of which but INIT_PUT and state may have been done before (ahead.h);
 * and where none fits the config, one that begins with nothing:
 *
 *	child: mounts ... READY         | go | execve
 *	serve: cgroup, clone, INIT_PUT  | state, go | reply
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ahead.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "bud.h"
#include "cgroup_stat.h"
#include "held.h"
#include "image_root.h"
#include "kernel.h"
#include "policy.h"
#include "reaper.h"
#include "seccomp_filter.h"
#include "start.h"
#include "store_link.h"
#include "tun.h"

#define START_TIMEOUT_MS 30000
#define TIDY_MS		 5

static int clone_child(struct start *s)
{
	struct launch *l = &s->launch;
	bool is_privileged = s->container->capabilities & POLICY_PRIVILEGED;
	struct plan_setting setting = {
		.overlay = image_root_overlay(s->state.digest, s->container->id,
					      &s->fault),
		.address = s->container->address,
		.seccomp = !is_privileged,
		.user_name = true,
		.mount_fd = s->mount_fd,
	};

	join_setting(&s->join, &setting, l);
	if (!setting.overlay)
		return -errno;
	int r = start_state(s);

	if (r == 0)
		r = start_cgroup(s);
	if (r < 0)
		return r;
	l->cgroup_dir = s->cgroup.dir;
	if (!is_privileged)
		l->child.filter = seccomp_default();
	l->child.grantable = launch_grantable(false);
	r = plan_container(&l->plan, &s->config, &setting, &s->fault);
	if (r == 0 && reaper_wanted(&s->config))
		r = reaper_give(l, &s->fault);
	if (r == 0)
		r = launch_clone(l, &s->fault);
	l->join_pid = -1;
	join_close(&s->join);
	return r;
}

static int tell_config(int channel, int config_fd)
{
	struct bud_config config = { .head = { sizeof(config), 0 } };

	return ipc_send(channel, &config, sizeof(config), &config_fd, 1);
}

/* The bud works in parallel from here on. */
static int tell_bud(struct start *s)
{
	struct bud_start start = { .head = { sizeof(start), 0 },
				   .address = s->container->address };
	const int *stdio = s->launch.child.stdio;
	int fd[IPC_FDS_MAX] = { s->root, stdio[0], stdio[1], stdio[2] };
	int n = BUD_FD_MOUNT;

	for (size_t i = 0; i < s->config.n_mount; i++) {
		if (s->mount_fd[i] < 0)
			continue;
		if (n == IPC_FDS_MAX)
			return -E2BIG;
		fd[n++] = s->mount_fd[i];
	}
	return ipc_send(s->launch.channel, &start, sizeof(start), fd, n);
}

static int use_bud(struct start *s)
{
	struct pool_bud *bud = &s->bud;
	struct launch *l = &s->launch;
	struct bud_given given = { .address = s->container->address,
				   .root = -1,
				   .mount_fd = s->mount_fd };

	l->pid = bud->pid;
	l->pidfd = fd_take(&bud->pidfd);
	l->channel = fd_take(&bud->channel);
	s->container->mounts = fd_take(&bud->mounts);
	s->state.start_time = bud->start_time;
	s->cgroup.dir = fd_take(&bud->cgroup_dir);
	int r = tell_bud(s);

	fd_close(&s->root);
	for (int i = 0; i < 3; i++)
		fd_close(&l->child.stdio[i]);
	if (r < 0)
		return fault_set(&s->fault, r, "its process");
	r = start_cgroup_limit(s);
	return r < 0 ? r : bud_plan(&l->plan, &s->config, &given, &s->fault);
}

/* What goes by the id: the bud is a container's from here on. */
static int name_bud(struct start *s)
{
	int r = start_state(s);

	return r < 0 ? r : start_cgroup_name(s);
}

/* From here on init is the one that holds them. */
int start_keep(struct start *s)
{
	const struct init_item items[] = {
		{ INIT_KIND_PIDFD, 0, s->launch.pidfd },
		{ INIT_KIND_OUTPUT, 1, s->output[0] },
		{ INIT_KIND_OUTPUT, 2, s->output[1] },
	};
	int r = init_put_all(s->container->id, s->note, items, 3);

	for (int i = 0; i < 2; i++)
		fd_close(&s->output[i]);
	if (r == 0)
		return 0;
	fault_set(&s->fault, r, "hand it to init");
	/* It has failed already, and says why. */
	int why = r == -ESRCH ? launch_receive(&s->launch, &s->fault) : 0;

	return why < 0 ? why : r;
}

void start_free(struct start *s)
{
	watch_del(&resident.loop, &s->channel);
	timer_cancel(&s->timer);
	pool_wait_end(&s->wait);
	init_later_end(&s->later);
	if (s->is_bud)
		init_drop(INIT_KIND_BUD, INIT_BUDS, (uint32_t)s->launch.pid);
	pool_bud_close(&s->bud);
	launch_close(&s->launch);
	for (int i = 0; i < 3; i++)
		fd_close(&s->launch.child.stdio[i]);
	for (int i = 0; i < 2; i++)
		fd_close(&s->output[i]);
	for (size_t i = 0; s->mount_fd && i < s->config.n_mount; i++)
		fd_close(&s->mount_fd[i]);
	free(s->mount_fd);
	fd_close(&s->state_dir);
	fd_close(&s->config_fd);
	fd_close(&s->root);
	cgroup_close(&s->cgroup);
	join_close(&s->join);
	runtime_config_free(&s->config);
	free(s);
	pool_refill();
}

/* Kills what there is and removes it. The cgroup is new and small, so this is
 * quick enough for the loop. */
void start_undo(struct start *s)
{
	struct resident_container *c = s->container;
	char id[ZRUN_ID_SIZE], text[ZRUN_TEXT_SIZE];
	bool made = s->made;

	memcpy(id, c->id, sizeof(id));
	launch_kill(&s->launch);
	start_free(s);
	if (made) {
		fd_close(&c->mounts);
		if (container_sweep(c, text) < 0)
			log_error(NULL, "%s", text);
		init_drop(INIT_KIND_OUTPUT, id, 1);
		init_drop(INIT_KIND_OUTPUT, id, 2);
		tun_drop(id);
		init_drop(INIT_KIND_PIDFD, id, 0);
	}
	container_free(c);
}

/* One that its limit killed could not say so; the cgroup has had no other. */
static void fail_text(struct start *s, struct zrun_reply *reply)
{
	const struct maybe_i64 *limit = &s->config.resources.memory.limit;

	if (limit->set &&
	    cgroup_key(&s->cgroup, "memory.events", "oom_kill") > 0)
		fault_set(&s->fault, 0,
			  "killed: memory limit of %lld bytes reached",
			  (long long)limit->value);
	snprintf(reply->text, sizeof(reply->text), "container %.63s: %.180s",
		 s->container->id, s->fault.text);
}

static void start_fail(struct start *s, int error)
{
	/* What is dropped must not be kept afterwards. */
	if (s->naming) {
		s->error = error;
		launch_kill(&s->launch);
		return;
	}
	struct zrun_reply reply = { .error = error };
	struct asker asker = s->asker;

	memcpy(reply.id, s->container->id, sizeof(reply.id));
	fail_text(s, &reply);
	start_undo(s);
	serve_answer(&asker, &reply, NULL);
}

static void tidy(struct timer *t)
{
	struct start *s = container_of(t, struct start, timer);

	/* Of a bud, not made ahead already, which will not be restored, and
	 * without a grant, which may be gone by then. */
	if (s->bud.cgroup[0] && !s->before.id[0] && !s->keeps &&
	    !s->container->capabilities)
		ahead_note(s);
	start_free(s);
}

static void start_done(struct start *s)
{
	struct resident_container *c = s->container;
	struct zrun_reply reply = { .pid = (uint32_t)c->pid };
	struct asker asker = s->asker;

	memcpy(reply.id, c->id, sizeof(reply.id));
	c->phase = PHASE_RUNNING;
	if (s->keeps)
		c->config = fcntl(s->config_fd, F_DUPFD_CLOEXEC, 3);
	serve_answer(&asker, &reply, NULL);
	container_watch(c, fd_take(&s->launch.pidfd));
	/* The rest has time, and the program wants the processor. */
	s->timer.fire = tidy;
	timer_set(&resident.loop, &s->timer, TIDY_MS);
}

/* The child is ready: note that it exists, then let it run. */
static int start_release(struct start *s)
{
	int r = state_commit(s->state_dir);

	if (r < 0)
		return fault_set(&s->fault, r, "keep its state");
	r = s->container->address
		    ? tun_give(s->container->id, s->launch.pidfd,
			       s->container->address, &s->config.annotations)
		    : 0;
	if (r < 0)
		return fault_set(&s->fault, r, "its network");
	s->released = true;
	r = launch_go(&s->launch);
	return r < 0 ? fault_set(&s->fault, r, "it was killed") : 0;
}

static void channel_ready(struct watch *w, uint32_t events)
{
	struct start *s = container_of(w, struct start, channel);
	int r = launch_receive(&s->launch, &s->fault);

	(void)events;
	if (r == CHILD_READY) {
		s->ready = true;
		r = s->released ? 0 : start_release(s);
		if (r < 0)
			start_fail(s, r);
		return;
	}
	if (r == 0 && s->released && s->ready) {
		watch_del(&resident.loop, w);
		start_done(s);
		return;
	}
	if (r == 0)
		r = fault_set(&s->fault, -ECHILD,
			      "it was killed while it "
			      "started");
	start_fail(s, r);
}

static void start_late(struct timer *t)
{
	struct start *s = container_of(t, struct start, timer);

	start_fail(s, fault_set(&s->fault, -ETIMEDOUT, "start"));
}

/* All is noted that must survive us: a bud that needs nothing more from us need
 * not wait when it is ready. */
static bool may_go_early(const struct start *s)
{
	const struct runtime_process *process = &s->config.process;

	return s->container->mounts >= 0 && !s->container->address &&
	       !process->scheduler.policy.set && !process->io_priority.class;
}

/* There is a process. */
static int start_follow(struct start *s)
{
	int r = start_keep(s);

	s->kept = r == 0;
	for (int i = 0; i < 3; i++)
		fd_close(&s->launch.child.stdio[i]);
	if (r < 0)
		return r;
	s->container->pid = s->state.pid = s->launch.pid;
	if (!s->state.start_time)
		s->state.start_time = process_start_time(s->launch.pid);
	r = state_stage(s->state_dir, &s->state);
	if (r < 0)
		return fault_set(&s->fault, r, "keep its state");
	s->channel.ready = channel_ready;
	r = watch_add(&resident.loop, &s->channel, s->launch.channel, EPOLLIN);
	if (r < 0)
		return fault_set(&s->fault, r, "watch");
	r = may_go_early(s) ? start_release(s) : 0;
	/* It has failed meanwhile: its channel tells how. */
	return r == -EPIPE ? 0 : r;
}

/* Without a bud the root becomes what it would have been: made by the child of
 * a writable layer of its own. */
static int start_clone(struct start *s)
{
	int r = 0;

	if (s->root >= 0) {
		fd_close(&s->root);
		r = container_layer_make(s->container->id);
	}
	if (r < 0 && r != -EEXIST)
		return fault_set(&s->fault, r, "make its writable layer");
	return clone_child(s);
}

static void bud_came(struct pool_wait *w, const struct pool_bud *bud)
{
	struct start *s = container_of(w, struct start, wait);
	int r = 0;

	if (bud) {
		s->bud = *bud;
		r = tell_config(bud->channel, s->config_fd);
	}
	if (r == 0)
		r = bud ? use_bud(s) : start_clone(s);
	if (r == 0 && bud)
		r = name_bud(s);
	if (r == 0)
		r = start_follow(s);
	if (r < 0)
		start_fail(s, r);
}

/* Most likely it will be used: it reads the config while we do. */
static void take_early(struct start *s, const struct asked *asked)
{
	if (asked->fds->n != 1 || pool_take_early(&s->bud) < 0)
		return;
	if (tell_config(s->bud.channel, asked->fds->fd[0]) < 0)
		pool_bud_close(&s->bud);
}

/* So that who sends what is refused wastes no more than one. */
static void give_back(struct start *s)
{
	if (s->bud.channel >= 0)
		pool_missed();
	pool_bud_close(&s->bud);
}

/* A bud that is ready, and has the config. */
static int take_bud(struct start *s)
{
	if (s->bud.channel >= 0)
		return 0;
	int r = pool_take(&s->bud);

	if (r == 0)
		r = tell_config(s->bud.channel, s->config_fd);
	if (r < 0)
		pool_bud_close(&s->bud);
	return r;
}

static int prepare(struct start *s, const struct asked *asked)
{
	take_early(s, asked);
	int r = start_read(s, asked);

	if (r == 0)
		r = start_make(s);
	if (r < 0 || s->root < 0)
		give_back(s);
	if (r < 0)
		return r;
	if (s->root < 0) {
		r = clone_child(s);
	} else if (take_bud(s) == 0) {
		r = use_bud(s);
		if (r == 0)
			r = name_bud(s);
	} else {
		pool_wait(&s->wait);
		return 0;
	}
	return r < 0 ? r : start_follow(s);
}

struct start *start_new(struct resident_container *c)
{
	struct start *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->container = c ? c : &s->before;
	s->channel.fd = s->state_dir = s->output[0] = s->output[1] = -1;
	s->config_fd = s->root = -1;
	s->before.pidfd = s->before.mounts = s->before.exit.fd = -1;
	s->before.tun = s->before.config = -1;
	listening_init(&s->before.listening);
	s->bud.pidfd = s->bud.channel = s->bud.mounts = s->bud.cgroup_dir = -1;
	s->wait.ready = bud_came;
	s->cgroup = CGROUP_NONE;
	join_init(&s->join);
	s->timer.fire = start_late;
	launch_init(&s->launch, s->container->id, &s->config);
	s->launch.parent_is_init = true;
	return s;
}

int start_ahead(struct start *s, const struct asked *asked)
{
	int r = start_read(s, asked);

	if (r == 0)
		r = start_make(s);
	if (r == 0)
		r = s->root < 0 ? -ENOTSUP : take_bud(s);
	return r < 0 ? r : use_bud(s);
}

static void named(struct init_later *later, int error)
{
	struct start *s = container_of(later, struct start, later);

	s->naming = false;
	s->kept = error == 0;
	s->is_bud = error < 0;
	if (error < 0 && s->error == 0)
		s->error = fault_set(&s->fault, error, "hand it to init");
	if (s->error < 0)
		start_fail(s, s->error);
	else
		start_done(s);
}

static int note_pid(struct start *s, int file)
{
	int r = init_name(s->container->id, s->note, (uint32_t)s->launch.pid,
			  s->output, &s->later);

	for (int i = 0; i < 2; i++)
		fd_close(&s->output[i]);
	if (r < 0)
		return fault_set(&s->fault, r, "hand it to init");
	s->naming = true;
	s->is_bud = false;
	r = state_put(file, &s->state);
	return r < 0 ? fault_set(&s->fault, r, "keep its state") : 0;
}

/* It runs while that is noted which must survive us: init knows the process,
 * tells of its end once it has a name, and kills it should we die before. */
static int release_named(struct start *s)
{
	s->later.done = named;
	s->container->pid = s->state.pid = s->launch.pid;
	int r = held_release(s->launch.pid);

	if (r < 0)
		return fault_set(&s->fault, r, "it was killed");
	r = start_state(s);
	if (r == 0)
		r = start_cgroup_name(s);
	if (r < 0)
		return r;
	autoclose int file = state_create(s->state_dir);

	return file < 0 ? fault_set(&s->fault, file, "keep its state")
			: note_pid(s, file);
}

/* All but that it is this container's has been done (ahead.h). */
static int adopt(struct start *s)
{
	struct resident_container *c = s->container;
	int r = 0;

	s->launch.id = c->id;
	c->mounts = fd_take(&s->before.mounts);
	text_copy(c->digest, sizeof(c->digest), s->before.digest);
	text_copy(c->application, sizeof(c->application),
		  s->before.application);
	s->made = true;
	if (s->has_layer)
		r = container_layer_rename(s->before.id, c->id);
	if (r < 0) {
		held_kill(s->launch.pid);
		return fault_set(&s->fault, r, "its writable layer");
	}
	return release_named(s);
}

int serve_start(const struct asked *asked, struct zrun_reply *reply)
{
	const char *id = asked->request->id;

	if (!id_valid(span_of(id))) {
		snprintf(reply->text, sizeof(reply->text),
			 "id: want 1 to 63 "
			 "of a-z, 0-9 and -");
		return -EINVAL;
	}
	if (container_find(id)) {
		snprintf(reply->text, sizeof(reply->text),
			 "container %s "
			 "exists",
			 id);
		return -EEXIST;
	}
	struct resident_container *c = container_new(id);
	bool keeps = asked->request->flags & ZRUN_START_KEEP;
	struct start *s = c && !keeps ? ahead_take(asked) : NULL;
	bool ahead = s;

	if (c && !s)
		s = start_new(c);
	if (!s) {
		if (c)
			container_free(c);
		snprintf(reply->text, sizeof(reply->text),
			 "no room for "
			 "another container");
		return -ENOSPC;
	}
	s->container = c;
	s->keeps = keeps;
	s->asker = asked->asker;
	memcpy(s->note, asked->request->note, sizeof(s->note));
	int r = ahead ? adopt(s) : prepare(s, asked);

	if (r < 0 && s->naming) {
		start_fail(s, r);
		return SERVE_LATER;
	}
	if (r < 0) {
		fail_text(s, reply);
		start_undo(s);
		return r;
	}
	timer_set(&resident.loop, &s->timer, START_TIMEOUT_MS);
	return SERVE_LATER;
}
