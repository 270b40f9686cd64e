/* Mounting in two halves: the one that reads the disk and may hang, and the
 * one that makes it visible and cannot. A job that was killed in the first
 * half has therefore changed nothing. */
#ifndef INIT_MOUNTED_H
#define INIT_MOUNTED_H

struct mount_option {
	const char *key, *value; /* value NULL: a flag */
};

/* Mounts `device` ("/dev/vda2") at `target`. `options` end with a NULL key;
 * attributes are MOUNT_ATTR_*. 0 or -errno; what the kernel says about it is
 * in its log. */
int mount_device(const char *type, const char *device, const char *target,
		 const struct mount_option *options, unsigned attributes);

#endif
