/* The kernel's first root, the initramfs, can never be left with pivot_root,
 * which is what containers do. So the image carries its root file system as
 * one file: mounted, moved over /, it is an ordinary mount, and its pages stay
 * in memory with no disk behind them.
 *
 * EROFS mounts a file directly when the file system that holds it can read
 * folios (ramfs can, tmpfs not); a loop device does it otherwise. */
#define _GNU_SOURCE
#include "early.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/loop.h>

#include "base/fd.h"
#include "base/log.h"

#define IMAGE "/root.erofs"
#define ROOT  "/root"

static int loop_attach(const char *image, char *device, size_t size)
{
	struct loop_config config = { 0 };
	autoclose int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	autoclose int file = open(image, O_RDONLY | O_CLOEXEC);
	autoclose int loop = -1;
	int number;

	if (control < 0 || file < 0)
		return -errno;
	number = ioctl(control, LOOP_CTL_GET_FREE);
	if (number < 0)
		return -errno;
	snprintf(device, size, "/dev/loop%d", number);
	loop = open(device, O_RDONLY | O_CLOEXEC);
	if (loop < 0)
		return -errno;
	config.fd = (uint32_t)file;
	config.info.lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR;
	if (ioctl(loop, LOOP_CONFIGURE, &config) < 0)
		return -errno;
	/* Autoclear must not see the last close before the mount. */
	if (mount(device, ROOT, "erofs", MS_RDONLY, NULL) < 0)
		return -errno;
	return 0;
}

static int image_mount(void)
{
	char device[32];
	int err;

	mkdir(ROOT, 0755);
	if (mount(IMAGE, ROOT, "erofs", MS_RDONLY, NULL) == 0)
		return 0;
	err = loop_attach(IMAGE, device, sizeof(device));
	if (err < 0)
		log_error(IMAGE, "cannot mount: %s", strerror(-err));
	return err;
}

static int root_switch(void)
{
	if (mount("/dev", ROOT "/dev", NULL, MS_MOVE, NULL) < 0 ||
	    mount("proc", ROOT "/proc", "proc",
		  MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0 ||
	    mount("sysfs", ROOT "/sys", "sysfs",
		  MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL) < 0)
		return -errno;
	/* The mount keeps the image, and we this program: no second exec. */
	unlink(IMAGE);
	unlink("/init");
	if (chdir(ROOT) < 0 || mount(".", "/", NULL, MS_MOVE, NULL) < 0 ||
	    chroot(".") < 0 || chdir("/") < 0)
		return -errno;
	return 0;
}

int early_boot(void)
{
	int err;

	if (access(IMAGE, F_OK) < 0)
		return 0;
	mkdir("/dev", 0755);
	if (mount("devtmpfs", "/dev", "devtmpfs", MS_NOSUID | MS_NOEXEC,
		  "mode=0755") < 0 &&
	    errno != EBUSY)
		return -errno;
	/* The kernel gave us no descriptors if /dev/console was missing. */
	if (fcntl(STDERR_FILENO, F_GETFD) < 0) {
		int fd = open("/dev/console", O_RDWR | O_NOCTTY);

		for (int i = fd; i >= 0 && i <= 2; i++)
			dup2(fd, i);
	}
	err = image_mount();
	return err < 0 ? err : root_switch();
}
