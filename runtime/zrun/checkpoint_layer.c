/* The writable layer of a container when it was written to a checkpoint: a
 * snapshot where /data is btrfs, else a copy. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/btrfs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "checkpoint.h"
#include "kernel.h"
#include "quota.h"
#include "resident.h"
#include "tree_copy.h"

static int open_at(int dir, const char *name)
{
	int fd = openat(dir, name,
			O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int copy(int from, int to_dir, const char *to)
{
	struct btrfs_ioctl_vol_args_v2 args = { .fd = from };

	if (resident.is_btrfs) {
		text_copy(args.name, sizeof(args.name), to);
		return kernel_result(
			ioctl(to_dir, BTRFS_IOC_SNAP_CREATE_V2, &args));
	}
	if (mkdirat(to_dir, to, 0700) < 0)
		return -errno;
	autoclose int made = open_at(to_dir, to);

	return made < 0 ? made : tree_copy(from, made);
}

int checkpoint_layer_keep(int dir, const char *id)
{
	autoclose int layer = open_at(resident.containers, id);

	if (layer < 0)
		return layer == -ENOENT ? 0 : layer;
	return copy(layer, dir, CHECKPOINT_LAYER);
}

int checkpoint_layer_make(int dir, const char *id)
{
	autoclose int layer = open_at(dir, CHECKPOINT_LAYER);

	if (layer < 0)
		return layer == -ENOENT ? 0 : layer;
	int r = copy(layer, resident.containers, id);
	autoclose int made = r < 0 ? r : open_at(resident.containers, id);

	if (made >= 0)
		quota_join(made, QUOTA_LAYERS);
	return made < 0 ? made : 0;
}

int checkpoint_layer_remove(int dir)
{
	struct btrfs_ioctl_vol_args args = { .name = CHECKPOINT_LAYER };

	if (resident.is_btrfs && ioctl(dir, BTRFS_IOC_SNAP_DESTROY, &args) == 0)
		return 0;
	return path_remove_tree(dir, CHECKPOINT_LAYER);
}
