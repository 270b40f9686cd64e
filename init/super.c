/* btrfs rewrites its superblocks in place at every commit, and only after all
 * that they point to is on the medium. 4 KB are not one sector: a cut may leave
 * the first a mixture of old and new, which its checksum shows. The copy then
 * is whole, old or new, since the two are far apart; and nothing of an older
 * tree is overwritten before a newer superblock is there. So the copy, with
 * its address and checksum changed to those of the first, is a superblock that
 * the kernel could have written.
 *
 * `btrfs rescue super-recover` does the same, but refuses file systems with
 * features that are younger than it. Format: Linux,
 * include/uapi/linux/btrfs_tree.h, struct btrfs_super_block. */
#define _GNU_SOURCE
#include "super.h"

#include <endian.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

enum {
	SUPER_SIZE = 4096,
	S_CSUM = 0,
	S_BODY = 32, /* what the checksum covers, to the end */
	S_BYTENR = 48,
	S_MAGIC = 64,
	S_CSUM_TYPE = 196, /* 0: crc32c */
};

static const uint64_t first_at = UINT64_C(64) << 10;
static const uint64_t copy_at = UINT64_C(64) << 20;

static uint32_t crc32c(const uint8_t *p, size_t size)
{
	uint32_t crc = ~0u;

	while (size--) {
		crc ^= *p++;
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
	}
	return ~crc;
}

static uint32_t checksum(const uint8_t *super)
{
	return htole32(crc32c(super + S_BODY, SUPER_SIZE - S_BODY));
}

static bool super_valid(const uint8_t *super, uint64_t at)
{
	uint32_t sum = checksum(super);
	uint64_t bytenr;

	memcpy(&bytenr, super + S_BYTENR, sizeof(bytenr));
	return memcmp(super + S_MAGIC, "_BHRfS_M", 8) == 0 &&
	       le64toh(bytenr) == at && super[S_CSUM_TYPE] == 0 &&
	       super[S_CSUM_TYPE + 1] == 0 &&
	       memcmp(super + S_CSUM, &sum, sizeof(sum)) == 0;
}

static int super_read(int fd, uint8_t *super, uint64_t at)
{
	ssize_t n = pread(fd, super, SUPER_SIZE, (off_t)at);

	if (n < 0)
		return -errno;
	return n == SUPER_SIZE && super_valid(super, at) ? 0 : -ENODATA;
}

int super_recover(int fd)
{
	uint8_t super[SUPER_SIZE];
	uint64_t bytenr = htole64(first_at);
	uint32_t sum;
	int err = super_read(fd, super, first_at);

	if (err != -ENODATA)
		return err;
	err = super_read(fd, super, copy_at);
	if (err < 0)
		return err;
	memcpy(super + S_BYTENR, &bytenr, sizeof(bytenr));
	sum = checksum(super);
	memcpy(super + S_CSUM, &sum, sizeof(sum));
	if (pwrite(fd, super, SUPER_SIZE, (off_t)first_at) != SUPER_SIZE)
		return errno ? -errno : -EIO;
	return fdatasync(fd) < 0 ? -errno : 1;
}
