/* ZRUN_SLEEP: criu(8) writes the container's processes to /data/checkpoints/ID
 * and ends them.
 *
 *	worker: state BETWEEN, freeze, dump, close the image, state ASLEEP
 *	serve:  PHASE_DOZING ...                        | PHASE_ASLEEP
 *
 * The network namespace is not saved but made anew by ZRUN_WAKE, so criu is
 * told that it is external; that is why it must hold no connection, for which
 * criu looks. Whoever dies on the way leaves state BETWEEN, and processes of
 * which nobody knows how whole they are: serve kills them when it starts.
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
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "criu_image.h"
#include "criu_mount.h"
#include "criu_stdio.h"
#include "resident.h"
#include "sleep.h"
#include "store_link.h"
#include "tun.h"

struct dump {
	struct container_work work;
	const struct asked *asked; /* of the worker only */
	struct runtime_config config;
	struct criu_options options;
	struct cgroup cgroup;
	uint8_t note[INIT_NOTE_SIZE];
	int state_dir, image_dir;
	char image_path[4096];
};

void sleep_options(struct criu_options *options, const char *id,
		   char path[static 4096])
{
	snprintf(path, 4096, "%s/checkpoints/%.63s", path_data(), id);
	*options = (struct criu_options){
		.image_path = path,
		.work_path = path,
		.manage_cgroups_mode = "ignore",
		.log_level = "1",
		/* There is no connection to keep quiet. */
		.network_lock = "skip",
		.given = { [3] = true }, /* --file-locks */
	};
}

static int read_config(struct dump *d, struct fault *fault)
{
	const struct ipc_fds *fds = d->asked->fds;
	autofree char *text = NULL;
	char error[RUNTIME_ERROR_SIZE];
	size_t size;

	if (fds->n != 1)
		return fault_set(fault, 0, "want the config with the message");
	int r = memfd_read(fds->fd[0], ZRUN_CONFIG_MAX, &text, &size);

	if (r < 0)
		return fault_set(fault, r, "config");
	r = runtime_config_parse(&d->config, text, size, error);
	return r < 0 ? fault_set(fault, 0, "config: %s", error) : 0;
}

static int make_image_dir(struct dump *d, struct fault *fault)
{
	const char *id = d->work.container->id;
	int r = path_remove_tree(resident.checkpoints, id);

	if (r == 0 && mkdirat(resident.checkpoints, id, 0700) < 0)
		r = -errno;
	d->image_dir = r < 0 ? r
			     : openat(resident.checkpoints, id,
				      O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d->image_dir == -1)
		d->image_dir = -errno;
	return d->image_dir < 0
		       ? fault_set(fault, d->image_dir, "%.200s", d->image_path)
		       : 0;
}

static int note(const struct dump *d, enum state_sleep sleep,
		struct fault *fault)
{
	struct state state;
	int r = state_read(d->state_dir, &state, fault);

	if (r < 0)
		return r;
	state.sleep = sleep;
	if (sleep == SLEEP_ASLEEP) {
		state.pid = 0;
		memcpy(state.note, d->note, sizeof(state.note));
	}
	r = state_write(d->state_dir, &state);
	return r < 0 ? fault_set(fault, r, "keep its state") : 0;
}

static ino_t namespace_of(pid_t pid, const char *kind)
{
	char path[40];
	struct stat st;

	snprintf(path, sizeof(path), "/proc/%d/ns/%s", (int)pid, kind);
	return stat(path, &st) < 0 ? 0 : st.st_ino;
}

static int save(struct dump *d, struct fault *fault)
{
	static struct criu_command command;
	const struct resident_container *c = d->work.container;
	int r = criu_image_begin(d->image_dir, fault);

	if (r < 0)
		return r;
	r = criu_stdio_keep(d->image_dir, c->pid);
	criu_begin(&command, "dump", &d->options);
	criu_add(&command, "--tree");
	criu_add(&command, "%d", (int)c->pid);
	criu_add(&command, "--freeze-cgroup");
	criu_add(&command, "%s/zooid/%s", resident.cgroups.mount, c->cgroup);
	criu_add(&command, "--external");
	criu_add(&command, "net[%llu]:" SLEEP_NETWORK,
		 (unsigned long long)namespace_of(c->pid, "net"));
	if (r < 0)
		return fault_set(fault, r, "look at process %d", (int)c->pid);
	r = criu_mount_dump(&command, &d->config, c->pid, d->image_dir, fault);
	if (r == 0)
		r = criu_run(&command, &d->options, NULL, NULL, fault);
	return r == 0 ? criu_image_close(d->image_dir, fault) : r;
}

