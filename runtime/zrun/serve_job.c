/* ZRUN_DELETE, ZRUN_UNPACK, ZRUN_FORGET: slow work in a child that serve
 * forks; its report comes through a pipe, whose end without a report means
 * that the child was killed. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "ahead.h"
#include "base/fd.h"
#include "base/path.h"
#include "checkpoint.h"
#include "image_root.h"
#include "resident.h"
#include "store_execute.h"
#include "store_link.h"

enum {
	LINGER_MS = 1000,
	WORK_MS = 30000,
};

static void job_finish(struct job *job, struct zrun_reply *reply)
{
	struct container_work *work = job->work;
	struct asker asker = job->asker;

	watch_del(&resident.loop, &job->report);
	job->work = NULL;
	if (work) {
		timer_cancel(&work->timer);
		memcpy(reply->id, work->container->id, sizeof(reply->id));
		work->finish(work, reply);
	}
	fd_close(&job->fd);
	serve_answer(&asker, reply, NULL);
}

static void report_ready(struct watch *w, uint32_t events)
{
	struct job *job = container_of(w, struct job, report);
	struct store_report report;
	struct zrun_reply reply = { 0 };

	(void)events;
	if (fd_read(job->fd, &report, sizeof(report)) ==
	    (ssize_t)sizeof(report)) {
		report.text[sizeof(report.text) - 1] = '\0';
		reply.error = report.error;
		text_copy(reply.text, sizeof(reply.text), report.text);
	} else {
		reply.error = -EIO;
		snprintf(reply.text, sizeof(reply.text),
			 "the worker was "
			 "killed");
	}
	job_finish(job, &reply);
}

static struct job *job_new(const struct asked *asked)
{
	for (int i = 0; i < RESIDENT_CLIENTS_MAX; i++) {
		struct job *job = &resident.job[i];

		if (job->fd >= 0)
			continue;
		job->asker = asked->asker;
		job->work = NULL;
		return job;
	}
	return NULL;
}

/* In the child: dies with serve, so that a new serve finds nobody at work. */
static void child_begin(pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1);
	signal(SIGCHLD, SIG_DFL);
}

/* Forks: 0 in the child with *report to write to, SERVE_LATER in the parent
 * with *child. */
static int job_fork(struct job *job, int *report, pid_t *child,
		    struct zrun_reply *reply)
{
	pid_t parent = getpid();
	int pair[2];

	if (pipe2(pair, O_CLOEXEC) < 0)
		return -errno;
	pid_t pid = fork();

	if (pid == 0) {
		child_begin(parent);
		*report = pair[1];
		return 0;
	}
	int r = pid < 0 ? -errno : 1;

	close(pair[1]);
	if (r == 1) {
		job->report.ready = report_ready;
		r = watch_add(&resident.loop, &job->report, pair[0], EPOLLIN);
	}
	if (r < 0) {
		close(pair[0]);
		snprintf(reply->text, sizeof(reply->text), "worker: %s",
			 strerror(-r));
		return r;
	}
	job->fd = pair[0];
	*child = pid;
	return SERVE_LATER;
}

int serve_work(const struct asked *asked, struct zrun_reply *reply,
	       int (*work)(const struct zrun_request *request,
			   char text[STORE_ERROR_SIZE]))
{
	struct store_report done = { 0 };
	struct job *job = job_new(asked);
	int report = -1;
	pid_t pid;

	if (!job)
		return -EAGAIN;
	int r = job_fork(job, &report, &pid, reply);

	if (r != 0)
		return r;
	done.error = work(asked->request, done.text);
	_exit(fd_write(report, &done, sizeof(done)) < 0);
}

static void work_late(struct timer *timer)
{
	struct container_work *work = container_of(timer, struct container_work,
						   timer);

	/* Its report has not ended, so the number is still its own. */
	kill(work->pid, SIGKILL);
}

int serve_container_work(const struct asked *asked, struct zrun_reply *reply,
			 struct container_work *work)
{
	struct store_report done = { 0 };
	struct job *job = job_new(asked);
	int report = -1;

	if (!job)
		return -EAGAIN;
	int r = job_fork(job, &report, &work->pid, reply);

	if (r == SERVE_LATER) {
		job->work = work;
		work->timer.fire = work_late;
		timer_set(&resident.loop, &work->timer, WORK_MS);
	}
	if (r != 0)
		return r;
	done.error = work->run(work, done.text);
	if (fd_write(report, &done, sizeof(done)) == 0) {
		/* Until serve has closed its end, and its own of all others. */
		struct pollfd p = { .fd = report };

		fd_close(&job->fd);
		poll(&p, 1, LINGER_MS);
	}
	_exit(0);
}

/* Nobody waits for the end of it. */
static void remove_later(const char *id, int (*remove)(const char *id))
{
	/* Serial numbers begin with 1: nobody gets the answer. */
	struct asked asked = { .asker = { .client = resident.client } };
	struct store_report done = { 0 };
	struct zrun_reply reply;
	struct job *job = job_new(&asked);
	int report = -1;
	pid_t pid;
	int r = job ? job_fork(job, &report, &pid, &reply) : -EAGAIN;

	if (r == SERVE_LATER)
		return;
	remove(id);
	if (r == 0)
		_exit(fd_write(report, &done, sizeof(done)) < 0);
}

