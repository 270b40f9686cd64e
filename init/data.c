/* /data lies on the partition ZOOID-DATA, btrfs, behind the partition ZOOID.
 *
 * First boot: the partition is added, the file system made, mounted, filled
 * with its directories, synced, and only then marked as made, by an attribute
 * bit in the partition table (gpt.c). A cut at any moment before leaves a
 * partition without the mark: nothing of it was ever used, so the next boot
 * makes the file system anew. With the mark it is never made anew, whatever a
 * mount says: what is there is somebody's data.
 *
 * The kernel mounts btrfs by its first superblock alone, which is rewritten at
 * every commit; when a cut tore it, the copy at 64 MiB repairs it (super.c).
 *
 * Every step that touches the disk is a child with a time-out (job.c). */
#define _GNU_SOURCE
#include "data.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/blkpg.h>
#include <linux/btrfs.h>
#include <linux/fs.h>
#include <linux/mount.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/path.h"
#include "base/service.h"
#include "base/span.h"
#include "boot.h"
#include "disk.h"
#include "gpt.h"
#include "job.h"
#include "keep.h"
#include "mounted.h"
#include "super.h"

#define PART_ZOOID "ZOOID"
#define PART_DATA  "ZOOID-DATA"
#define MKFS	   "/sbin/mkfs.btrfs"
#define MIB	   (UINT64_C(1) << 20)

/* The second superblock lies at 64 MiB and must fit. */
#define DATA_MIN (72 * MIB)
/* Below, two copies of the metadata leave too little. */
#define DATA_DUP_MIN (256 * MIB)

struct data {
	struct disk_part zooid, part;
	uint64_t size; /* bytes */
	bool made, mounted, filled;
	struct gpt gpt;
};

struct data_dir {
	const char *name;
	uid_t uid;
	mode_t mode;
};

static const struct data_dir dirs[] = {
	{ ".zooid", 0, 0700 }, /* init's own: clock, seed */
	{ "images", 0, 0755 },
	{ "layers", 0, 0700 },
	{ "containers", 0, 0700 },
	{ "volumes", 0, 0711 },
	{ "checkpoints", 0, 0700 },
	{ "logs", UID_ZLOG, 0750 },
	{ "identity", UID_ZAGENT, 0700 },
	{ "desired", UID_ZNODE, 0700 },
	{ "pull", UID_ZPULL, 0700 },
};

static int disk_find_either(void *arg)
{
	struct data *d = arg;

	if (disk_find(PART_DATA, &d->part) == 0)
		return 0;
	return disk_find(PART_ZOOID, &d->zooid);
}

static int disk_measure(int fd, uint32_t *sector, uint64_t *n_sectors)
{
	uint64_t bytes;
	int size;

	if (ioctl(fd, BLKSSZGET, &size) < 0 ||
	    ioctl(fd, BLKGETSIZE64, &bytes) < 0)
		return -errno;
	*sector = (uint32_t)size;
	*n_sectors = bytes / (uint64_t)size;
	return 0;
}

/* The kernel read the table before we changed it, and reads it again only when
 * nothing of the disk is in use; so it is told of the one partition. */
static int kernel_tell(int fd, const struct gpt *gpt, int index, int op)
{
	struct gpt_part part = gpt_part(gpt, index);
	struct blkpg_partition p = {
		.start = (long long)(part.first * gpt->sector),
		.length =
			(long long)((part.last - part.first + 1) * gpt->sector),
		.pno = index + 1,
	};
	struct blkpg_ioctl_arg arg = {
		.op = op,
		.datalen = sizeof(p),
		.data = &p,
	};

	return ioctl(fd, BLKPG, &arg) < 0 ? -errno : 0;
}

static int part_add(int fd, struct data *d)
{
	uint8_t guid[16];
	int index, err;

	getrandom(guid, sizeof(guid), GRND_INSECURE);
	index = gpt_add(&d->gpt, PART_DATA, guid, DATA_MIN);
	if (index < 0) {
		log_error(d->zooid.disk,
			  "less than %llu MB free behind " PART_ZOOID
			  ": /data needs a larger medium",
			  (unsigned long long)(DATA_MIN / MIB));
		return index;
	}
	err = gpt_commit(fd, &d->gpt);
	if (err == 0)
		err = kernel_tell(fd, &d->gpt, index, BLKPG_ADD_PARTITION);
	return err < 0 ? err : index;
}

/* Both copies good and the partition as large as it can be. */
static int part_check(int fd, struct data *d, int index)
{
	bool grown = gpt_grow(&d->gpt, index);
	int err;

	if (!grown && !gpt_needs_repair(&d->gpt))
		return 0;
	log_notice(d->part.disk, grown ? PART_DATA " grows to the end"
				       : "partition table repaired");
	err = gpt_commit(fd, &d->gpt);
	if (err == 0 && grown)
		err = kernel_tell(fd, &d->gpt, index, BLKPG_RESIZE_PARTITION);
	return err;
}

