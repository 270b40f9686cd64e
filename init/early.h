/* From the initramfs to the root file system. */
#ifndef INIT_EARLY_H
#define INIT_EARLY_H

/* Mounts /root.erofs as a true root (one that pivot_root can leave), frees the
 * initramfs and executes /sbin/init there with --root=MS, MS being the time
 * since the kernel started. Returns only on failure: -errno. */
int early_boot(void);

#endif
