/* A reservation of the kernel's is made for more than is written in the end, so
 * the last bytes are hard to get at: what is within a sixteenth of the limit is
 * called full. Used bytes are read from sysfs, where they are of now; the tree
 * on the disk is of the last commit. */
#define _GNU_SOURCE
#include "quota.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/btrfs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "base/span.h"
#include "resident.h"

enum { FULL_PART = 16 };

#define LAYER_LEAST_BYTES (16ULL << 20)
#define START_BYTES	  (1ULL << 20) /* what a container needs to start */

/* Numbers 1, 2 of level 1. */
static uint64_t number_of(enum quota_group group)
{
	return 1ULL << 48 | ((unsigned)group + 1);
}

static int groups = -1; /* in sysfs; -1: no quotas */

/* By a directory that is in no group: what changes a group is written, and who
 * is full could not have his limit raised. */
static int group_set_limit(uint64_t group, uint64_t bytes)
{
	struct btrfs_ioctl_qgroup_limit_args args = {
		.qgroupid = group,
		.lim = { .flags = BTRFS_QGROUP_LIMIT_MAX_RFER,
			 .max_rfer = bytes },
	};

	return ioctl(resident.volumes, BTRFS_IOC_QGROUP_LIMIT, &args) < 0
		       ? -errno
		       : 0;
}

