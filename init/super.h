/* The superblock of btrfs, as far as a power cut can tear it. */
#ifndef INIT_SUPER_H
#define INIT_SUPER_H

enum super_recovered {
	SUPER_VALID,	 /* nothing was to be done */
	SUPER_COMPLETED, /* the new one: nothing is lost */
	SUPER_COPIED,	 /* the copy: what was fsynced since is lost */
};

/* The kernel mounts by the first superblock alone. If that one is not valid
 * and the copy at 64 MiB is, writes the first anew: what is left of it
 * completed from the copy, or, when that is not sure to be right, the copy.
 * enum super_recovered, -ENODATA when neither is valid, -errno. */
int super_recover(int fd);

#endif
