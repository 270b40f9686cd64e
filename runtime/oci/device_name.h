/* The names of a device that stay when it is plugged in again, or elsewhere, as
 * udev makes them of what sysfs says:
 *
 *	/dev/serial/by-id/usb-FTDI_FT232R_USB_UART_A9GO-if00-port0
 *	/dev/serial/by-path/pci-0000:00:14.0-usb-0:2:1.0-port0
 *	/dev/disk/by-id/virtio-photos-part1
 *
 * for serial ports and disks. A node has no udev: nothing makes links of these
 * names, they are understood where a device is asked for. */
#ifndef OCI_DEVICE_NAME_H
#define OCI_DEVICE_NAME_H

#include <stdbool.h>
#include <sys/stat.h>

enum { DEVICE_NAME_SIZE = 256 };

struct device_names {
	char node[64]; /* below /dev */
	char by_id[DEVICE_NAME_SIZE], by_path[DEVICE_NAME_SIZE]; /* "": none */
};

static inline bool device_is_node(const struct stat *st)
{
	return S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode);
}

/* Calls each() for every serial port and disk in the sysfs beneath `sys` that
 * has such a name, until it returns false. 0 or -errno. */
int device_names_each(const char *sys,
		      bool (*each)(const struct device_names *, void *arg),
		      void *arg);

/* stat(2) of the device node that `path` leads to, as a file or as such a name.
 * What is plugged in says itself what it is called: of several with one name
 * it is the one numbered `now`, if that is among them. 0, -ENODEV for what is
 * no device, or -errno. */
int device_stat(const char *path, dev_t now, struct stat *st);

#endif
