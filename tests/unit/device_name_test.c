/* Stable names of devices, out of a folder laid out as sysfs is. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "oci/device_name.h"
#include "tap.h"

#define USB  "/devices/pci0000:00/0000:00:14.0/usb1/1-2/1-2.1"
#define PORT USB "/1-2.1:1.0"
#define ATA  "/devices/pci0000:00/0000:00:1f.2/ata3"
#define SCSI "/host2/target2:0:0/2:0:0:0"
#define CARD "/devices/platform/soc/fe340000.mmc/mmc_host/mmc0/mmc0:aaaa"
#define VIRT "/devices/pci0000:00/0000:00:05.0/virtio2"
#define NVME "/devices/pci0000:00/0000:00:06.0/nvme/nvme0"

static char sys[] = "/tmp/device_name_XXXXXX";

static void put(const char *file, const char *text)
{
	char path[600];

	snprintf(path, sizeof(path), "%s%s", sys, file);
	*strrchr(path, '/') = '\0';
	path_mkdirs(AT_FDCWD, path, 0755);
	path[strlen(path)] = '/';
	autoclose int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);

	if (fd < 0 || fd_write(fd, text, strlen(text)) < 0)
		perror(path);
}

static void link_to(const char *target, const char *file)
{
	char path[600];

	snprintf(path, sizeof(path), "%s%s", sys, file);
	*strrchr(path, '/') = '\0';
	path_mkdirs(AT_FDCWD, path, 0755);
	path[strlen(path)] = '/';
	if (symlink(target, path) < 0)
		perror(path);
}

/* A directory of a device, with its subsystem. */
static void level(const char *directory, const char *subsystem)
{
	char file[500], target[80];

	snprintf(file, sizeof(file), "%s/subsystem", directory);
	snprintf(target, sizeof(target), "../bus/%s", subsystem);
	link_to(target, file);
}

static void attribute(const char *directory, const char *name,
		      const char *value)
{
	char file[500];

	snprintf(file, sizeof(file), "%s/%s", directory, name);
	put(file, value);
}

static void device(const char *class, const char *name, const char *directory)
{
	char file[500], target[500];

	snprintf(file, sizeof(file), "/class/%s/%s", class, name);
	snprintf(target, sizeof(target), "../..%s", directory);
	link_to(target, file);
	snprintf(target, sizeof(target), "MAJOR=1\nDEVNAME=%s\nX=y\n", name);
	attribute(directory, "uevent", target);
}

static void pci(const char *address)
{
	char directory[200];

	snprintf(directory, sizeof(directory), "/devices/pci0000:00/%s",
		 address);
	level(directory, "pci");
}

static void layout(void)
{
	pci("0000:00:14.0");
	level("/devices/pci0000:00/0000:00:14.0/usb1", "usb");
	level("/devices/pci0000:00/0000:00:14.0/usb1/1-2", "usb");
	level(USB, "usb");
	attribute(USB, "manufacturer", "  Silicon\tLabs \n");
	attribute(USB, "product", "CP2102/N  ../..\n");
	attribute(USB, "serial", "0001\n");
	attribute(USB, "idVendor", "10c4\n");
	level(PORT, "usb");
	attribute(PORT, "bInterfaceNumber", "00\n");
	level(PORT "/ttyUSB3", "usb-serial");
	attribute(PORT "/ttyUSB3", "port_number", "1\n");
	level(PORT "/ttyUSB3/tty/ttyUSB3", "tty");
	device("tty", "ttyUSB3", PORT "/ttyUSB3/tty/ttyUSB3");

	/* Its second interface, of a driver without ports; and a disk. */
	level(USB "/1-2.1:1.2", "usb");
	attribute(USB "/1-2.1:1.2", "bInterfaceNumber", "02\n");
	level(USB "/1-2.1:1.2/tty/ttyACM0", "tty");
	device("tty", "ttyACM0", USB "/1-2.1:1.2/tty/ttyACM0");
	level(USB "/1-2.1:1.3", "usb");
	attribute(USB "/1-2.1:1.3", "bInterfaceNumber", "03\n");
	level(USB "/1-2.1:1.3" SCSI, "scsi");
	level(USB "/1-2.1:1.3/host2", "scsi");
	level(USB "/1-2.1:1.3/host2/target2:0:0", "scsi");
	attribute(USB "/1-2.1:1.3" SCSI, "vendor", "Generic \n");
	attribute(USB "/1-2.1:1.3" SCSI, "model", "Flash Disk      \n");
	level(USB "/1-2.1:1.3" SCSI "/block/sdb", "block");
	device("block", "sdb", USB "/1-2.1:1.3" SCSI "/block/sdb");

	pci("0000:00:1f.2");
	attribute(ATA, "ata_port/ata3/port_no", "1\n");
	level(ATA "/host2", "scsi");
	level(ATA "/host2/target2:0:0", "scsi");
	level(ATA SCSI, "scsi");
	attribute(ATA SCSI, "vendor", "ATA     \n");
	attribute(ATA SCSI, "model", "SSD\n");
	attribute(ATA SCSI, "wwid", "naa.5000c5001\n");
	level(ATA SCSI "/block/sda", "block");
	device("block", "sda", ATA SCSI "/block/sda");
	level(ATA SCSI "/block/sda/sda2", "block");
	attribute(ATA SCSI "/block/sda/sda2", "partition", "2\n");
	device("block", "sda2", ATA SCSI "/block/sda/sda2");

	level("/devices/platform/soc/fe340000.mmc", "platform");
	level(CARD, "mmc");
	attribute(CARD, "name", "SC16G\n");
	attribute(CARD, "serial", "0x1234\n");
	level(CARD "/block/mmcblk0", "block");
	device("block", "mmcblk0", CARD "/block/mmcblk0");

	pci("0000:00:05.0");
	level(VIRT, "virtio");
	level(VIRT "/block/vda", "block");
	attribute(VIRT "/block/vda", "serial", "photos");
	device("block", "vda", VIRT "/block/vda");

	pci("0000:00:06.0");
	level(NVME, "nvme");
	attribute(NVME, "model", "Fast One   \n");
	attribute(NVME, "serial", "S1\n");
	level(NVME "/nvme0n1", "block");
	attribute(NVME "/nvme0n1", "nsid", "1\n");
	device("block", "nvme0n1", NVME "/nvme0n1");

	/* Nothing of these stays. */
	level("/devices/virtual/tty/tty0", "tty");
	device("tty", "tty0", "/devices/virtual/tty/tty0");
	level("/devices/platform/serial8250", "platform");
	level("/devices/platform/serial8250/tty/ttyS0", "tty");
	device("tty", "ttyS0", "/devices/platform/serial8250/tty/ttyS0");
	link_to("/nowhere", "/class/tty/ttyGONE");
}

