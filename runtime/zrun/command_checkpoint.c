/* zrun checkpoint: criu(8) writes a running container to files.
 *
 * What it leaves out because a parent has it, it takes the kernel's word for:
 * which pages were written since tracking began anew, as it does with each dump
 * that tracks. So there is one parent at any time, the last such dump of this
 * very container; a random mark in the state and in the image says which. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "cli.h"
#include "criu.h"
#include "criu_image.h"
#include "criu_mount.h"
#include "criu_stdio.h"
#include "option.h"

struct checkpoint {
	struct criu_options criu;
	const char *parent_path, *page_server, *status_fd;
	bool leave_running, pre_dump, track;
	struct container container;
	struct runtime_config config;
	int image_dir;
};

enum {
	OPTION_LEAVE_RUNNING = CRIU_OWN,
	OPTION_PRE_DUMP,
	OPTION_PARENT_PATH,
	OPTION_PAGE_SERVER,
	OPTION_STATUS_FD,
};

static const struct option options[] = {
	CRIU_LONG_OPTIONS,
	{ "leave-running", no_argument, NULL, OPTION_LEAVE_RUNNING },
	{ "pre-dump", no_argument, NULL, OPTION_PRE_DUMP },
	{ "parent-path", required_argument, NULL, OPTION_PARENT_PATH },
	{ "page-server", required_argument, NULL, OPTION_PAGE_SERVER },
	{ "status-fd", required_argument, NULL, OPTION_STATUS_FD },
	{ NULL, 0, NULL, 0 },
};

static int read_options(int argc, char **argv, struct checkpoint *c,
			struct fault *fault)
{
	int option, r = 0;

	while ((option = option_next(argc, argv, "", options, NULL)) >= 0) {
		if (option == '?')
			return -EINVAL;
		if (option < CRIU_OWN)
			r = criu_option(&c->criu, option, fault);
		else if (option == OPTION_LEAVE_RUNNING)
			c->leave_running = true;
		else if (option == OPTION_PRE_DUMP)
			c->pre_dump = true;
		else if (option == OPTION_PARENT_PATH)
			c->parent_path = optarg;
		else if (option == OPTION_PAGE_SERVER)
			c->page_server = optarg;
		else
			c->status_fd = optarg;
		if (r < 0)
			return r;
	}
	return 0;
}

#define MARK "tracked"

enum { MARK_SIZE = 16 };

/* What was written just now is soft-dirty. */
static bool kernel_tracks(void)
{
	uint64_t page = 0;
	autoclose int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uintptr_t n = (uintptr_t)&page / (uintptr_t)getpagesize();

	return fd >= 0 &&
	       pread(fd, &page, sizeof(page), (off_t)(n * sizeof(page))) ==
		       sizeof(page) &&
	       page >> 55 & 1;
}

/* Nothing has, until the dump has ended well. */
static int forget_mark(const struct checkpoint *c, struct fault *fault)
{
	unlinkat(c->image_dir, MARK, 0);
	return unlinkat(c->container.dir, MARK, 0) < 0 && errno != ENOENT
		       ? fault_set(fault, -errno, MARK)
		       : 0;
}

static int set_mark(const struct checkpoint *c, struct fault *fault)
{
	char mark[MARK_SIZE];
	int r = getrandom(mark, sizeof(mark), 0) == sizeof(mark) ? 0 : -EIO;

	if (r == 0)
		r = file_swap(c->image_dir, MARK, mark, sizeof(mark));
	if (r == 0)
		r = file_swap(c->container.dir, MARK, mark, sizeof(mark));
	return r < 0 ? fault_set(fault, r, MARK) : 0;
}

static int check_parent(const struct checkpoint *c, struct fault *fault)
{
	autofree char *own = NULL, *its = NULL, *path = NULL;
	size_t own_size, its_size;
	int r = criu_image_check_parent(c->image_dir, c->parent_path, fault);

	if (r < 0)
		return r;
	if (asprintf(&path, "%s/" MARK, c->parent_path) < 0)
		return fault_set(fault, -ENOMEM, MARK);
	if (file_read(c->container.dir, MARK, MARK_SIZE, &own, &own_size) < 0 ||
	    file_read(c->image_dir, path, MARK_SIZE, &its, &its_size) < 0 ||
	    own_size != its_size || memcmp(own, its, own_size) != 0)
		return fault_set(fault, 0,
				 "--parent-path %.60s: not the last pre-dump "
				 "or running checkpoint of it, since which the "
				 "kernel tracks what it writes",
				 c->parent_path);
	return 0;
}

static int add_page_server(struct criu_command *command, const char *where,
			   struct fault *fault)
{
	const char *colon = strrchr(where, ':');

	if (!colon || colon == where || !colon[1])
		return fault_set(fault, 0,
				 "--page-server %.60s: want ADDRESS:PORT",
				 where);
	criu_add(command, "--page-server");
	criu_add(command, "--address");
	criu_add(command, "%.*s", (int)(colon - where), where);
	criu_add(command, "--port");
	criu_add(command, "%s", colon + 1);
	return 0;
}