/* It goes on as it was, unless nobody knows how it is. */
static void undo(struct dump *d, bool was_frozen, int error)
{
	struct fault ignored = { "" };

	if (error == -ECANCELED)
		cgroup_signal(&d->cgroup, SIGKILL);
	if (!was_frozen)
		cgroup_freeze(&d->cgroup, false);
	note(d, SLEEP_AWAKE, &ignored);
	path_remove_tree(resident.checkpoints, d->work.container->id);
}

static int save_frozen(struct dump *d, struct fault *fault)
{
	bool was_frozen = cgroup_is_frozen(&d->cgroup);
	int r = note(d, SLEEP_BETWEEN, fault);

	if (r < 0)
		return r;
	r = was_frozen ? 0 : cgroup_pause(&d->cgroup);
	if (r < 0)
		fault_set(fault, r, "freeze it");
	if (r == 0)
		r = save(d, fault);
	if (r == 0)
		r = note(d, SLEEP_ASLEEP, fault);
	if (r < 0)
		undo(d, was_frozen, r);
	return r;
}

static int sleep_run(struct container_work *work, char text[STORE_ERROR_SIZE])
{
	struct dump *d = container_of(work, struct dump, work);
	struct resident_container *c = d->work.container;
	struct fault fault = { "" };

	d->image_dir = -1;
	d->cgroup = CGROUP_NONE;
	sleep_options(&d->options, c->id, d->image_path);
	d->state_dir = state_open(resident.state, c->id, &fault);
	int r = d->state_dir < 0 ? d->state_dir : read_config(d, &fault);

	if (r == 0)
		r = make_image_dir(d, &fault);
	if (r == 0) {
		r = container_cgroup(c, &d->cgroup);
		if (r < 0)
			fault_set(&fault, r, "its cgroup");
	}
	if (r == 0)
		r = save_frozen(d, &fault);
	if (r == 0) {
		int left = cgroup_remove(&d->cgroup);

		if (left < 0)
			log_error(c->id, "remove its cgroup: %s",
				  strerror(-left));
		unlinkat(resident.links, c->id, 0);
	}
	if (r < 0)
		snprintf(text, STORE_ERROR_SIZE, "container %.63s: %.180s",
			 c->id, fault.text);
	return r;
}

/* It was killed, and criu with it: as in undo(). */
static void worker_lost(const struct resident_container *c)
{
	struct cgroup cg;

	if (container_cgroup(c, &cg) == 0)
		cgroup_signal(&cg, SIGKILL);
	cgroup_close(&cg);
}

static void sleep_finish(struct container_work *work, struct zrun_reply *reply)
{
	struct resident_container *c = work->container;
	/* Its end was seen while nobody asked. */
	bool ended = c->exit.fd < 0;

	memcpy(c->note, container_of(work, struct dump, work)->note,
	       sizeof(c->note));
	free(container_of(work, struct dump, work));
	if (reply->error < 0) {
		c->phase = PHASE_RUNNING;
		if (ended)
			container_ended(c);
		else if (reply->error == -EIO)
			worker_lost(c);
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
		ino_t own = namespace_of(c->pid, kinds[k]);

		for (struct resident_container *other = NULL;
		     (other = container_next(other));) {
			if (other != c && other->phase == PHASE_RUNNING &&
			    namespace_of(other->pid, kinds[k]) == own)
				return other;
		}
	}
	return NULL;
}

static int refuse_sleep(const struct resident_container *c,
			struct zrun_reply *reply)
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
	r = refuse_sleep(c, reply);
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
