/* Devices that were granted to a container follow the node's: what is plugged
 * in again, under whatever number, is the container's again, and a number that
 * another device has got by then is not.
 *
 * Theory of operation. The kernel tells of each device that comes or goes
 * (uevents); what it tells is not read, only that it did. A worker of each
 * container that has devices then looks for all of them anew, lets its cgroup
 * use those and no others, and makes and removes the nodes in its /dev. The
 * same once it runs, as one may have come or gone while it started, and when
 * serve itself begins. File `devices` in the container's state says what it was
 * granted: a line as in the document (oci/grant.h) of each. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/netlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "grants.h"
#include "kernel.h"
#include "oci/device_name.h"
#include "oci/grant.h"
#include "policy.h"
#include "resident.h"

#define FILE_NAME "devices"

enum {
	DEVICES_MAX = 64 << 10, /* bytes of the file */
	KERNEL_GROUP = 1,	/* that udev's own messages are not in */
	/* A hub that is pulled out is many messages. */
	SETTLE_MS = 20,
	AGAIN_MS = 1000,
	WORKERS_MAX = 4, /* others need some, too */
};

struct container_devices {
	struct container_work work;
	struct timer timer;
	bool is_busy, again;
	bool is_alone; /* the container is gone */
};

/* ---- in the worker ---- */

struct item {
	char *source, *target;
	uint8_t access;
	struct stat st; /* of the node's; mode 0: there is none */
};

/* The container's own, seen from outside it. */
struct inside {
	const char *id;
	int root;
	struct item *item;
	size_t n;
};

static mode_t kind_of(const struct stat *st)
{
	return st->st_mode & S_IFMT;
}

/* Ends the text where the span does: there is a separator. */
static char *cut(struct span s)
{
	char *text = (char *)s.data;

	text[s.size] = '\0';
	return text;
}

static int items_parse(struct inside *in, char *text, size_t size)
{
	size_t n = 0;
	struct span rest = { text, size }, line;

	for (size_t i = 0; i < size; i++)
		n += text[i] == '\n';
	in->item = calloc(n + 1, sizeof(*in->item));
	if (!in->item)
		return -ENOMEM;
	while (in->n < n && span_cut(&rest, '\n', &line)) {
		struct item *item = &in->item[in->n++];
		struct grant g;

		if (grant_parse(line, &g) < 0 || g.kind != GRANT_DEVICE)
			return -EBADMSG;
		item->source = cut(g.path);
		item->target = cut(g.target);
		item->access = g.access;
	}
	return 0;
}

static dev_t number_inside(const struct inside *in, const char *target)
{
	autoclose int fd = path_open_in_root(in->root, target,
					     O_PATH | O_NOFOLLOW, 0);
	struct stat st;

	return fd >= 0 && fstat(fd, &st) == 0 && device_is_node(&st)
		       ? st.st_rdev
		       : 0;
}

static int allow(const struct inside *in, const struct cgroup *cg)
{
	autofree struct runtime_device_rule *rule = calloc(in->n + 1,
							   sizeof(*rule));
	struct runtime_resources resources = { .device = rule };
	struct fault fault;

	if (!rule)
		return -ENOMEM;
	for (size_t i = 0; i < in->n; i++) {
		const struct stat *st = &in->item[i].st;

		if (st->st_mode)
			rule[resources.n_device++] =
				device_rule(st, in->item[i].access);
	}
	return cgroup_devices_renew(cg, &resources, &fault);
}

static int make(int dir, const char *name, const struct stat *st)
{
	if (mknodat(dir, name, kind_of(st) | (st->st_mode & 0777),
		    st->st_rdev) < 0 ||
	    fchownat(dir, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) <
		    0)
		return -errno;
	return 1;
}

/* Makes what is there be what ought to be: 1 when it was not. A file of the
 * container's own is left alone. */
static int node_set(int dir, const char *name, const struct stat *want)
{
	struct stat has;
	bool is_there = fstatat(dir, name, &has, AT_SYMLINK_NOFOLLOW) == 0;

	if (is_there && !device_is_node(&has))
		return want->st_mode ? -EEXIST : 0;
	if (is_there && kind_of(&has) == kind_of(want) &&
	    has.st_rdev == want->st_rdev)
		return 0;
	if (is_there && unlinkat(dir, name, 0) < 0)
		return -errno;
	return want->st_mode ? make(dir, name, want) : is_there;
}

static void item_set(const struct inside *in, const struct item *item)
{
	const struct stat *want = &item->st;
	char *slash = strrchr(item->target, '/');

	*slash = '\0';
	autoclose int dir = path_open_in_root(in->root, item->target,
					      O_PATH | O_DIRECTORY, 0);

	*slash = '/';
	int r = dir < 0 ? dir : node_set(dir, slash + 1, want);

	if (r < 0)
		log_warning(in->id, "device %s: %s", item->source,
			    strerror(-r));
	else if (r > 0 && want->st_mode)
		log_notice(in->id, "device %s: it is %u:%u now", item->source,
			   major(want->st_rdev), minor(want->st_rdev));
	else if (r > 0)
		log_notice(in->id, "device %s: it has gone", item->source);
}

static int root_open(const struct resident_container *c)
{
	char path[40];

	snprintf(path, sizeof(path), "/proc/%d/root", (int)c->pid);
	int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	/* While the pidfd says that it lives, the number was its own. */
	int r = root < 0 ? -errno : kernel_pidfd_signal(c->pidfd, 0);

	if (r < 0)
		fd_close(&root);
	return r < 0 ? r : root;
}

