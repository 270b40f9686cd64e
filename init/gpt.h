/* The GUID partition table (UEFI specification 2.10, chapter 5), and the one
 * change that init makes to it: a partition at the end that is added, marked
 * and grown.
 *
 * Rule of use: gpt_load() finds a valid copy; change it in memory; gpt_plan()
 * says what to write in which order, gpt_commit() does so. The order is the
 * point: at every moment, with the write in progress torn at any 512 bytes,
 * one of the two copies on the medium is valid. */
#ifndef INIT_GPT_H
#define INIT_GPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	GPT_ENTRIES_MAX = 128,
	GPT_ENTRY_SIZE = 128,
	GPT_ENTRIES_BYTES = GPT_ENTRIES_MAX * GPT_ENTRY_SIZE,
	GPT_SECTOR_MAX = 4096,
	GPT_NAME_MAX = 36,
	GPT_WRITES_MAX = 4,
};

/* One of the attribute bits left to the partition's type (48 to 63): the file
 * system was made to the end. */
#define GPT_MADE (UINT64_C(1) << 56)

struct gpt {
	uint32_t sector;    /* bytes */
	uint64_t n_sectors; /* of the medium, now */
	uint8_t disk_guid[16];
	uint64_t first_usable, last_usable; /* as the table says */
	uint32_t n_entries;
	bool primary_ok; /* what is on the medium */
	bool backup_ok;	 /* and at the medium's very end */
	uint8_t entries[GPT_ENTRIES_BYTES];
};

struct gpt_part {
	uint64_t first, last; /* sectors, both inclusive */
	uint64_t attributes;
};

struct gpt_write {
	uint64_t offset; /* bytes */
	const void *data;
	size_t size;
}; /* each is followed by fdatasync */

struct gpt_plan {
	int n;
	struct gpt_write write[GPT_WRITES_MAX];
	uint8_t primary[GPT_SECTOR_MAX], backup[GPT_SECTOR_MAX];
};

/* Reads the table of a medium of n_sectors. 0; -ENODATA when neither copy is
 * valid, -ENOTSUP for a valid one that we would not understand. */
int gpt_load(int fd, uint32_t sector, uint64_t n_sectors, struct gpt *gpt);

/* Index of the partition with that (ASCII) name, or -ENOENT. */
int gpt_find(const struct gpt *gpt, const char *name);
struct gpt_part gpt_part(const struct gpt *gpt, int index);

/* Adds a Linux partition in the free space behind the last one, up to the end
 * of the medium, aligned to 1 MiB. `guid` are 16 random bytes. The index, or
 * -ENOSPC when fewer than min_bytes would be left. */
int gpt_add(struct gpt *gpt, const char *name, const uint8_t guid[16],
	    uint64_t min_bytes);

/* Lets a partition that is the last one reach to the end of the medium.
 * True if that changed anything. */
bool gpt_grow(struct gpt *gpt, int index);

void gpt_attribute_set(struct gpt *gpt, int index, uint64_t bit);

/* True if the copies on the medium need to be written though nothing changed:
 * one is broken or the backup is not at the end. */
bool gpt_needs_repair(const struct gpt *gpt);

/* What to write; the plan points into itself and *gpt. */
void gpt_plan(const struct gpt *gpt, struct gpt_plan *plan);

/* Carries the plan out. 0 or -errno. */
int gpt_commit(int fd, const struct gpt *gpt);

#endif
