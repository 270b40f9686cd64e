#define _GNU_SOURCE
#include "mounted.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <linux/mount.h>

#include "base/fd.h"

static int option_set(int fs, unsigned command, const char *key,
		      const char *value)
{
	long n = syscall(SYS_fsconfig, fs, command, key, value, 0);

	return n < 0 ? -errno : 0;
}

static int options_set(int fs, const char *device,
		       const struct mount_option *options)
{
	int err = option_set(fs, FSCONFIG_SET_STRING, "source", device);

	for (; err == 0 && options->key; options++)
		err = option_set(fs,
				 options->value ? FSCONFIG_SET_STRING
						: FSCONFIG_SET_FLAG,
				 options->key, options->value);
	return err;
}

int mount_device(const char *type, const char *device, const char *target,
		 const struct mount_option *options, unsigned attributes)
{
	autoclose int fs = (int)syscall(SYS_fsopen, type, FSOPEN_CLOEXEC);
	autoclose int mnt = -1;
	int err;

	if (fs < 0)
		return -errno;
	err = options_set(fs, device, options);
	if (err == 0)
		err = option_set(fs, FSCONFIG_CMD_CREATE, NULL, NULL);
	if (err < 0)
		return err;
	mnt = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, attributes);
	if (mnt < 0)
		return -errno;
	if (syscall(SYS_move_mount, mnt, "", AT_FDCWD, target,
		    MOVE_MOUNT_F_EMPTY_PATH) < 0)
		return -errno;
	return 0;
}
