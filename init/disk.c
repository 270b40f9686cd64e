#define _GNU_SOURCE
#include "disk.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/netlink.h>

#include "base/fd.h"
#include "base/loop.h"
#include "base/span.h"

#define BLOCK "/sys/class/block"

static bool uevent_get(const char *device, const char *key, char *value,
		       size_t size)
{
	char path[128], text[1024];
	struct span rest, line;
	size_t n_key = strlen(key);
	ssize_t n;
	autoclose int fd = -1;

	snprintf(path, sizeof(path), BLOCK "/%s/uevent", device);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : fd_read(fd, text, sizeof(text));
	if (n <= 0)
		return false;
	rest = (struct span){ text, (size_t)n };
	while (span_cut(&rest, '\n', &line)) {
		if (line.size <= n_key || line.data[n_key] != '=' ||
		    memcmp(line.data, key, n_key) != 0)
			continue;
		line.data += n_key + 1;
		line.size -= n_key + 1;
		return span_copy(value, size, line) == 0;
	}
	return false;
}

/* The link /sys/class/block/vda2 leads to .../vda/vda2. */
static void part_fill(struct disk_part *part, const char *name)
{
	char path[128], target[512], number[16];
	char *slash;
	ssize_t n;

	*part = (struct disk_part){ 0 };
	text_copy(part->name, sizeof(part->name), name);
	text_copy(part->disk, sizeof(part->disk), name);
	if (!uevent_get(name, "PARTN", number, sizeof(number)))
		return;
	part->number = atoi(number);
	snprintf(path, sizeof(path), BLOCK "/%s", name);
	n = readlink(path, target, sizeof(target) - 1);
	if (n <= 0)
		return;
	target[n] = '\0';
	slash = strrchr(target, '/');
	if (!slash)
		return;
	*slash = '\0';
	slash = strrchr(target, '/');
	if (slash)
		text_copy(part->disk, sizeof(part->disk), slash + 1);
}

/* Of several the first by name, whatever order the kernel lists them in. */
static int first_device(bool (*is_it)(const char *name, const char *want),
			const char *want, struct disk_part *part)
{
	char first[DISK_NAME_SIZE] = "";
	DIR *dir = opendir(BLOCK);
	struct dirent *d;

	while (dir && (d = readdir(dir))) {
		if (d->d_name[0] == '.' || !is_it(d->d_name, want))
			continue;
		if (!first[0] || strcmp(d->d_name, first) < 0)
			text_copy(first, sizeof(first), d->d_name);
	}
	if (dir)
		closedir(dir);
	if (!first[0])
		return -ENODEV;
	part_fill(part, first);
	return 0;
}

static bool has_part_name(const char *name, const char *want)
{
	char value[128];

	return uevent_get(name, "PARTNAME", value, sizeof(value)) &&
	       strcmp(value, want) == 0;
}

int disk_find(const char *part_name, struct disk_part *part)
{
	return first_device(has_part_name, part_name, part);
}

/* The label lies at 43 (FAT12, FAT16) or 71 (FAT32), 11 bytes, padded. */
static bool has_fat_label(const char *name, const char *want)
{
	char sector[512], label[12];
	autoclose int fd = -1;

	if (strncmp(name, "loop", 4) == 0 || strncmp(name, "ram", 3) == 0)
		return false;
	fd = disk_open(name, O_RDONLY);
	if (fd < 0 || fd_read(fd, sector, sizeof(sector)) != sizeof(sector) ||
	    (unsigned char)sector[510] != 0x55 ||
	    (unsigned char)sector[511] != 0xaa)
		return false;
	snprintf(label, sizeof(label), "%-11s", want);
	return (memcmp(sector + 54, "FAT", 3) == 0 &&
		memcmp(sector + 43, label, 11) == 0) ||
	       (memcmp(sector + 82, "FAT32", 5) == 0 &&
		memcmp(sector + 71, label, 11) == 0);
}

int disk_find_fat(const char *label, struct disk_part *part)
{
	return first_device(has_fat_label, label, part);
}

static bool has_entries(const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *d;
	bool any = false;

	while (dir && !any && (d = readdir(dir)))
		any = d->d_name[0] != '.';
	if (dir)
		closedir(dir);
	return any;
}

static bool may_still_come(void)
{
	return has_entries("/sys/class/mmc_host") ||
	       has_entries("/sys/bus/usb/devices") ||
	       has_entries("/sys/class/nvme");
}

static int uevent_open(void)
{
	struct sockaddr_nl address = { .nl_family = AF_NETLINK,
				       .nl_groups = 1 };
	autoclose int fd = socket(AF_NETLINK,
				  SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK,
				  NETLINK_KOBJECT_UEVENT);

	if (fd < 0 ||
	    bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		return -errno;
	return fd_take(&fd);
}

int disk_await(int (*find)(void *), void *arg, uint32_t time_out_ms)
{
	uint64_t deadline_ms = clock_ms() + time_out_ms;
	autoclose int events = uevent_open();
	struct pollfd p = { .fd = events, .events = POLLIN };
	char drop[2048];

	for (;;) {
		int err = find(arg);
		uint64_t now = clock_ms();

		if (err != -ENODEV || now >= deadline_ms || events < 0 ||
		    !may_still_come())
			return err;
		if (poll(&p, 1, (int)(deadline_ms - now)) <= 0)
			continue;
		while (recv(events, drop, sizeof(drop), 0) > 0)
			continue;
	}
}

void disk_part_name(const char *disk, int number, char name[DISK_NAME_SIZE])
{
	size_t n = strlen(disk);
	bool digit = n > 0 && isdigit((unsigned char)disk[n - 1]);

	snprintf(name, DISK_NAME_SIZE, "%.40s%s%d", disk, digit ? "p" : "",
		 number);
}

int disk_open(const char *name, int flags)
{
	char path[DISK_NAME_SIZE + 8];
	int fd;

	snprintf(path, sizeof(path), "/dev/%s", name);
	fd = open(path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}