static int group_read(uint64_t group, const char *name, uint64_t *bytes)
{
	char path[64], text[32];

	snprintf(path, sizeof(path), "%u_%llu/%s", (unsigned)(group >> 48),
		 (unsigned long long)(group & ((1ULL << 48) - 1)), name);
	autoclose int fd = openat(groups, path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -errno : fd_read(fd, text, sizeof(text));

	if (n <= 0)
		return n < 0 ? (int)n : -EIO;
	return span_u64((struct span){ text, (size_t)n - 1 }, UINT64_MAX,
			bytes);
}

static int group_use(uint64_t group, struct quota_use *use)
{
	int r = group_read(group, "referenced", &use->used_bytes);

	if (r == 0)
		r = group_read(group, "max_referenced", &use->limit_bytes);
	/* So it is as long as none was ever set. */
	if (r == 0 && use->limit_bytes == 0)
		use->limit_bytes = UINT64_MAX;
	return r;
}

static int subvolume_group(int fd, __u64 *group)
{
	struct btrfs_ioctl_get_subvol_info_args info = { 0 };

	if (ioctl(fd, BTRFS_IOC_GET_SUBVOL_INFO, &info) < 0)
		return -errno;
	*group = info.treeid;
	return 0;
}

/* Bytes that are free beyond the reserve, taken `times` times. */
static uint64_t bytes_left(unsigned times)
{
	struct statvfs fs;
	uint64_t left, reserve;

	if (fstatvfs(resident.volumes, &fs) < 0)
		return 0;
	left = (uint64_t)fs.f_bavail * fs.f_frsize;
	reserve = store_reserve(&fs) * times;
	return left > reserve ? left - reserve : 0;
}

void quota_refresh(void)
{
	static const unsigned reserves[] = {
		[QUOTA_VOLUMES] = 2, [QUOTA_LAYERS] = 1
	};
	struct quota_use use;

	for (int i = 0; groups >= 0 && i < QUOTA_GROUP_COUNT; i++) {
		uint64_t number = number_of((enum quota_group)i);
		uint64_t left = bytes_left(reserves[i]);

		/* Also where it was the node that has filled the disk. */
		if (i == QUOTA_LAYERS && left < START_BYTES)
			left = START_BYTES;
		if (group_use(number, &use) == 0)
			(void)group_set_limit(number, use.used_bytes + left);
	}
}

static int join(int subvolume, enum quota_group group)
{
	struct btrfs_ioctl_qgroup_assign_args args = {
		.assign = 1,
		.dst = number_of(group),
	};
	int r = subvolume_group(subvolume, &args.src);

	if (r < 0)
		return r;
	/* 1: the numbers of the group have to be counted, which they are not
	 * with simple quotas. */
	r = ioctl(resident.volumes, BTRFS_IOC_QGROUP_ASSIGN, &args) < 0 ? -errno
									: 0;
	return r == -EEXIST ? 0 : r;
}

void quota_join(int subvolume, enum quota_group group)
{
	uint64_t most = bytes_left(1) / 2;
	__u64 own;
	int r;

	if (groups < 0)
		return;
	if (most < LAYER_LEAST_BYTES)
		most = LAYER_LEAST_BYTES;
	r = join(subvolume, group);
	if (r == 0 && group == QUOTA_LAYERS)
		r = subvolume_group(subvolume, &own);
	if (r == 0 && group == QUOTA_LAYERS)
		r = group_set_limit(own, most);
	if (r < 0)
		log_warning("quota", "not limited: %s", strerror(-r));
	quota_refresh();
}

/* Those of an earlier version, or of before a cut. */
static void join_below(int parent, enum quota_group group)
{
	DIR *list = path_list(parent, ".");

	for (struct dirent *e; list && (e = readdir(list));) {
		autoclose int fd = e->d_name[0] == '.'
					   ? -1
					   : openat(parent, e->d_name,
						    O_RDONLY | O_DIRECTORY |
							    O_NOFOLLOW |
							    O_CLOEXEC);

		if (fd >= 0)
			(void)join(fd, group);
	}
	if (list)
		closedir(list);
}

static int groups_open(void)
{
	struct btrfs_ioctl_fs_info_args fs = { 0 };
	char path[80];
	int n = snprintf(path, sizeof(path), "/sys/fs/btrfs/");

	if (ioctl(resident.volumes, BTRFS_IOC_FS_INFO, &fs) < 0)
		return -errno;
	for (int i = 0; i < BTRFS_FSID_SIZE; i++)
		n += snprintf(path + n, sizeof(path) - (size_t)n, "%s%02x",
			      i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "",
			      fs.fsid[i]);
	snprintf(path + n, sizeof(path) - (size_t)n, "/qgroups");
	groups = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return groups < 0 ? -errno : 0;
}

void quota_begin(void)
{
	struct btrfs_ioctl_qgroup_create_args args = { .create = 1 };
	int r = resident.is_btrfs ? groups_open() : -ENOTSUP;

	for (int i = 0; r == 0 && i < QUOTA_GROUP_COUNT; i++) {
		args.qgroupid = number_of((enum quota_group)i);
		if (ioctl(resident.volumes, BTRFS_IOC_QGROUP_CREATE, &args) <
			    0 &&
		    errno != EEXIST)
			r = -errno;
	}
	if (r < 0) {
		/* On an ordinary host serve can be tried without. */
		if (resident.is_btrfs)
			log_notice("quota", "containers have no limit: %s",
				   strerror(-r));
		fd_close(&groups);
		return;
	}
	join_below(resident.volumes, QUOTA_VOLUMES);
	join_below(resident.containers, QUOTA_LAYERS);
	quota_refresh();
}

int quota_limit(int subvolume, uint32_t mib)
{
	__u64 own;
	int r = subvolume_group(subvolume, &own);

	if (r < 0)
		return r;
	return group_set_limit(own, mib ? (uint64_t)mib << 20 : UINT64_MAX);
}

int quota_use(int subvolume, struct quota_use *use)
{
	__u64 group;
	int r = groups < 0 ? -ENOTCONN : subvolume_group(subvolume, &group);

	return r < 0 ? r : group_use(group, use);
}

int quota_use_group(enum quota_group group, struct quota_use *use)
{
	return groups < 0 ? -ENOTCONN : group_use(number_of(group), use);
}

bool quota_is_full(const struct quota_use *use)
{
	return use->used_bytes >=
	       use->limit_bytes - use->limit_bytes / FULL_PART;
}