void serve_remove_layer(const char *id)
{
	remove_later(id, container_layer_remove);
}

void serve_remove_checkpoint(const char *id)
{
	char name[CHECKPOINT_NAME_SIZE + 24];

	/* It may be wanted again before it is gone; no id has a dot. */
	snprintf(name, sizeof(name), "%.64s.%llu", id,
		 (unsigned long long)++resident.serial);
	if (renameat(resident.checkpoints, id, resident.checkpoints, name) == 0)
		remove_later(name, checkpoint_remove);
}

static int no_container(const char *id, struct zrun_reply *reply)
{
	snprintf(reply->text, sizeof(reply->text),
		 "container %s does not "
		 "exist",
		 id);
	return -ENOENT;
}

static int delete_run(struct container_work *work, char text[STORE_ERROR_SIZE])
{
	fd_close(&work->container->mounts);
	return container_sweep(work->container, text);
}

static void delete_finish(struct container_work *work, struct zrun_reply *reply)
{
	struct resident_container *c = work->container;

	free(work);
	if (reply->error < 0) {
		c->phase = PHASE_ENDED; /* may be tried again */
		return;
	}
	container_drop(c->id);
	container_free(c);
}

int serve_delete(const struct asked *asked, struct zrun_reply *reply)
{
	const char *id = asked->request->id;
	struct resident_container *c = container_find(id);

	if (!c)
		return no_container(id, reply);
	if (c->phase != PHASE_ENDED && c->phase != PHASE_ASLEEP) {
		snprintf(reply->text, sizeof(reply->text),
			 "container %s has "
			 "not ended",
			 id);
		return -EBUSY;
	}
	struct container_work *work = calloc(1, sizeof(*work));

	if (!work)
		return -ENOMEM;
	*work = (struct container_work){ .container = c,
					 .run = delete_run,
					 .finish = delete_finish };
	int r = serve_container_work(asked, reply, work);

	if (r != SERVE_LATER) {
		free(work);
		return r;
	}
	c->phase = PHASE_DELETING;
	/* The child closes the last ones. */
	fd_close(&c->mounts);
	fd_close(&c->tun);
	return r;
}

static int store_job(const struct asked *asked, struct zrun_reply *reply,
		     struct store_task *task)
{
	struct job *job = job_new(asked);
	struct digest digest;
	int report = -1;
	pid_t pid;
	int r = digest_parse(span_of(asked->request->digest), &digest);

	if (r < 0) {
		snprintf(reply->text, sizeof(reply->text),
			 "\"%.71s\" is no "
			 "digest",
			 asked->request->digest);
		return r;
	}
	if (!job)
		return -EAGAIN;
	task->image = &digest;
	r = job_fork(job, &report, &pid, reply);
	if (r == 0)
		store_execute(&resident.store, task, report);
	task->image = NULL;
	return r;
}

/* Where layouts come from: a person put them there, or zpull did. */
static int layouts_open(uint32_t flags)
{
	char pulled[4096];

	snprintf(pulled, sizeof(pulled), "%s/pull", path_data());
	return open(flags & ZRUN_UNPACK_PULLED ? pulled : path_boot(),
		    O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int serve_unpack(const struct asked *asked, struct zrun_reply *reply)
{
	const char *path = asked->request->path;
	autoclose int from = layouts_open(asked->request->flags);
	autoclose int layout =
		from < 0 ? -errno
			 : path_open_beneath(from, path, O_RDONLY | O_DIRECTORY,
					     0);
	autoclose int end = ipc_fds_take(asked->fds, 0);

	if (layout < 0) {
		int r = layout;

		snprintf(reply->text, sizeof(reply->text),
			 "image layout "
			 "%.150s: %s",
			 path, strerror(-r));
		return r;
	}
	return store_job(asked, reply,
			 &(struct store_task){ .job = STORE_IMPORT,
					       .layout = layout,
					       .end = end });
}

int serve_forget(const struct asked *asked, struct zrun_reply *reply)
{
	for (struct resident_container *c = NULL; (c = container_next(c));) {
		if (strcmp(c->digest, asked->request->digest) != 0)
			continue;
		snprintf(reply->text, sizeof(reply->text),
			 "container %s uses "
			 "the image",
			 c->id);
		return -EBUSY;
	}
	ahead_forget(asked->request->digest);
	image_root_forget(asked->request->digest);
	return store_job(asked, reply,
			 &(struct store_task){ .job = STORE_FORGET,
					       .layout = -1,
					       .end = -1 });
}

int serve_images(const struct asked *asked, struct zrun_reply *reply)
{
	static struct digest images[STORE_IMAGES_MAX];
	int n = store_list(&resident.store, images, STORE_IMAGES_MAX);

	if (n < 0)
		return n;
	if (asked->request->arg >= (uint32_t)n)
		return -ENOENT;
	digest_text(&images[asked->request->arg], reply->text);
	return 0;
}