static int part_prepare(struct data *d, const char *disk)
{
	autoclose int fd = disk_open(disk, O_RDWR);
	struct gpt_part part;
	uint64_t n_sectors = 0;
	uint32_t sector = 0;
	int index, err;

	err = fd < 0 ? fd : disk_measure(fd, &sector, &n_sectors);
	if (err == 0)
		err = gpt_load(fd, sector, n_sectors, &d->gpt);
	if (err < 0) {
		log_error(disk, "no partition table that can be used: %s",
			  strerror(-err));
		return err;
	}
	text_copy(d->part.disk, sizeof(d->part.disk), disk);
	index = gpt_find(&d->gpt, PART_DATA);
	if (index < 0) {
		index = part_add(fd, d);
		if (index < 0)
			return index;
	} else {
		err = part_check(fd, d, index);
		if (err < 0)
			log_warning(disk, "partition table not repaired: %s",
				    strerror(-err));
	}
	part = gpt_part(&d->gpt, index);
	d->part.number = index + 1;
	disk_part_name(disk, d->part.number, d->part.name);
	d->made = part.attributes & GPT_MADE;
	d->size = (part.last - part.first + 1) * sector;
	return 0;
}

static int step_partition(void *arg)
{
	struct data *d = arg;

	int err = disk_await(disk_find_either, d, 5000);

	if (err < 0)
		return err;
	return part_prepare(d, d->part.disk[0] ? d->part.disk : d->zooid.disk);
}

static int step_mark(void *arg)
{
	struct data *d = arg;
	autoclose int fd = disk_open(d->part.disk, O_RDWR);

	if (fd < 0)
		return fd;
	/* Afresh: what was written since decides which copy goes first. */
	int err = gpt_load(fd, d->gpt.sector, d->gpt.n_sectors, &d->gpt);

	if (err < 0)
		return err;
	gpt_attribute_set(&d->gpt, d->part.number - 1, GPT_MADE);
	return gpt_commit(fd, &d->gpt);
}

static void device_path(const struct data *d, char *path, size_t size)
{
	snprintf(path, size, "/dev/%s", d->part.name);
}

static int make(struct data *d)
{
	char device[80];
	const char *dup = d->size < DATA_DUP_MIN ? "single" : "dup";
	/* -K: to discard a whole memory card first can take minutes. -n: the
	 * kernel keeps a node of the tree of each subvolume, and each container
	 * has one. */
	const char *argv[] = { MKFS, "-q", "-f", "-K", "-L",   PART_DATA,
			       "-n", "4k", "-m", dup,  device, NULL };

	device_path(d, device, sizeof(device));
	log_notice(device, "making the file system of /data");
	return job_exec(argv, 300000);
}

static int step_mount(void *arg)
{
	static const struct mount_option options[] = {
		{ "compress", "zstd:1" },
		{ NULL, NULL },
	};
	char device[80];

	device_path(arg, device, sizeof(device));
	return mount_device("btrfs", device, path_data(), options,
			    MOUNT_ATTR_NOATIME | MOUNT_ATTR_NOSUID |
				    MOUNT_ATTR_NODEV);
}

static int step_recover(void *arg)
{
	const struct data *d = arg;
	autoclose int fd = disk_open(d->part.name, O_RDWR);
	int n = fd < 0 ? fd : super_recover(fd);

	if (n == SUPER_COMPLETED)
		log_warning(d->part.name, "first superblock was torn; "
					  "completed from its copy");
	else if (n == SUPER_COPIED)
		log_warning(d->part.name,
			    "first superblock was torn; its copy is in its "
			    "place, and what was synced since that is lost");
	return n < 0 ? n : 0;
}

/* Changes nothing that is as it should be: each change is a commit, and wears
 * the flash out a little. */
