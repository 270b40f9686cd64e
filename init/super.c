/* btrfs rewrites its superblocks in place at every commit, and only after all
 * that they point to is on the medium. 4 KB are not one sector: a cut may leave
 * the first a mixture of old and new, which its checksum shows. The copy then
 * is whole, old or new, since the two are far apart; and nothing of an older
 * tree is overwritten before a newer superblock is there. So the copy, with
 * its address and checksum changed to those of the first, is a superblock that
 * the kernel could have written.
 *
 * But the copy is written by commits of the whole file system alone. An fsync
 * between two of them writes a log of its own and names it in the first
 * superblock only (log_root); to go back to the copy loses what was fsynced
 * since. The fields that a commit or an fsync changes all lie in the first
 * sector, which is not torn, so it is one of two:
 *
 *   of the copy's generation: the cut met the commit after, and the rest was
 *	the copy's. Whether it is, the checksum in the first sector says.
 *   of the next generation: the commit's own, which has all that the log had.
 *	Behind it changes with each commit the list of the last four roots,
 *	for recovery by hand, which may be older; and two generations, which
 *	are known. System chunks change rarely, and the chunk tree says
 *	whether they did. What the sector points to must be there, or it is
 *	not used.
 *
 * `btrfs rescue super-recover` puts the copy back too, but refuses file systems
 * with features that are younger than it. */
#define _GNU_SOURCE
#include "super.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "super_trees.h"

enum { SECTOR = 512 };

struct field {
	uint16_t at, size;
};

/* What a commit or an fsync changes in the first sector. */
static const struct field changing[] = {
	{ S_CSUM, 32 },
	{ S_GENERATION, 8 },
	{ S_ROOT, 8 },
	{ S_CHUNK_ROOT, 8 },
	{ S_LOG_ROOT, 8 },
	{ S_BYTES_USED, 8 },
	{ S_CHUNK_GENERATION, 8 },
	{ S_ROOT_LEVEL, 1 },
	{ S_CHUNK_LEVEL, 1 },
	{ S_LOG_LEVEL, 1 },
	{ S_DEVICE_USED, 8 },
};

static const uint64_t first_at = UINT64_C(64) << 10;
static const uint64_t copy_at = UINT64_C(64) << 20;

static bool sum_right(const uint8_t *super)
{
	uint32_t sum = super_sum(super, SUPER_SIZE);

	return memcmp(super + S_CSUM, &sum, sizeof(sum)) == 0;
}

static bool super_valid(const uint8_t *super, uint64_t at)
{
	return memcmp(super + S_MAGIC, "_BHRfS_M", 8) == 0 &&
	       get_le64(super + S_BYTENR) == at && super[S_CSUM_TYPE] == 0 &&
	       super[S_CSUM_TYPE + 1] == 0 && sum_right(super);
}

static int super_read(int fd, uint8_t *super, uint64_t at)
{
	ssize_t n = pread(fd, super, SUPER_SIZE, (off_t)at);

	if (n < 0)
		return -errno;
	return n == SUPER_SIZE && super_valid(super, at) ? 0 : -ENODATA;
}

static int super_write(int fd, uint8_t *super, uint64_t at)
{
	uint64_t bytenr = htole64(at);
	uint32_t sum;

	memcpy(super + S_BYTENR, &bytenr, sizeof(bytenr));
	sum = super_sum(super, SUPER_SIZE);
	memset(super + S_CSUM, 0, S_BODY - S_CSUM);
	memcpy(super + S_CSUM, &sum, sizeof(sum));
	if (pwrite(fd, super, SUPER_SIZE, (off_t)at) != SUPER_SIZE)
		return errno ? -errno : -EIO;
	return fdatasync(fd) < 0 ? -errno : 0;
}

/* A generation behind the first sector that was the copy's own goes with it. */
static void generation_follow(uint8_t *super, const uint8_t *copy, int at)
{
	if (memcmp(copy + at, copy + S_GENERATION, 8) == 0)
		memcpy(super + at, super + S_GENERATION, 8);
}

/* Makes the torn one whole, the copy behind its first sector. False when the
 * result is not sure to be what the kernel wrote, or as good. */
static bool super_complete(int fd, uint8_t *torn, const uint8_t *copy)
{
	uint64_t generation = get_le64(copy + S_GENERATION);
	uint64_t bytenr = htole64(first_at);
	uint8_t super[SUPER_SIZE];

	memcpy(super, copy, SUPER_SIZE);
	memcpy(super + S_BYTENR, &bytenr, sizeof(bytenr));
	for (size_t i = 0; i < sizeof(changing) / sizeof(*changing); i++)
		memcpy(super + changing[i].at, torn + changing[i].at,
		       changing[i].size);
	/* It differs by more than that: another file system, or no sector of
	 * a superblock, or of a commit that did more than usual. */
	if (memcmp(super, torn, SECTOR) != 0)
		return false;
	memcpy(torn, super, SUPER_SIZE);
	if (sum_right(torn))
		return true;
	if (get_le64(torn + S_GENERATION) != generation + 1 ||
	    get_le64(torn + S_LOG_ROOT) != 0 || torn[S_LOG_LEVEL] != 0)
		return false;
	generation_follow(torn, copy, S_CACHE_GENERATION);
	generation_follow(torn, copy, S_UUID_GENERATION);
	return super_trees_good(fd, torn);
}

int super_recover(int fd)
{
	uint8_t super[SUPER_SIZE], copy[SUPER_SIZE];
	int err = super_read(fd, super, first_at);

	if (err != -ENODATA)
		return err;
	err = super_read(fd, copy, copy_at);
	if (err < 0)
		return err;
	if (!super_complete(fd, super, copy)) {
		err = super_write(fd, copy, first_at);
		return err < 0 ? err : SUPER_COPIED;
	}
	err = super_write(fd, super, first_at);
	/* Else the copy is two generations behind when the next commit is
	 * torn, and trees so old are overwritten. */
	if (err == 0)
		err = super_write(fd, super, copy_at);
	return err < 0 ? err : SUPER_COMPLETED;
}
