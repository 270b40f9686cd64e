/* The superblock of btrfs, as far as a power cut can tear it. */
#ifndef INIT_SUPER_H
#define INIT_SUPER_H

/* The kernel mounts by the first superblock alone. If that one is not valid
 * and the copy at 64 MiB is, writes the first anew from the copy. 1 when it
 * did, 0 when the first is valid, -ENODATA when neither is, -errno. */
int super_recover(int fd);

#endif