static int dir_make(int root, const struct data_dir *dir)
{
	struct stat st;
	autoclose int fd = -1;

	if (mkdirat(root, dir->name, dir->mode) < 0 && errno != EEXIST)
		return -errno;
	fd = openat(root, dir->name,
		    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if ((st.st_uid != dir->uid || st.st_gid != dir->uid) &&
	    fchown(fd, dir->uid, dir->uid) < 0)
		return -errno;
	if ((st.st_mode & 07777) != dir->mode && fchmod(fd, dir->mode) < 0)
		return -errno;
	return 0;
}

static int dirs_make(void)
{
	autoclose int root = open(path_data(),
				  O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int err = root < 0 ? -errno : 0;

	for (size_t i = 0; i < sizeof(dirs) / sizeof(*dirs) && err == 0; i++)
		err = dir_make(root, &dirs[i]);
	return err;
}

static void quotas_enable(int root)
{
	struct btrfs_ioctl_quota_ctl_args quota = {
		.cmd = 4, /* BTRFS_QUOTA_CTL_ENABLE_SIMPLE_QUOTA, Linux 6.7 */
	};

	if (ioctl(root, BTRFS_IOC_QUOTA_CTL, &quota) < 0)
		log_notice(path_data(), "no quotas: %s", strerror(errno));
}

static void grow(int root, const struct data *d)
{
	struct btrfs_ioctl_dev_info_args info = { .devid = 1 };
	struct btrfs_ioctl_vol_args resize = { .name = "max" };

	if (ioctl(root, BTRFS_IOC_DEV_INFO, &info) == 0 &&
	    info.total_bytes >= d->size)
		return;
	if (ioctl(root, BTRFS_IOC_RESIZE, &resize) < 0)
		log_warning(path_data(), "not grown to its partition: %s",
			    strerror(errno));
}

/* Neither quotas nor the size are worth a node without storage. */
static int step_fill(void *arg)
{
	const struct data *d = arg;
	autoclose int root = open(path_data(),
				  O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int err;

	if (root < 0)
		return -errno;
	grow(root, d);
	if (!d->made)
		quotas_enable(root);
	err = dirs_make();
	if (err == 0 && !d->made && syncfs(root) < 0)
		err = -errno;
	if (err == 0)
		keep_clock_raise();
	return err;
}

/* The usual boot, all in one child: each more costs 5 ms. */
static int step_usual(void *arg)
{
	struct data *d = arg;
	int err = step_partition(d);

	if (err < 0 || !d->made || step_mount(d) < 0)
		return err;
	d->mounted = true;
	d->filled = step_fill(d) == 0;
	return 0;
}

static int mount_or_recover(struct data *d)
{
	int err = job_step("mount of /data", step_mount, d, 60000);

	if (err == 0 || err == -ETIMEDOUT)
		return err;
	job_step("superblock of /data", step_recover, d, 30000);
	err = job_step("mount of /data", step_mount, d, 60000);
	if (err < 0)
		log_error(d->part.name,
			  "does not mount (%s) and is left as it "
			  "is: see `btrfs check`, or delete the partition to "
			  "start anew",
			  strerror(-err));
	return err;
}

/* 0 with /data mounted and filled; or -errno and nothing mounted. */
static int on_medium(struct data *d)
{
	bool made = d->made;
	int err = made ? 0 : make(d);

	if (err == 0 && !d->mounted)
		err = mount_or_recover(d);
	if (err < 0)
		return err;
	if (!d->filled)
		err = job_step("directories of /data", step_fill, d, 60000);
	if (err == 0 && !made)
		err = job_step("mark of /data", step_mark, d, 30000);
	if (err < 0)
		umount2(path_data(), MNT_DETACH);
	return err;
}

static void state_keep(const char *text)
{
	int dir = open(path_run(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir >= 0)
		file_replace(dir, "data", 0644, text, strlen(text));
	fd_close(&dir);
}

static const char *failure(int err)
{
	switch (err) {
	case -ENODEV:
		return "no medium with a partition " PART_ZOOID;
	case -ENOSPC:
		return "the medium is too small";
	case -ETIMEDOUT:
		return "the medium does not answer";
	case -ECHILD:
		return "its file system could not be made";
	default:
		return strerror(-err);
	}
}

void data_in_memory(void)
{
	boot_data_in_memory();
	dirs_make();
}

int data_main(int argc, char **argv)
{
	struct data *d = job_memory(sizeof(*d));
	uint64_t since_ms = clock_ms();
	char text[160];
	int err = d ? job_step("medium of /data", step_usual, d, 100000)
		    : -ENOMEM;

	(void)argc;
	(void)argv;
	if (err == 0)
		err = on_medium(d);
	else if (d && d->mounted)
		umount2(path_data(), MNT_DETACH);
	if (err == 0) {
		snprintf(text, sizeof(text), "btrfs on %s, %llu MB",
			 d->part.name, (unsigned long long)(d->size / MIB));
		log_info(path_data(), "%s, in %llu ms", text,
			 (unsigned long long)(clock_ms() - since_ms));
	} else {
		snprintf(text, sizeof(text), "in memory only: %s",
			 failure(err));
		log_warning(path_data(), "%s; nothing outlives this boot",
			    text);
		data_in_memory();
	}
	state_keep(text);
	return EXIT_SUCCESS;
}
