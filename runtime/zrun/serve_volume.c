/* Volumes: directories that outlive containers, /data/volumes/NAME, each a
 * btrfs subvolume with a quota of its own where /data is btrfs. They are made
 * when a container first wants one and removed by name only. What takes a
 * commit of the file system is done in a child. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/btrfs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/stamp.h"
#include "quota.h"
#include "resident.h"
#include "sleep.h"

#define SNAPSHOTS ".snapshots"

enum { MOUNTINFO_MAX = 1 << 20 };

static bool name_valid(const char *name)
{
	size_t n = strlen(name);

	return n > 0 && n <= ZRUN_VOLUME_NAME_MAX && name[0] != '.' &&
	       strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-.") == n;
}

static int refuse_name(struct zrun_reply *reply)
{
	snprintf(reply->text, sizeof(reply->text),
		 "volume: want a name of a-z, 0-9, - and .");
	return -EINVAL;
}

static int volume_open(const char *name)
{
	int fd = openat(resident.volumes, name,
			O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int volume_new(const char *name)
{
	struct btrfs_ioctl_vol_args args = { 0 };

	text_copy(args.name, sizeof(args.name), name);
	if (resident.is_btrfs
		    ? ioctl(resident.volumes, BTRFS_IOC_SUBVOL_CREATE, &args)
		    : mkdirat(resident.volumes, name, 0755))
		return errno == EEXIST ? 0 : -errno;
	return fsync(resident.volumes) < 0 ? -errno : 0;
}

static int make_work(const struct zrun_request *q, char text[STORE_ERROR_SIZE])
{
	int r = volume_new(q->path);
	autoclose int volume = r < 0 ? r : volume_open(q->path);

	if (volume >= 0 && resident.is_btrfs) {
		quota_join(volume, QUOTA_VOLUMES);
		r = quota_limit(volume, q->arg);
	}
	/* A file system whose quotas are off has none to limit. */
	if (r == -ENOTCONN)
		r = q->arg ? -ENOTSUP : 0;
	if (volume < 0)
		r = volume;
	if (r < 0)
		snprintf(text, STORE_ERROR_SIZE, "volume %.127s: %s", q->path,
			 strerror(-r));
	return r;
}

static int there(const char *name, struct zrun_reply *reply)
{
	autoclose int volume = volume_open(name);

	if (volume == -ENOENT)
		snprintf(reply->text, sizeof(reply->text),
			 "volume %.127s: there is none on this node; what has "
			 "it without external: true makes it, as "
			 "APPLICATION.NAME",
			 name);
	return volume < 0 ? volume : 0;
}

int serve_volume(const struct asked *asked, struct zrun_reply *reply)
{
	const struct zrun_request *q = asked->request;

	if (!name_valid(q->path))
		return refuse_name(reply);
	return q->flags & ZRUN_VOLUME_THERE
		       ? there(q->path, reply)
		       : serve_work(asked, reply, make_work);
}

int serve_volumes(const struct asked *asked, struct zrun_reply *reply)
{
	DIR *list = path_list(resident.volumes, ".");
	uint32_t n = asked->request->arg;
	int r = -ENOENT;

	if (!list)
		return -errno;
	for (struct dirent *e; r == -ENOENT && (e = readdir(list));) {
		if (!name_valid(e->d_name) || n-- > 0)
			continue;
		autoclose int volume = volume_open(e->d_name);
		struct quota_use use;
		int used = snprintf(reply->text, sizeof(reply->text), "%s",
				    e->d_name);

		if (volume >= 0 && quota_use(volume, &use) == 0)
			snprintf(reply->text + used,
				 sizeof(reply->text) - (size_t)used,
				 " %llu %llu",
				 (unsigned long long)use.used_bytes,
				 (unsigned long long)use.limit_bytes);
		r = 0;
	}
	closedir(list);
	return r;
}

static int snapshot_make(int volume, const char *name, char *made, size_t size)
{
	struct btrfs_ioctl_vol_args_v2 args = {
		.fd = volume,
		.flags = BTRFS_SUBVOL_RDONLY,
	};
	char path[200], stamp[STAMP_SIZE], *to = args.name;

	stamp_make(time(NULL), stamp);
	for (const char *p = stamp; *p; p++)
		if (*p != '-' && *p != ':')
			*to++ = *p;
	snprintf(path, sizeof(path), SNAPSHOTS "/%.127s", name);
	snprintf(made, size, "%s/%.20s", path, args.name);
	int r = path_mkdirs(resident.volumes, path, 0700);
	autoclose int dir = r < 0 ? r : volume_open(path);

	if (dir < 0)
		return dir;
	/* The snapshot is of what is on the disk: what is only in memory comes
	 * along by the commit that making it is. */
	if (ioctl(dir, BTRFS_IOC_SNAP_CREATE_V2, &args) < 0)
		return -errno;
	return syncfs(dir) < 0 ? -errno : 0;
}

