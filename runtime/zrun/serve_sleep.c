/* ZRUN_SLEEP: criu(8) writes the container's processes to /data/checkpoints/ID
 * and ends them.
 *
 *	worker: state BETWEEN, freeze, dump, close the image, end, state ASLEEP
 *	serve:  PHASE_DOZING ...                        | PHASE_ASLEEP
 *
 * Whoever dies on the way leaves state BETWEEN, and processes of which nobody
 * knows how whole they are: serve kills them when it starts.
 *
 * The image stays while it is awake, where the next one can share with it what
 * has not changed (criu_pages.c): as ID until then, as ID.before meanwhile.
 *
 * Nothing is synced: a checkpoint is of use as long as the machine runs. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "criu_image.h"
#include "criu_pages.h"
#include "resident.h"
#include "sleep.h"
#include "store_link.h"
#include "tun.h"

struct dump {
	struct container_work work;
	const struct asked *asked; /* of the worker only */
	struct sleep_image image;
	uint8_t note[INIT_NOTE_SIZE];
};

/* criu has, but where its dump could still have failed behind it. */
static void end_processes(struct sleep_image *image)
{
	int left = cgroup_remove(&image->cgroup);

	if (left < 0)
		log_error(image->container->id, "remove its cgroup: %s",
			  strerror(-left));
}

static int save_frozen(struct dump *d, struct fault *fault)
{
	struct sleep_image *image = &d->image;
	bool was_frozen;
	int r = sleep_image_dump(image, &was_frozen, fault);

	if (r == 0)
		r = criu_image_close(image->dir, fault);
	if (r < 0) {
		sleep_image_undo(image, was_frozen, r);
		return r;
	}
	end_processes(image);
	r = sleep_image_note(image, SLEEP_ASLEEP, d->note, fault);
	if (r < 0)
		sleep_image_undo(image, was_frozen, r);
	return r;
}

static int sleep_run(struct container_work *work, char text[STORE_ERROR_SIZE])
{
	struct dump *d = container_of(work, struct dump, work);
	struct resident_container *c = d->work.container;
	struct ipc_fds *fds = d->asked->fds;
	struct fault fault = { "" };
	int r = fds->n == 1 ? 0
			    : fault_set(&fault, 0,
					"want the config with the message");

	d->image.container = c;
	if (r == 0)
		r = sleep_image_open(&d->image, fds->fd[0], &fault);
	if (r == 0)
		r = sleep_image_make(&d->image, c->id, &fault);
	if (r == 0)
		r = save_frozen(d, &fault);
	if (r == 0)
		unlinkat(resident.links, c->id, 0);
	if (r < 0)
		snprintf(text, STORE_ERROR_SIZE, "container %.63s: %.180s",
			 c->id, fault.text);
	return r;
}

void sleep_worker_lost(const struct resident_container *c)
{
	struct cgroup cg;

	if (container_cgroup(c, &cg) == 0)
		cgroup_signal(&cg, SIGKILL);
	cgroup_close(&cg);
}

/* A quarter of the disk is free for them. */
bool sleep_keeps_images(void)
{
	struct statvfs fs;

	return criu_pages_can_share(resident.checkpoints) &&
	       fstatvfs(resident.checkpoints, &fs) == 0 &&
	       fs.f_bavail > fs.f_blocks / 4;
}

void sleep_images_thin(void)
{
	if (sleep_keeps_images())
		return;
	for (struct resident_container *c = NULL; (c = container_next(c));)
		if (c->phase == PHASE_RUNNING)
			serve_remove_checkpoint(c->id);
}

static void sleep_finish(struct container_work *work, struct zrun_reply *reply)
{
	struct resident_container *c = work->container;
	/* Its end was seen while nobody asked. */
	bool ended = c->exit.fd < 0;
	char before[ZRUN_ID_SIZE + sizeof(SLEEP_BEFORE)];

	/* But after an error that left it as it was. */
	snprintf(before, sizeof(before), "%s" SLEEP_BEFORE, c->id);
	serve_remove_checkpoint(before);
	memcpy(c->note, container_of(work, struct dump, work)->note,
	       sizeof(c->note));
	free(container_of(work, struct dump, work));
	if (reply->error < 0) {
		c->phase = PHASE_RUNNING;
		if (ended)
			container_ended(c);
		else if (reply->error == -EIO)
			sleep_worker_lost(c);
		return;
	}
	c->phase = PHASE_ASLEEP;
	c->pid = 0;
	watch_del(&resident.loop, &c->exit);
	container_drop(c->id);
	/* The worker has the last ones. */
	autoclose int tun = c->address ? tun_take(c->id) : -1;

	(void)tun;
	fd_close(&c->pidfd);
	fd_close(&c->mounts);
}

/* A process of ZRUN_EXEC is no child of the container's: it would be lost. */
static bool has_exec(const struct resident_container *c)
{
	for (uint32_t n = 1; n <= ZRUN_EXECS_MAX; n++) {
		autoclose int pidfd = init_get(INIT_KIND_PIDFD, c->id, n);
		struct pollfd p = { .fd = pidfd, .events = POLLIN };

		if (pidfd >= 0 && poll(&p, 1, 0) == 0)
			return true;
	}
	return false;
}

/* Who shares a namespace with it, in which he would be left alone. */
static const struct resident_container *companion(
	const struct resident_container *c)
{
	static const char *const kinds[] = { "net", "pid", "ipc" };

	for (size_t k = 0; k < sizeof(kinds) / sizeof(kinds[0]); k++) {
		ino_t own = container_namespace(c->pid, kinds[k]);

		for (struct resident_container *other = NULL;
		     (other = container_next(other));) {
			if (other != c && other->phase == PHASE_RUNNING &&
			    container_namespace(other->pid, kinds[k]) == own)
				return other;
		}
	}
	return NULL;
}

int sleep_refuse(const struct resident_container *c, struct zrun_reply *reply)
{
	const struct resident_container *other = companion(c);

	if (!other && !has_exec(c))
		return 0;
	if (other)
		snprintf(reply->text, sizeof(reply->text),
			 "container %.63s: it shares a namespace with %.63s",
			 c->id, other->id);
	else
		snprintf(reply->text, sizeof(reply->text),
			 "container %.63s: a process of exec runs in it",
			 c->id);
	return -EBUSY;
}

int serve_sleep(const struct asked *asked, struct zrun_reply *reply)
{
	int r;
	struct resident_container *c = container_running(asked, reply, &r);

	if (!c)
		return r;
	r = sleep_refuse(c, reply);
	if (r < 0)
		return r;
	/* Held by the worker beyond init's, see serve_container_work(). */
	autoclose int tun = c->address ? init_get(INIT_KIND_TUN, c->id, 0) : -1;

	(void)tun;
	struct dump *d = calloc(1, sizeof(*d));

	if (!d)
		return -ENOMEM;
	d->asked = asked;
	memcpy(d->note, asked->request->note, sizeof(d->note));
	d->work = (struct container_work){ .container = c,
					   .run = sleep_run,
					   .finish = sleep_finish };
	r = serve_container_work(asked, reply, &d->work);
	if (r == SERVE_LATER)
		c->phase = PHASE_DOZING;
	else
		free(d);
	return r;
}
