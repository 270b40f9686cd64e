/* Block devices as the kernel shows them in /sys/class/block. */
#ifndef INIT_DISK_H
#define INIT_DISK_H

#include <stdint.h>

enum { DISK_NAME_SIZE = 64 };

struct disk_part {
	char name[DISK_NAME_SIZE]; /* "vda2"; the disk's own without a table */
	char disk[DISK_NAME_SIZE]; /* "vda" */
	int number;		   /* 0: the whole disk */
};

/* The partition with that GPT name. 0 or -ENODEV. */
int disk_find(const char *part_name, struct disk_part *part);

/* The FAT file system with that label. Reads one sector of every device. */
int disk_find_fat(const char *label, struct disk_part *part);

/* Calls find(arg) until it returns something other than -ENODEV, each time
 * that a block device appears, for as long as one may still: disks behind
 * USB, MMC and NVMe are found after init has started. */
int disk_await(int (*find)(void *), void *arg, uint32_t time_out_ms);

/* Name of partition `number` of `disk`: "vda2", "mmcblk0p2". */
void disk_part_name(const char *disk, int number, char name[DISK_NAME_SIZE]);

/* Opens /dev/NAME. A descriptor or -errno. */
int disk_open(const char *name, int flags);

#endif
