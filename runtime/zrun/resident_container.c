/* The containers of zrun serve: the table, their directories, and what is
 * found again after serve was killed. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/btrfs.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/path.h"
#include "bud.h"
#include "checkpoint.h"
#include "kernel.h"
#include "quota.h"
#include "resident.h"
#include "store_link.h"
#include "tun.h"

/* How many rows were ever used, and the hashes of their ids, apart so that a
 * search does not walk through all rows. */
static int n_rows;
static uint32_t id_hash[RESIDENT_CONTAINERS_MAX];

static uint32_t hash_id(const char *id)
{
	return (uint32_t)hash_of(id, strlen(id));
}

struct resident_container *container_next(struct resident_container *c)
{
	for (c = c ? c + 1 : resident.container;
	     c < resident.container + n_rows; c++)
		if (c->phase != PHASE_FREE)
			return c;
	return NULL;
}

struct resident_container *container_find(const char *id)
{
	uint32_t hash = hash_id(id);

	for (int i = 0; i < n_rows; i++) {
		struct resident_container *c = &resident.container[i];

		if (id_hash[i] == hash && c->phase != PHASE_FREE &&
		    strcmp(c->id, id) == 0)
			return c;
	}
	return NULL;
}

struct resident_container *container_new(const char *id)
{
	int i = 0;

	while (i < n_rows && resident.container[i].phase != PHASE_FREE)
		i++;
	if (i == RESIDENT_CONTAINERS_MAX)
		return NULL;
	if (i == n_rows)
		n_rows++;
	struct resident_container *c = &resident.container[i];

	memset(c, 0, sizeof(*c));
	c->phase = PHASE_STARTING;
	c->pidfd = c->exit.fd = c->mounts = c->tun = c->config = -1;
	listening_init(&c->listening);
	text_copy(c->id, sizeof(c->id), id);
	text_copy(c->cgroup, sizeof(c->cgroup), id);
	id_hash[i] = hash_id(id);
	return c;
}

void container_unkeep(struct resident_container *c)
{
	fd_close(&c->config);
	listening_end(&c->listening);
}

void container_free(struct resident_container *c)
{
	watch_del(&resident.loop, &c->exit);
	fd_close(&c->pidfd);
	fd_close(&c->mounts);
	fd_close(&c->tun);
	container_unkeep(c);
	devices_forget(c);
	c->phase = PHASE_FREE;
}

static void exit_ready(struct watch *w, uint32_t events)
{
	struct resident_container *c =
		container_of(w, struct resident_container, exit);

	(void)events;
	watch_del(&resident.loop, w);
	/* While it starts, its channel tells more; and whoever puts it to sleep
	 * ends it. */
	if (c->phase == PHASE_RUNNING)
		container_ended(c);
}

void container_ended(struct resident_container *c)
{
	c->phase = PHASE_ENDED;
	container_unkeep(c);
	if (c->address)
		c->tun = tun_take(c->id);
}

void container_drop(const char *id)
{
	init_drop(INIT_KIND_OUTPUT, id, 1);
	init_drop(INIT_KIND_OUTPUT, id, 2);
	/* Also the records of execs that nobody took. */
	for (uint32_t n = 0; n <= ZRUN_EXECS_MAX; n++)
		init_drop(INIT_KIND_PIDFD, id, n);
}

int container_watch(struct resident_container *c, int pidfd)
{
	c->pidfd = pidfd;
	c->exit.ready = exit_ready;
	int r = watch_add(&resident.loop, &c->exit, pidfd, EPOLLIN);

	devices_follow(c);
	return r;
}

static int subvolume_ioctl(unsigned long verb, const char *id)
{
	struct btrfs_ioctl_vol_args args = { 0 };

	text_copy(args.name, sizeof(args.name), id);
	return ioctl(resident.containers, verb, &args) < 0 ? -errno : 0;
}

