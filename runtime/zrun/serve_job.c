/* ZRUN_DELETE, ZRUN_UNPACK, ZRUN_FORGET: slow work in a child that serve
 * forks; its report comes through a pipe, whose end without a report means
 * that the child was killed. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "ahead.h"
#include "base/fd.h"
#include "base/path.h"
#include "image_root.h"
#include "resident.h"
#include "store_execute.h"
#include "store_link.h"

static void job_finish(struct job *job, struct zrun_reply *reply)
{
	struct resident_container *c = job->container;
	struct asker asker = job->asker;

	watch_del(&resident.loop, &job->report);
	fd_close(&job->fd);
	job->container = NULL;
	if (c) {
		memcpy(reply->id, c->id, sizeof(reply->id));
		if (reply->error == 0) {
			init_drop(INIT_KIND_OUTPUT, c->id, 1);
			init_drop(INIT_KIND_OUTPUT, c->id, 2);
			/* Also the records of execs that nobody took. */
			for (uint32_t n = 0; n <= ZRUN_EXECS_MAX; n++)
				init_drop(INIT_KIND_PIDFD, c->id, n);
			container_free(c);
		} else {
			c->phase = PHASE_ENDED; /* may be tried again */
		}
	}
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
		job->container = NULL;
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

/* Forks: 0 in the child with *report to write to, 1 in the parent. */
static int job_fork(struct job *job, int *report, struct zrun_reply *reply)
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
	return SERVE_LATER;
}

_Noreturn static void delete_child(struct resident_container *c, int report)
{
	struct store_report done = { 0 };

	fd_close(&c->mounts);
	done.error = container_sweep(c, done.text);
	_exit(fd_write(report, &done, sizeof(done)) < 0);
}

int serve_work(const struct asked *asked, struct zrun_reply *reply,
	       int (*work)(const struct zrun_request *request,
			   char text[STORE_ERROR_SIZE]))
{
	struct store_report done = { 0 };
	struct job *job = job_new(asked);
	int report = -1;

	if (!job)
		return -EAGAIN;
	int r = job_fork(job, &report, reply);

	if (r != 0)
		return r;
	done.error = work(asked->request, done.text);
	_exit(fd_write(report, &done, sizeof(done)) < 0);
}

void serve_remove_layer(const char *id)
{
	/* Serial numbers begin with 1: nobody gets the answer. */
	struct asked asked = { .asker = { .client = resident.client } };
	struct store_report done = { 0 };
	struct zrun_reply reply;
	struct job *job = job_new(&asked);
	int report = -1;
	int r = job ? job_fork(job, &report, &reply) : -EAGAIN;

	if (r == SERVE_LATER)
		return;
	container_layer_remove(id);
	if (r == 0)
		_exit(fd_write(report, &done, sizeof(done)) < 0);
}

static int no_container(const char *id, struct zrun_reply *reply)
{
	snprintf(reply->text, sizeof(reply->text),
		 "container %s does not "
		 "exist",
		 id);
	return -ENOENT;
}

int serve_delete(const struct asked *asked, struct zrun_reply *reply)
{
	const char *id = asked->request->id;
	struct resident_container *c = container_find(id);
	struct job *job = job_new(asked);
	int report = -1;

	if (!c)
		return no_container(id, reply);
	if (c->phase != PHASE_ENDED) {
		snprintf(reply->text, sizeof(reply->text),
			 "container %s has "
			 "not ended",
			 id);
		return -EBUSY;
	}
	if (!job)
		return -EAGAIN;
	int r = job_fork(job, &report, reply);

	if (r == 0)
		delete_child(c, report);
	if (r == SERVE_LATER) {
		c->phase = PHASE_DELETING;
		job->container = c;
		/* The child closes the last ones. */
		fd_close(&c->mounts);
		fd_close(&c->tun);
	}
	return r;
}

static int store_job(const struct asked *asked, struct zrun_reply *reply,
		     struct store_task *task)
{
	struct job *job = job_new(asked);
	struct digest digest;
	int report = -1;
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
	r = job_fork(job, &report, reply);
	if (r == 0)
		store_execute(&resident.store, task, report);
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
	for (int i = 0; i < RESIDENT_CONTAINERS_MAX; i++) {
		const struct resident_container *c = &resident.container[i];

		if (c->phase == PHASE_FREE ||
		    strcmp(c->digest, asked->request->digest) != 0)
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