static const struct device_names rows[] = {
	{ "ttyUSB3",
	  "/dev/serial/by-id/usb-Silicon_Labs_CP2102_N_.._.._0001-if00-port1",
	  "/dev/serial/by-path/pci-0000:00:14.0-usb-0:2.1:1.0-port1" },
	{ "ttyACM0",
	  "/dev/serial/by-id/usb-Silicon_Labs_CP2102_N_.._.._0001-if02",
	  "/dev/serial/by-path/pci-0000:00:14.0-usb-0:2.1:1.2" },
	{ "sdb", "/dev/disk/by-id/usb-Generic_Flash_Disk_0001-0:0",
	  "/dev/disk/by-path/pci-0000:00:14.0-usb-0:2.1:1.3-scsi-0:0:0:0" },
	{ "sda", "/dev/disk/by-id/wwn-0x5000c5001",
	  "/dev/disk/by-path/pci-0000:00:1f.2-ata-1.0" },
	{ "sda2", "/dev/disk/by-id/wwn-0x5000c5001-part2",
	  "/dev/disk/by-path/pci-0000:00:1f.2-ata-1.0-part2" },
	{ "mmcblk0", "/dev/disk/by-id/mmc-SC16G_0x1234",
	  "/dev/disk/by-path/platform-fe340000.mmc" },
	{ "vda", "/dev/disk/by-id/virtio-photos",
	  "/dev/disk/by-path/pci-0000:00:05.0" },
	{ "nvme0n1", "/dev/disk/by-id/nvme-Fast_One_S1",
	  "/dev/disk/by-path/pci-0000:00:06.0-nvme-1" },
};

enum { N_ROWS = sizeof(rows) / sizeof(*rows) };

static int seen[N_ROWS], others;

static bool check(const struct device_names *names, void *arg)
{
	int i = 0;

	(void)arg;
	while (i < N_ROWS && strcmp(names->node, rows[i].node) != 0)
		i++;
	if (i == N_ROWS) {
		printf("# %s %s %s\n", names->node, names->by_id,
		       names->by_path);
		others++;
		return true;
	}
	seen[i]++;
	ok(strcmp(names->by_id, rows[i].by_id) == 0, "%s is %s", rows[i].node,
	   names->by_id);
	ok(strcmp(names->by_path, rows[i].by_path) == 0, "%s is %s",
	   rows[i].node, names->by_path);
	return true;
}

static bool stop(const struct device_names *names, void *arg)
{
	(void)names;
	++*(int *)arg;
	return false;
}

static void stat_test(void)
{
	struct stat st;

	ok(device_stat("/dev/null", 0, &st) == 0 && S_ISCHR(st.st_mode),
	   "a file that is one");
	ok(device_stat("/", 0, &st) == -ENODEV, "a file that is none");
	ok(device_stat("/dev/serial/by-id/usb-nobody", 0, &st) == -ENOENT,
	   "a name that nothing has");
}

int main(void)
{
	int n = 0;

	if (!mkdtemp(sys))
		return 1;
	layout();
	device_names_each(sys, check, NULL);
	for (int i = 0; i < N_ROWS; i++)
		ok(seen[i] == 1, "%s is told once", rows[i].node);
	ok(others == 0, "nothing else is told");
	device_names_each(sys, stop, &n);
	ok(n == 1, "it ends when it is told to");
	device_names_each("/nowhere", check, NULL);
	stat_test();
	path_remove_tree(AT_FDCWD, sys);
	return tap_done();
}