static int snapshot_work(const struct zrun_request *q,
			 char text[STORE_ERROR_SIZE])
{
	autoclose int volume = volume_open(q->path);
	int r = volume < 0	     ? volume
		: !resident.is_btrfs ? -ENOTSUP
				     : snapshot_make(volume, q->path, text,
						     STORE_ERROR_SIZE);

	if (r < 0)
		snprintf(text, STORE_ERROR_SIZE, "snapshot of %.127s: %s",
			 q->path,
			 r == -ENOENT	 ? "there is no such volume"
			 : r == -ENOTSUP ? "/data is not btrfs"
			 : r == -EEXIST	 ? "there is one of this second"
					 : strerror(-r));
	return r;
}

int serve_snapshot(const struct asked *asked, struct zrun_reply *reply)
{
	if (!name_valid(asked->request->path))
		return refuse_name(reply);
	return serve_work(asked, reply, snapshot_work);
}

static int subvolume_remove(int parent, const char *name)
{
	struct btrfs_ioctl_vol_args args = { 0 };

	text_copy(args.name, sizeof(args.name), name);
	if (resident.is_btrfs &&
	    ioctl(parent, BTRFS_IOC_SNAP_DESTROY, &args) == 0)
		return 0;
	return path_remove_tree(parent, name);
}

static int snapshots_remove(const char *name)
{
	char path[200];

	snprintf(path, sizeof(path), SNAPSHOTS "/%.127s", name);
	autoclose int dir = volume_open(path);

	if (dir < 0)
		return dir == -ENOENT ? 0 : dir;
	DIR *list = path_list(dir, ".");
	int r = 0;

	if (!list)
		return -errno;
	for (struct dirent *e; r == 0 && (e = readdir(list));)
		if (e->d_name[0] != '.')
			r = subvolume_remove(dir, e->d_name);
	closedir(list);
	return r < 0 ? r : path_remove_tree(resident.volumes, path);
}

/* Whether a process has the volume, or a part of it, in its mounts. */
static bool has_mounted(pid_t pid, const char *name)
{
	char path[40], wanted[ZRUN_VOLUME_NAME_MAX + 16];
	autofree char *text = NULL;
	size_t size;

	snprintf(path, sizeof(path), "/proc/%d/mountinfo", (int)pid);
	snprintf(wanted, sizeof(wanted), "/volumes/%.127s", name);
	if (file_read(AT_FDCWD, path, MOUNTINFO_MAX, &text, &size) < 0)
		return false;
	for (const char *p = text; (p = strstr(p, wanted)); p++)
		if (strchr(" /", p[strlen(wanted)]))
			return true;
	return false;
}

/* What is on its way may have it soon. */
static bool uses(const struct resident_container *c, const char *name)
{
	switch (c->phase) {
	case PHASE_STARTING:
	case PHASE_DOZING:
		return true;
	case PHASE_RUNNING:
		return has_mounted(c->pid, name);
	case PHASE_ASLEEP:
		return sleep_has_volume(c->id, name);
	case PHASE_FREE:
	case PHASE_ENDED:
	case PHASE_DELETING:
		break;
	}
	return false;
}

static const char *user_of(const char *name)
{
	for (struct resident_container *c = NULL; (c = container_next(c));)
		if (uses(c, name))
			return c->id;
	return NULL;
}

static int remove_work(const struct zrun_request *q,
		       char text[STORE_ERROR_SIZE])
{
	autoclose int volume = volume_open(q->path);
	const char *user = volume < 0 ? NULL : user_of(q->path);

	if (user) {
		snprintf(text, STORE_ERROR_SIZE,
			 "volume %.127s: container %.63s uses it", q->path,
			 user);
		return -EBUSY;
	}
	int r = volume < 0 ? volume : snapshots_remove(q->path);

	if (r == 0)
		r = subvolume_remove(resident.volumes, q->path);
	if (r == 0 && fsync(resident.volumes) < 0)
		r = -errno;
	if (r < 0)
		snprintf(text, STORE_ERROR_SIZE, "volume %.127s: %s", q->path,
			 r == -ENOENT ? "there is no such volume"
				      : strerror(-r));
	return r;
}

int serve_volume_remove(const struct asked *asked, struct zrun_reply *reply)
{
	if (!name_valid(asked->request->path))
		return refuse_name(reply);
	return serve_work(asked, reply, remove_work);
}
