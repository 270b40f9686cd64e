/* ZRUN_LISTEN and ZRUN_CHECKPOINT: criu(8) writes a container to disk that runs
 * on, so that others can be started from there.
 *
 *	worker: state BETWEEN, freeze, dump, layer, state AWAKE, thaw, sync,
 *name serve:  PHASE_DOZING ...                       | PHASE_RUNNING
 *
 * Whoever dies before state AWAKE leaves processes of which nobody knows how
 * whole they are: they are killed, and the container has ended. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "checkpoint.h"
#include "criu_image.h"
#include "kernel.h"
#include "listening.h"
#include "resident.h"
#include "sleep.h"

/* RENAME_EXCHANGE of linux/fs.h, which sys/mount.h clashes with. */
enum { EXCHANGE = 2 };

struct keep {
	struct container_work work;
	struct sleep_image image;
	char name[CHECKPOINT_NAME_SIZE];
	char making[CHECKPOINT_NAME_SIZE + 8];
};

/* ------------------------------------------------------------------ listen */

int serve_listen(const struct asked *asked, struct zrun_reply *reply,
		 struct ipc_fds *fds)
{
	uint16_t port = (uint16_t)asked->request->arg;
	struct cgroup cg;
	int r;
	struct resident_container *c = container_running(asked, reply, &r);

	if (!c)
		return r;
	r = container_cgroup(c, &cg);
	if (r == 0)
		r = listening_begin(&c->listening, &resident.loop, cg.dir,
				    port);
	cgroup_close(&cg);
	if (r < 0) {
		snprintf(reply->text, sizeof(reply->text),
			 "container %.63s: watch for who listens: %s", c->id,
			 strerror(-r));
		return r;
	}
	fds->fd[fds->n++] = r;
	/* Since before that, or that cannot be read: he who asked will see. */
	if (listening_is(c->pid, port))
		listening_end(&c->listening);
	return 0;
}

/* -------------------------------------------------------------- checkpoint */

static bool writes_volume(const struct runtime_config *config)
{
	for (size_t i = 0; i < config->n_mount; i++)
		if (config->mount[i].bind &&
		    !(config->mount[i].attr_set & MOUNT_ATTR_RDONLY))
			return true;
	return false;
}

/* What would be restored beside what is there by then. */
static int check(const struct keep *k, struct fault *fault)
{
	const struct resident_container *c = k->work.container;

	if (writes_volume(&k->image.config)) {
		fault_set(fault, 0, "it may write a volume");
		return -EINVAL;
	}
	if (c->address && listening_is_on(c->pid, c->address)) {
		fault_set(fault, 0, "it listens on its own address alone");
		return -EINVAL;
	}
	return 0;
}

/* Memory and files are of one moment. */
static int save_frozen(struct keep *k, struct fault *fault)
{
	struct sleep_image *image = &k->image;
	bool was_frozen;
	int r = sleep_image_dump(image, &was_frozen, fault);

	if (r == 0) {
		r = checkpoint_layer_keep(image->dir, k->work.container->id);
		if (r < 0)
			fault_set(fault, r, "keep its writable layer");
	}
	if (r == 0)
		r = sleep_image_note(image, SLEEP_AWAKE, NULL, fault);
	if (r < 0)
		sleep_image_undo(image, was_frozen, r);
	else if (!was_frozen)
		cgroup_freeze(&image->cgroup, false);
	return r;
}

/* From here on, a power cut included, it is the one of that name. */
static int publish(const struct keep *k, struct fault *fault)
{
	int dir = resident.checkpoints;
	int r = kernel_result(
		syscall(SYS_renameat2, dir, k->making, dir, k->name, EXCHANGE));

	if (r == -ENOENT)
		r = kernel_result(renameat(dir, k->making, dir, k->name));
	if (r == 0 && fsync(dir) < 0)
		r = -errno;
	return r < 0 ? fault_set(fault, r, "name it") : 0;
}

static int finish_image(const struct keep *k, struct fault *fault)
{
	const struct resident_container *c = k->work.container;
	autofree char *key = checkpoint_key(c->digest, c->config);
	int r = key ? checkpoint_key_write(k->image.dir, key) : -ENOMEM;

	if (r < 0)
		return fault_set(fault, r, "note what it is of");
	r = criu_image_seal(k->image.dir, fault);
	return r == 0 ? publish(k, fault) : r;
}

static int keep_run(struct container_work *work, char text[STORE_ERROR_SIZE])
{
	struct keep *k = container_of(work, struct keep, work);
	struct resident_container *c = work->container;
	struct fault fault = { "" };

	k->image.container = c;
	k->image.runs_on = true;
	int r = sleep_image_open(&k->image, c->config, &fault);

	if (r == 0)
		r = check(k, &fault);
	if (r == 0)
		r = sleep_image_make(&k->image, k->making, &fault);
	if (r == 0) {
		r = save_frozen(k, &fault);
		if (r == 0)
			r = finish_image(k, &fault);
		/* Half made, or the one before. */
		checkpoint_remove(k->making);
	}
	if (r < 0)
		snprintf(text, STORE_ERROR_SIZE, "container %.63s: %.180s",
			 c->id, fault.text);
	return r;
}

static void keep_finish(struct container_work *work, struct zrun_reply *reply)
{
	struct resident_container *c = work->container;
	/* Its end was seen while nobody asked. */
	bool ended = c->exit.fd < 0;

	free(container_of(work, struct keep, work));
	c->phase = PHASE_RUNNING;
	container_unkeep(c);
	if (ended)
		container_ended(c);
	else if (reply->error == -EIO)
		sleep_worker_lost(c);
}

static int refuse(const struct resident_container *c, struct zrun_reply *reply)
{
	if (c->config < 0) {
		snprintf(reply->text, sizeof(reply->text),
			 "container %.63s: its config is not here any more",
			 c->id);
		return -ESTALE;
	}
	return sleep_refuse(c, reply);
}

int serve_checkpoint(const struct asked *asked, struct zrun_reply *reply)
{
	int r;
	struct resident_container *c = container_running(asked, reply, &r);

	if (!c)
		return r;
	struct keep *k = calloc(1, sizeof(*k));

	if (!k)
		return -ENOMEM;
	r = checkpoint_name(asked, reply, k->name);
	if (r == 0)
		r = refuse(c, reply);
	snprintf(k->making, sizeof(k->making), "%s.new", k->name);
	k->work = (struct container_work){ .container = c,
					   .run = keep_run,
					   .finish = keep_finish };
	if (r == 0)
		r = serve_container_work(asked, reply, &k->work);
	if (r == SERVE_LATER)
		c->phase = PHASE_DOZING;
	else
		free(k);
	return r;
}
