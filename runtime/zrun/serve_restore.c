/* ZRUN_RESTORE: a container begins where another one of the same image and
 * config was when it first listened.
 *
 *	serve:  key, state BETWEEN, layer, cgroup | INIT_PUT, TUN, go on | reply
 *	worker: criu restores, stopped            |
 *
 * What cannot be restored is removed: the container is then started from its
 * image, and a new checkpoint made of it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "checkpoint.h"
#include "criu_image.h"
#include "policy.h"
#include "sleep.h"

/* -ENOENT is for none at all. */
static int damaged(int error)
{
	return error == -ENOENT ? -EBADMSG : error;
}

static int restore_run(struct container_work *work, char text[STORE_ERROR_SIZE])
{
	struct start *s = container_of(work, struct start, work);
	int r = sleep_restore(s, s->checkpoint);

	if (r < 0)
		snprintf(text, STORE_ERROR_SIZE, "container %.63s: %.180s",
			 s->container->id, s->fault.text);
	return r;
}

static void restore_finish(struct container_work *work,
			   struct zrun_reply *reply)
{
	struct start *s = container_of(work, struct start, work);
	struct resident_container *c = s->container;

	if (reply->error == 0) {
		reply->error = start_restored(s);
		if (reply->error < 0)
			snprintf(reply->text, sizeof(reply->text),
				 "container %.63s: %.180s", c->id,
				 s->fault.text);
	}
	if (reply->error < 0) {
		reply->error = damaged(reply->error);
		serve_remove_checkpoint(s->checkpoint);
		start_undo(s);
		return;
	}
	reply->pid = (uint32_t)c->pid;
	start_free(s);
}

/* By the clock of the day, which alone goes on over a boot. */
static int check_age(int dir, uint32_t max_s, struct fault *fault)
{
	time_t now = time(NULL);
	struct stat st;

	if (fstat(dir, &st) < 0)
		return fault_set(fault, -errno, "its age");
	if (!max_s || (st.st_mtime <= now && now - st.st_mtime <= max_s))
		return 0;
	fault_set(fault, 0, "it is too old");
	return -ESTALE;
}

static int check(struct start *s, int dir, const struct asked *asked)
{
	autofree char *key = checkpoint_key(s->state.digest, s->config_fd);
	struct criu_options options;
	char path[4096];

	for (int i = 0; i < RUNTIME_NS_COUNT; i++)
		if (policy_joined(&s->config, (enum runtime_namespace)i))
			return fault_set(&s->fault, 0,
					 "linux.namespaces: want all of its "
					 "own");
	int r = key ? checkpoint_key_check(dir, key, &s->fault)
		    : fault_set(&s->fault, -ENOMEM, "what it is of");

	if (r == 0)
		r = check_age(dir, asked->request->arg, &s->fault);
	sleep_options(&options, s->checkpoint, path);
	return r == 0 ? criu_image_check(path, &s->fault) : r;
}

static int prepare(struct start *s, int dir)
{
	const char *id = s->container->id;
	int r;

	s->made = true;
	s->state.sleep = SLEEP_BETWEEN;
	r = start_state(s);
	if (r == 0) {
		r = checkpoint_layer_make(dir, id);
		if (r < 0)
			fault_set(&s->fault, r, "its writable layer");
	}
	if (r == 0)
		r = start_make_again(s);
	if (r == 0)
		r = start_cgroup(s);
	if (r < 0)
		return r;
	r = state_write(s->state_dir, &s->state);
	return r < 0 ? fault_set(&s->fault, r, "keep its state") : 0;
}

static int restore(struct start *s, const struct asked *asked,
		   struct zrun_reply *reply)
{
	autoclose int dir = openat(resident.checkpoints, s->checkpoint,
				   O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0)
		return -errno;
	int r = start_read(s, asked);

	if (r < 0)
		return r;
	r = check(s, dir, asked);
	if (r == 0)
		r = prepare(s, dir);
	s->work = (struct container_work){ .container = s->container,
					   .run = restore_run,
					   .finish = restore_finish };
	if (r == 0)
		r = serve_container_work(asked, reply, &s->work);
	if (r < 0)
		serve_remove_checkpoint(s->checkpoint);
	return damaged(r);
}

static int refuse(const char *id, const char *why, struct zrun_reply *reply)
{
	snprintf(reply->text, sizeof(reply->text), "container %.63s: %s", id,
		 why);
	return -EINVAL;
}

int serve_restore(const struct asked *asked, struct zrun_reply *reply)
{
	const char *id = asked->request->id;
	char name[CHECKPOINT_NAME_SIZE];
	int r = checkpoint_name(asked, reply, name);

	if (r < 0)
		return r;
	if (!id_valid(span_of(id)) || container_find(id))
		return refuse(id, "no id, or it exists", reply);
	struct resident_container *c = container_new(id);
	struct start *s = c ? start_new(c) : NULL;

	if (!s) {
		if (c)
			container_free(c);
		return -ENOSPC;
	}
	s->asker = asked->asker;
	memcpy(s->note, asked->request->note, sizeof(s->note));
	text_copy(s->checkpoint, sizeof(s->checkpoint), name);
	r = restore(s, asked, reply);
	if (r == SERVE_LATER)
		return r;
	if (s->fault.text[0])
		snprintf(reply->text, sizeof(reply->text),
			 "container %.63s: %.180s", id, s->fault.text);
	start_undo(s);
	return r;
}