int container_layer_make(const char *id)
{
	static const char *const parts[] = { "upper", "work", "root" };
	int r = resident.is_btrfs
			? subvolume_ioctl(BTRFS_IOC_SUBVOL_CREATE, id)
			: kernel_result(mkdirat(resident.containers, id, 0700));

	if (r < 0)
		return r;
	autoclose int dir = openat(resident.containers, id,
				   O_RDONLY | O_DIRECTORY | O_NOFOLLOW |
					   O_CLOEXEC);

	if (dir < 0)
		return -errno;
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		if (mkdirat(dir, parts[i], 0755) < 0)
			return -errno;
	}
	quota_join(dir, QUOTA_LAYERS);
	return 0;
}

int container_layer_rename(const char *from, const char *to)
{
	return kernel_result(
		renameat(resident.containers, from, resident.containers, to));
}

int container_layer_remove(const char *id)
{
	if (resident.is_btrfs &&
	    subvolume_ioctl(BTRFS_IOC_SNAP_DESTROY, id) == 0)
		return 0;
	return path_remove_tree(resident.containers, id);
}

static int cgroup_sweep(const struct resident_container *c)
{
	struct cgroup cg = CGROUP_NONE;
	char path[100];

	snprintf(path, sizeof(path), "zooid/%s", c->cgroup);
	cg.root = resident.cgroups.root;
	int r = cgroup_open(&cg, path);

	r = r == -ENOENT ? 0 : r < 0 ? r : cgroup_remove(&cg);
	fd_close(&cg.dir);
	return r;
}

int container_cgroup_set(struct resident_container *c, const char *name)
{
	char path[sizeof(resident.cgroups.mount) + ZRUN_ID_SIZE + 8];

	text_copy(c->cgroup, sizeof(c->cgroup), name);
	snprintf(path, sizeof(path), "%s/zooid/%s", resident.cgroups.mount,
		 name);
	unlinkat(resident.links, c->id, 0);
	return symlinkat(path, resident.links, c->id) < 0 ? -errno : 0;
}

int container_sweep(const struct resident_container *c,
		    char text[ZRUN_TEXT_SIZE])
{
	const char *what = "its cgroup", *id = c->id;
	int r = cgroup_sweep(c);

	unlinkat(resident.links, id, 0);

	if (r == 0) {
		what = "its checkpoint";
		r = checkpoint_remove(id);
	}
	if (r == 0) {
		what = "its writable layer";
		r = container_layer_remove(id);
	}
	/* The state goes last: while anything is left, something says so. */
	if (r == 0) {
		what = "its state";
		r = state_remove(resident.state, id);
	}
	if (r < 0)
		snprintf(text, ZRUN_TEXT_SIZE, "container %s: remove %s: %s",
			 id, what, strerror(-r));
	return r;
}

/* Half made: nobody was told that it exists. */
static void recover_half(const char *id)
{
	struct resident_container c = { .pidfd = -1 };
	char text[ZRUN_TEXT_SIZE];

	text_copy(c.id, sizeof(c.id), id);
	/* A bud's was not noted yet; it goes with what else serve left. */
	text_copy(c.cgroup, sizeof(c.cgroup), id);
	/* init may have its descriptors already. */
	autoclose int pidfd = init_get(INIT_KIND_PIDFD, id, 0);

	if (pidfd >= 0) {
		struct pollfd p = { .fd = pidfd, .events = POLLIN };

		kernel_pidfd_signal(pidfd, SIGKILL);
		poll(&p, 1, 5000);
	}
	init_drop(INIT_KIND_PIDFD, id, 0);
	init_drop(INIT_KIND_OUTPUT, id, 1);
	init_drop(INIT_KIND_OUTPUT, id, 2);
	tun_drop(id);
	if (container_sweep(&c, text) < 0)
		log_error(NULL, "%s", text);
	else
		log_notice(id, "removed a start that was cut short");
}