static int dump(struct checkpoint *c, struct fault *fault)
{
	const struct container *container = &c->container;
	const struct cgroup *cg = &container->cgroup;
	static struct criu_command command;
	int r = 0;

	criu_begin(&command, c->pre_dump ? "pre-dump" : "dump", &c->criu);
	criu_add(&command, "--tree");
	criu_add(&command, "%d", (int)container->state.pid);
	criu_add(&command, "--root");
	criu_add(&command, "%s", container->state.rootfs);
	if (cg->dir >= 0 && cg->mount[0]) {
		criu_add(&command, "--freeze-cgroup");
		criu_add(&command, "%s/%s", cg->mount, cg->path);
	}
	if (c->leave_running)
		criu_add(&command, "--leave-running");
	if (c->track)
		criu_add(&command, "--track-mem");
	if (c->parent_path) {
		criu_add(&command, "--prev-images-dir");
		criu_add(&command, "%s", c->parent_path);
	}
	if (c->status_fd) {
		criu_add(&command, "--status-fd");
		criu_add(&command, "%s", c->status_fd);
	}
	if (c->page_server)
		r = add_page_server(&command, c->page_server, fault);
	if (r == 0 && !c->pre_dump)
		r = criu_mount_dump(&command, &c->config, container->state.pid,
				    c->image_dir, fault);
	return r < 0 ? r : criu_run(&command, &c->criu, NULL, NULL, fault);
}

/* Frozen before: what is copied beside criu must not change, and criu itself
 * would wait for a tenth of a second. */
static int dump_frozen(struct checkpoint *c, struct fault *fault)
{
	const struct cgroup *cg = &c->container.cgroup;
	bool freeze = cg->dir >= 0 && !cgroup_is_frozen(cg);
	int r = freeze ? cgroup_pause(cg) : 0;

	if (r < 0)
		return fault_set(fault, r, "freeze it");
	r = criu_image_begin(c->image_dir, fault);
	if (r == 0 && c->track)
		r = forget_mark(c, fault);
	if (r == 0)
		r = dump(c, fault);
	if (r == 0)
		r = criu_image_seal(c->image_dir, fault);
	if (r == 0 && c->track)
		r = set_mark(c, fault);
	if (freeze && (r < 0 || c->leave_running || c->pre_dump))
		cgroup_freeze(cg, false);
	return r;
}

static int make_images(struct checkpoint *c, struct fault *fault)
{
	if (!c->criu.image_path)
		c->criu.image_path = "checkpoint";
	if (!c->criu.work_path)
		c->criu.work_path = c->criu.image_path;
	int r = path_mkdirs(AT_FDCWD, c->criu.image_path, 0700);

	if (r < 0)
		return fault_set(fault, r, "--image-path %.200s",
				 c->criu.image_path);
	r = path_mkdirs(AT_FDCWD, c->criu.work_path, 0700);
	if (r < 0)
		return fault_set(fault, r, "--work-path %.200s",
				 c->criu.work_path);
	c->image_dir = open(c->criu.image_path,
			    O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c->image_dir < 0)
		return fault_set(fault, -errno, "--image-path %.200s",
				 c->criu.image_path);
	r = c->parent_path ? check_parent(c, fault) : 0;
	if (r < 0)
		return r;
	r = criu_stdio_keep(c->image_dir, c->container.state.pid);
	return r < 0 ? fault_set(fault, r, "descriptors.json") : 0;
}

static int checkpoint(struct checkpoint *c, struct fault *fault)
{
	struct container *container = &c->container;
	enum status status = state_status(container->dir, &container->state);

	if (status != STATUS_RUNNING && status != STATUS_PAUSED)
		return fault_set(fault, 0,
				 "cannot checkpoint a container that is %s",
				 status_name(status));
	int r = container_config(container->dir, &c->config, fault);

	if (r == 0)
		r = make_images(c, fault);
	c->track = c->pre_dump || c->parent_path ||
		   (c->leave_running && kernel_tracks());
	if (r == 0)
		r = dump_frozen(c, fault);
	if (r == 0 && !c->leave_running && !c->pre_dump)
		r = container_destroy(container, &c->config, fault);
	return r;
}

int command_checkpoint(int argc, char **argv)
{
	struct checkpoint c = { .image_dir = -1 };
	struct fault fault = { "" };
	int r = read_options(argc, argv, &c, &fault);

	if (r == 0) {
		if (cli_operand(argc, argv) < 0 ||
		    container_open(&c.container, argv[optind]) < 0)
			return 1;
		r = checkpoint(&c, &fault);
		container_close(&c.container);
	}
	if (r < 0 && fault.text[0])
		cli_error(fault.text);
	runtime_config_free(&c.config);
	fd_close(&c.image_dir);
	return r < 0;
}
