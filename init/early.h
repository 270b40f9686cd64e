/* From the initramfs to the root file system. */
#ifndef INIT_EARLY_H
#define INIT_EARLY_H

/* Mounts /root.erofs as a true root (one that pivot_root can leave), frees the
 * initramfs and goes on there. Without such a file the root is taken as it is
 * (a container, a test). 0 or -errno. */
int early_boot(void);

#endif