/* What init has of one that sleeps, when serve ended before it was dropped: it
 * would be in the way of its waking. The process goes last but for the TUN; of
 * one that has ended init has no descriptor, and says so otherwise than of
 * none.
 */
static void drop_awake(const char *id)
{
	autoclose int pidfd = init_get(INIT_KIND_PIDFD, id, 0);

	if (pidfd != -ENOENT)
		container_drop(id);
	tun_drop(id);
}

static void recover(const char *id)
{
	struct state state;
	struct fault fault = { "" };

	autoclose int dir = state_open(resident.state, id, &fault);

	if (dir < 0 || state_read(dir, &state, &fault) < 0 ||
	    (state.pid == 0 && !state.sleep)) {
		recover_half(id);
		return;
	}
	struct resident_container *c = container_new(id);

	if (!c) {
		log_error(id, "the table of containers is full");
		return;
	}
	c->pid = state.pid;
	c->address = state.address;
	text_copy(c->digest, sizeof(c->digest), state.digest);
	text_copy(c->application, sizeof(c->application), state.application);
	c->capabilities = state.capabilities;
	if (devices_find(c, dir) < 0)
		log_error(id, "its devices: out of memory");
	const char *cgroup = strrchr(state.cgroup, '/');

	cgroup = cgroup ? cgroup + 1 : id;
	if (state.sleep == SLEEP_ASLEEP) {
		c->phase = PHASE_ASLEEP;
		memcpy(c->note, state.note, sizeof(c->note));
		/* Left when serve ended right after the dump. */
		text_copy(c->cgroup, sizeof(c->cgroup), cgroup);
		drop_awake(id);
		return;
	}
	if (container_cgroup_set(c, cgroup) < 0)
		log_error(id, "cannot link its cgroup");
	/* Neither is whole: only a start from the image is left. */
	if (state.sleep == SLEEP_BETWEEN)
		cgroup_sweep(c);
	else
		container_swap_recover(c);
	autoclose int pidfd = init_get(INIT_KIND_PIDFD, id, 0);

	if (pidfd < 0)
		pidfd = state_pidfd(&state);
	c->phase = PHASE_ENDED;
	if (pidfd >= 0) {
		c->phase = PHASE_RUNNING;
		container_watch(c, fd_take(&pidfd));
	} else {
		tun_drop(id);
	}
}

/* Writable layers and checkpoints whose state did not survive a reboot: their
 * containers are gone, and so is what they wrote. */
static void remove_strays(int dir, int (*remove)(const char *id))
{
	DIR *list = path_list(dir, ".");

	for (struct dirent *e; list && (e = readdir(list));) {
		if (e->d_name[0] == '.' || container_find(e->d_name))
			continue;
		int r = remove(e->d_name);

		if (r < 0)
			log_error(e->d_name, "remove what it left: %s",
				  strerror(-r));
	}
	if (list)
		closedir(list);
}

/* Of a container it is of no use after a boot; of its own it is. */
static int remove_unkept(const char *name)
{
	if (checkpoint_is_kept(name))
		return 0;
	if (id_valid(span_of(name)))
		log_info(name, "the checkpoint of its last sleep is of no use "
			       "any more, and removed");
	return checkpoint_remove(name);
}

static bool has_container(const char *cgroup)
{
	struct resident_container *c = NULL;

	while ((c = container_next(c)) && strcmp(c->cgroup, cgroup) != 0)
		;
	return c;
}

void container_recover_all(void)
{
	DIR *list = path_list(resident.state, ".");

	for (struct dirent *e; list && (e = readdir(list));) {
		if (state_id_valid(e->d_name) && e->d_name[0] != '.')
			recover(e->d_name);
	}
	if (list)
		closedir(list);
	remove_strays(resident.containers, container_layer_remove);
	remove_strays(resident.checkpoints, remove_unkept);
	nursery_sweep(resident.cgroup_dir, "@", has_container);
}