/* Each is looked for once: the rule is of what the node is of. */
static int devices_set(const struct resident_container *c, struct inside *in)
{
	struct cgroup cg = CGROUP_NONE;
	int r = 0;

	for (size_t i = 0; i < in->n; i++) {
		struct item *item = &in->item[i];

		if (device_stat(item->source, number_inside(in, item->target),
				&item->st) < 0)
			item->st.st_mode = 0;
	}
	if (!(c->capabilities & POLICY_PRIVILEGED)) {
		r = container_cgroup(c, &cg);
		if (r == 0)
			r = allow(in, &cg);
		cgroup_close(&cg);
	}
	for (size_t i = 0; r == 0 && i < in->n; i++)
		item_set(in, &in->item[i]);
	return r;
}

static int devices_run(struct container_work *work, char text[STORE_ERROR_SIZE])
{
	const struct resident_container *c = work->container;
	char name[ZRUN_ID_SIZE + sizeof(FILE_NAME) + 1], *lines = NULL;
	size_t size = 0;
	struct inside in = { .id = c->id, .root = root_open(c) };

	snprintf(name, sizeof(name), "%s/" FILE_NAME, c->id);
	umask(0);
	int r = in.root < 0 ? in.root
			    : file_read(resident.state, name, DEVICES_MAX,
					&lines, &size);

	if (r == 0)
		r = items_parse(&in, lines, size);
	if (r == 0)
		r = devices_set(c, &in);
	if (r < 0)
		snprintf(text, STORE_ERROR_SIZE, "devices: %s", strerror(-r));
	return r;
}

/* ---- in serve ---- */

static int n_workers;

/* Those that had to wait. */
static void follow_others(void)
{
	struct resident_container *c = NULL;

	while (n_workers < WORKERS_MAX && (c = container_next(c)))
		if (c->devices && c->devices->again)
			devices_follow(c);
}

static void devices_done(struct container_work *work, struct zrun_reply *reply)
{
	struct container_devices *d =
		container_of(work, struct container_devices, work);
	struct resident_container *c = work->container;

	n_workers--;
	d->is_busy = false;
	if (d->is_alone) {
		free(d);
	} else if (reply->error < 0 && c->phase == PHASE_RUNNING) {
		log_warning(c->id, "%s", reply->text);
		timer_set(&resident.loop, &d->timer, AGAIN_MS);
	}
	follow_others();
}

static void again_fire(struct timer *t)
{
	devices_follow(container_of(t, struct container_devices, timer)
			       ->work.container);
}

void devices_follow(struct resident_container *c)
{
	struct container_devices *d = c->devices;
	/* Serial numbers begin with 1: nobody gets the answer. */
	struct asked asked = { .asker = { .client = resident.client } };
	struct zrun_reply reply;

	if (!d || c->phase != PHASE_RUNNING)
		return;
	d->again = d->is_busy || n_workers == WORKERS_MAX;
	if (d->again)
		return;
	d->is_busy = serve_container_work(&asked, &reply, &d->work) ==
		     SERVE_LATER;
	n_workers += d->is_busy;
	if (!d->is_busy)
		timer_set(&resident.loop, &d->timer, AGAIN_MS);
}

void devices_forget(struct resident_container *c)
{
	struct container_devices *d = c->devices;

	c->devices = NULL;
	if (!d)
		return;
	timer_cancel(&d->timer);
	d->is_alone = d->is_busy;
	if (!d->is_busy)
		free(d);
}

int devices_find(struct resident_container *c, int state_dir)
{
	if (c->devices || faccessat(state_dir, FILE_NAME, F_OK, 0) < 0)
		return 0;
	c->devices = calloc(1, sizeof(*c->devices));
	if (!c->devices)
		return -ENOMEM;
	c->devices->work = (struct container_work){ .container = c,
						    .run = devices_run,
						    .finish = devices_done };
	c->devices->timer.fire = again_fire;
	return 0;
}

int devices_note(struct resident_container *c, int state_dir, const char *lines)
{
	int r = lines ? file_swap(state_dir, FILE_NAME, lines, strlen(lines))
		      : 0;

	return r < 0 || !lines ? r : devices_find(c, state_dir);
}

void devices_drop(struct resident_container *c, int state_dir)
{
	devices_forget(c);
	unlinkat(state_dir, FILE_NAME, 0);
}

static struct watch uevents;

static void settled(struct timer *t)
{
	struct resident_container *c = NULL;

	(void)t;
	while ((c = container_next(c)))
		devices_follow(c);
}

static struct timer settle = { .fire = settled };

static void uevents_ready(struct watch *w, uint32_t events)
{
	char message[2048];

	(void)events;
	/* Those that were lost (ENOBUFS) were some, too. */
	while (recv(w->fd, message, sizeof(message), MSG_DONTWAIT) >= 0 ||
	       errno == ENOBUFS)
		;
	if (!settle.deadline_ms)
		timer_set(&resident.loop, &settle, SETTLE_MS);
}

int devices_watch(void)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK,
				       .nl_groups = KERNEL_GROUP };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK,
			NETLINK_KOBJECT_UEVENT);

	if (fd < 0 ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	uevents.ready = uevents_ready;
	return watch_add(&resident.loop, &uevents, fd, EPOLLIN);
}
