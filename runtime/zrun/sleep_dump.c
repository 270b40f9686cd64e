/* criu(8) writes the processes of a container, to sleep or to be started from.
 *
 * The network namespace is not saved but made anew by who restores them, so
 * criu is told that it is external; that is why it must hold no connection, for
 * which criu looks. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "criu_image.h"
#include "criu_mount.h"
#include "criu_pages.h"
#include "criu_stdio.h"
#include "policy.h"
#include "sleep.h"

void sleep_options(struct criu_options *options, const char *name,
		   char path[static 4096])
{
	snprintf(path, 4096, "%s/checkpoints/%.80s", path_data(), name);
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

static int read_config(struct sleep_image *image, int fd, struct fault *fault)
{
	autofree char *text = NULL;
	char error[RUNTIME_ERROR_SIZE];
	size_t size;
	int r = memfd_read(fd, ZRUN_CONFIG_MAX, &text, &size);

	if (r < 0)
		return fault_set(fault, r, "config");
	r = runtime_config_parse(&image->config, text, size, error);
	return r < 0 ? fault_set(fault, 0, "config: %s", error) : 0;
}

int sleep_image_open(struct sleep_image *image, int config, struct fault *fault)
{
	image->dir = -1;
	image->before = -1;
	image->state_dir = -1;
	image->cgroup = CGROUP_NONE;
	/* It would be made anew in some of its own. */
	if (image->container->capabilities & POLICY_HOSTS)
		return fault_set(fault, -EINVAL,
				 "it has namespaces of the node");
	image->state_dir = state_open(resident.state, image->container->id,
				      fault);
	int r = image->state_dir < 0 ? image->state_dir
				     : read_config(image, config, fault);

	if (r < 0)
		return r;
	r = container_cgroup(image->container, &image->cgroup);
	return r < 0 ? fault_set(fault, r, "its cgroup") : 0;
}

/* How many images in turn share with the one before: a block of the disk stays
 * whole for as long as a page of it is in use. */
#define AGE "age"
enum { AGE_MAX = 8 };

static void set_aside(struct sleep_image *image, const char *name)
{
	int dir = resident.checkpoints;
	char before[ZRUN_ID_SIZE + sizeof(SLEEP_BEFORE)];
	autofree char *age = NULL;
	size_t size;

	snprintf(before, sizeof(before), "%.63s" SLEEP_BEFORE, name);
	path_remove_tree(dir, before);
	if (renameat(dir, name, dir, before) < 0)
		return;
	image->before = openat(dir, before, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (image->before >= 0 &&
	    file_read(image->before, AGE, 1, &age, &size) == 0)
		image->age = (uint8_t)*age;
	if (++image->age == AGE_MAX) {
		fd_close(&image->before);
		image->age = 0;
	}
}

int sleep_image_make(struct sleep_image *image, const char *name,
		     struct fault *fault)
{
	if (!image->runs_on)
		set_aside(image, name);
	int r = path_remove_tree(resident.checkpoints, name);

	sleep_options(&image->options, name, image->path);
	if (r == 0 && mkdirat(resident.checkpoints, name, 0700) < 0)
		r = -errno;
	image->dir = r < 0 ? r
			   : openat(resident.checkpoints, name,
				    O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (image->dir == -1)
		image->dir = -errno;
	return image->dir < 0
		       ? fault_set(fault, image->dir, "%.200s", image->path)
		       : 0;
}

int sleep_image_note(const struct sleep_image *image, enum state_sleep sleep,
		     const uint8_t *note, struct fault *fault)
{
	struct state state;
	int r = state_read(image->state_dir, &state, fault);

	if (r < 0)
		return r;
	state.sleep = sleep;
	if (sleep == SLEEP_ASLEEP) {
		state.pid = 0;
		memcpy(state.note, note, sizeof(state.note));
	}
	r = state_write(image->state_dir, &state);
	return r < 0 ? fault_set(fault, r, "keep its state") : 0;
}

static int dump(struct sleep_image *image, struct fault *fault)
{
	static struct criu_command command;
	const struct resident_container *c = image->container;
	int r = criu_image_begin(image->dir, fault);

	if (r < 0)
		return r;
	r = criu_stdio_keep(image->dir, c->pid);
	criu_begin(&command, "dump", &image->options);
	criu_add(&command, "--tree");
	criu_add(&command, "%d", (int)c->pid);
	criu_add(&command, "--freeze-cgroup");
	criu_add(&command, "%s/zooid/%s", resident.cgroups.mount, c->cgroup);
	/* See criu_pages.c. */
	if (image->runs_on || image->before >= 0)
		criu_add(&command, "--leave-running");
	criu_add(&command, "--external");
	criu_add(&command, "net[%llu]:" SLEEP_NETWORK,
		 (unsigned long long)container_namespace(c->pid, "net"));
	if (r < 0)
		return fault_set(fault, r, "look at process %d", (int)c->pid);
	r = sleep_volumes_keep(image->dir, &image->config);
	if (r < 0)
		return fault_set(fault, r, "note its volumes");
	r = criu_mount_dump(&command, &image->config, c->pid, image->dir,
			    fault);
	if (r < 0)
		return r;
	if (image->before < 0)
		return criu_run(&command, &image->options, NULL, NULL, fault);
	r = file_swap(image->dir, AGE, &image->age, sizeof(image->age));
	return r < 0 ? fault_set(fault, r, AGE)
		     : criu_pages_dump(&command, &image->options, image->dir,
				       image->before, fault);
}

int sleep_image_dump(struct sleep_image *image, bool *was_frozen,
		     struct fault *fault)
{
	int r = sleep_image_note(image, SLEEP_BETWEEN, NULL, fault);

	*was_frozen = cgroup_is_frozen(&image->cgroup);
	if (r < 0)
		return r;
	r = *was_frozen ? 0 : cgroup_pause(&image->cgroup);
	return r < 0 ? fault_set(fault, r, "freeze it") : dump(image, fault);
}

void sleep_image_undo(struct sleep_image *image, bool was_frozen, int error)
{
	struct fault ignored = { "" };
	const char *name = strrchr(image->path, '/') + 1;
	char before[ZRUN_ID_SIZE + sizeof(SLEEP_BEFORE)];

	if (error == -ECANCELED)
		cgroup_signal(&image->cgroup, SIGKILL);
	if (!was_frozen)
		cgroup_freeze(&image->cgroup, false);
	sleep_image_note(image, SLEEP_AWAKE, NULL, &ignored);
	path_remove_tree(resident.checkpoints, name);
	snprintf(before, sizeof(before), "%.63s" SLEEP_BEFORE, name);
	renameat(resident.checkpoints, before, resident.checkpoints, name);
}
