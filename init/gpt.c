/* A table is two copies: header and entries at the start, entries and header
 * at the end. A copy counts only when both its checksums are right, so a copy
 * that is being written is void until its header, one sector, is there.
 *
 *	backup entries | backup header | primary entries | primary header
 *
 * Both copies good, the backup is written first: meanwhile the primary (old)
 * is valid; then the backup (new) is. When only the backup is good, writing it
 * first would leave nothing: then the primary is repaired first, with what the
 * backup says. Whoever reads takes the primary if it is valid; a cut between
 * the two is therefore "not yet done", and the next boot does it again.
 *
 * Entries and header of one copy are separate writes with a flush between, for
 * a header that reached the medium before its entries would be valid only by
 * luck; with it, never. */
#define _GNU_SOURCE
#include "gpt.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

/* Offsets into the header. */
enum {
	H_SIGNATURE = 0,
	H_REVISION = 8,
	H_SIZE = 12,
	H_CRC = 16,
	H_MY_LBA = 24,
	H_OTHER_LBA = 32,
	H_FIRST_USABLE = 40,
	H_LAST_USABLE = 48,
	H_DISK_GUID = 56,
	H_ENTRIES_LBA = 72,
	H_N_ENTRIES = 80,
	H_ENTRY_SIZE = 84,
	H_ENTRIES_CRC = 88,
	HEADER_SIZE = 92,
};

/* And into an entry. */
enum {
	E_TYPE = 0,
	E_GUID = 16,
	E_FIRST = 32,
	E_LAST = 40,
	E_ATTRIBUTES = 48,
	E_NAME = 56,
};

enum { ALIGN_BYTES = 1 << 20, REVISION = 0x10000 };

static const char signature[8] = { 'E', 'F', 'I', ' ', 'P', 'A', 'R', 'T' };

/* 0FC63DAF-8483-4772-8E79-3D69D8477DE4, "Linux filesystem data" */
static const uint8_t type_linux[16] = {
	0xaf, 0x3d, 0xc6, 0x0f, 0x83, 0x84, 0x72, 0x47,
	0x8e, 0x79, 0x3d, 0x69, 0xd8, 0x47, 0x7d, 0xe4,
};

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return le32toh(v);
}

static uint64_t get64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return le64toh(v);
}

static void put32(uint8_t *p, uint32_t v)
{
	v = htole32(v);
	memcpy(p, &v, sizeof(v));
}

static void put64(uint8_t *p, uint64_t v)
{
	v = htole64(v);
	memcpy(p, &v, sizeof(v));
}

/* By half bytes: 32 KB of entries are summed at each boot. */
static uint32_t crc32(const void *data, size_t size)
{
	static const uint32_t table[16] = {
		0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac,
		0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
		0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c,
		0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
	};
	const uint8_t *p = data;
	uint32_t crc = ~0u;

	while (size--) {
		crc ^= *p++;
		crc = crc >> 4 ^ table[crc & 15];
		crc = crc >> 4 ^ table[crc & 15];
	}
	return ~crc;
}

static uint64_t entries_sectors(const struct gpt *gpt)
{
	return GPT_ENTRIES_BYTES / gpt->sector;
}

static int read_at(int fd, void *buf, size_t size, uint64_t offset)
{
	ssize_t n = pread(fd, buf, size, (off_t)offset);

	if (n < 0)
		return -errno;
	return (size_t)n == size ? 0 : -EIO;
}

static bool header_valid(const struct gpt *gpt, const uint8_t *h, uint64_t lba)
{
	uint8_t copy[GPT_SECTOR_MAX];
	uint32_t size = get32(h + H_SIZE);

	if (memcmp(h, signature, sizeof(signature)) != 0 ||
	    size < HEADER_SIZE || size > gpt->sector ||
	    get64(h + H_MY_LBA) != lba)
		return false;
	memcpy(copy, h, size);
	put32(copy + H_CRC, 0);
	return crc32(copy, size) == get32(h + H_CRC);
}

/* Whoever wrote the medium chose these numbers; they must not lead a partition
 * of ours out of it or into the tables. */
static bool header_sane(const struct gpt *gpt, const uint8_t *h)
{
	uint64_t first = get64(h + H_FIRST_USABLE);
	uint64_t last = get64(h + H_LAST_USABLE);
	uint64_t entries = get64(h + H_ENTRIES_LBA);

	return first >= 2 && first <= last && last < gpt->n_sectors &&
	       entries >= 2 && entries < gpt->n_sectors;
}

static bool is_used(const struct gpt *gpt, int index);

/* An entry that ends outside, or before it starts, makes all arithmetic on the
 * free space worthless; the kernel ignores it, we take no risk. */
static bool entries_sane(const struct gpt *gpt)
{
	for (int i = 0; i < (int)gpt->n_entries; i++) {
		struct gpt_part part = gpt_part(gpt, i);

		if (is_used(gpt, i) &&
		    (part.first < gpt->first_usable || part.last < part.first ||
		     part.last >= gpt->n_sectors))
			return false;
	}
	return true;
}

static int copy_load(int fd, uint64_t lba, struct gpt *gpt)
{
	uint8_t h[GPT_SECTOR_MAX];
	uint32_t n;
	int err = read_at(fd, h, gpt->sector, lba * gpt->sector);

	if (err < 0)
		return err;
	if (!header_valid(gpt, h, lba) || !header_sane(gpt, h))
		return -ENODATA;
	n = get32(h + H_N_ENTRIES);
	if (n == 0 || n > GPT_ENTRIES_MAX ||
	    get32(h + H_ENTRY_SIZE) != GPT_ENTRY_SIZE)
		return -ENOTSUP;
	memset(gpt->entries, 0, sizeof(gpt->entries));
	err = read_at(fd, gpt->entries, n * GPT_ENTRY_SIZE,
		      get64(h + H_ENTRIES_LBA) * gpt->sector);
	if (err < 0)
		return err;
	if (crc32(gpt->entries, n * GPT_ENTRY_SIZE) != get32(h + H_ENTRIES_CRC))
		return -ENODATA;
	gpt->n_entries = n;
	gpt->first_usable = get64(h + H_FIRST_USABLE);
	gpt->last_usable = get64(h + H_LAST_USABLE);
	memcpy(gpt->disk_guid, h + H_DISK_GUID, 16);
	return entries_sane(gpt) ? 0 : -ENOTSUP;
}

int gpt_load(int fd, uint32_t sector, uint64_t n_sectors, struct gpt *gpt)
{
	uint64_t end;
	int primary, backup;

	if (sector < 512 || sector > GPT_SECTOR_MAX || sector & (sector - 1) ||
	    n_sectors < 128)
		return -ENOTSUP;
	*gpt = (struct gpt){ .sector = sector, .n_sectors = n_sectors };
	end = n_sectors - 1;
	backup = copy_load(fd, end, gpt);
	gpt->backup_ok = backup == 0;
	primary = copy_load(fd, 1, gpt);
	gpt->primary_ok = primary == 0;
	if (gpt->primary_ok)
		return 0;
	/* What the failed attempt may have overwritten. */
	if (gpt->backup_ok)
		return copy_load(fd, end, gpt);
	return primary == -ENOTSUP || backup == -ENOTSUP ? -ENOTSUP : -ENODATA;
}

static const uint8_t *entry(const struct gpt *gpt, int index)
{
	return gpt->entries + (size_t)index * GPT_ENTRY_SIZE;
}

static uint8_t *entry_to_change(struct gpt *gpt, int index)
{
	return gpt->entries + (size_t)index * GPT_ENTRY_SIZE;
}

static bool is_used(const struct gpt *gpt, int index)
{
	static const uint8_t none[16];

	return memcmp(entry(gpt, index) + E_TYPE, none, 16) != 0;
}

static bool name_is(const uint8_t *e, const char *name)
{
	size_t n = strlen(name);

	for (size_t i = 0; i <= n && i < GPT_NAME_MAX; i++)
		if (e[E_NAME + 2 * i] != (uint8_t)name[i] ||
		    e[E_NAME + 2 * i + 1] != 0)
			return false;
	return true;
}

int gpt_find(const struct gpt *gpt, const char *name)
{
	for (int i = 0; i < (int)gpt->n_entries; i++)
		if (is_used(gpt, i) && name_is(entry(gpt, i), name))
			return i;
	return -ENOENT;
}

struct gpt_part gpt_part(const struct gpt *gpt, int index)
{
	const uint8_t *e = entry(gpt, index);

	return (struct gpt_part){ get64(e + E_FIRST), get64(e + E_LAST),
				  get64(e + E_ATTRIBUTES) };
}

/* The last sector that can be used now that the medium has its size: before
 * the backup's entries and header. */
static uint64_t last_possible(const struct gpt *gpt)
{
	return gpt->n_sectors - 2 - entries_sectors(gpt);
}

static uint64_t last_used(const struct gpt *gpt, int except)
{
	uint64_t last = gpt->first_usable - 1;

	for (int i = 0; i < (int)gpt->n_entries; i++) {
		struct gpt_part part = gpt_part(gpt, i);

		if (i != except && is_used(gpt, i) && part.last > last)
			last = part.last;
	}
	return last;
}

static uint64_t align_up(const struct gpt *gpt, uint64_t lba)
{
	uint64_t unit = ALIGN_BYTES / gpt->sector;

	return (lba + unit - 1) / unit * unit;
}

/* The last sector of a partition that ends with a whole MiB. */
static uint64_t end_aligned(const struct gpt *gpt)
{
	uint64_t unit = ALIGN_BYTES / gpt->sector;

	return (last_possible(gpt) + 1) / unit * unit - 1;
}

static int entry_free(const struct gpt *gpt)
{
	for (int i = 0; i < (int)gpt->n_entries; i++)
		if (!is_used(gpt, i))
			return i;
	return -ENOSPC;
}

int gpt_add(struct gpt *gpt, const char *name, const uint8_t guid[16],
	    uint64_t min_bytes)
{
	uint64_t first = align_up(gpt, last_used(gpt, -1) + 1);
	uint64_t last = end_aligned(gpt);
	int index = entry_free(gpt);
	uint8_t *e;

	if (index < 0)
		return index;
	if (first >= last || (last - first + 1) * gpt->sector < min_bytes)
		return -ENOSPC;
	e = entry_to_change(gpt, index);
	memset(e, 0, GPT_ENTRY_SIZE);
	memcpy(e + E_TYPE, type_linux, 16);
	memcpy(e + E_GUID, guid, 16);
	/* Version 4, variant 1 (RFC 9562). */
	e[E_GUID + 7] = (uint8_t)((e[E_GUID + 7] & 0x0f) | 0x40);
	e[E_GUID + 8] = (uint8_t)((e[E_GUID + 8] & 0x3f) | 0x80);
	put64(e + E_FIRST, first);
	put64(e + E_LAST, last);
	for (size_t i = 0; i < GPT_NAME_MAX && name[i]; i++)
		e[E_NAME + 2 * i] = (uint8_t)name[i];
	return index;
}

bool gpt_grow(struct gpt *gpt, int index)
{
	struct gpt_part part = gpt_part(gpt, index);
	uint64_t last = end_aligned(gpt);

	if (last <= part.last || last_used(gpt, index) > part.first)
		return false;
	put64(entry_to_change(gpt, index) + E_LAST, last);
	return true;
}

void gpt_attribute_set(struct gpt *gpt, int index, uint64_t bit)
{
	uint8_t *e = entry_to_change(gpt, index);

	put64(e + E_ATTRIBUTES, get64(e + E_ATTRIBUTES) | bit);
}

bool gpt_needs_repair(const struct gpt *gpt)
{
	return !gpt->primary_ok || !gpt->backup_ok;
}

static void header_make(const struct gpt *gpt, uint8_t *h, uint64_t mine,
			uint64_t entries)
{
	uint64_t end = gpt->n_sectors - 1;
	uint64_t last = last_possible(gpt);
	uint32_t bytes = gpt->n_entries * GPT_ENTRY_SIZE;

	memset(h, 0, GPT_SECTOR_MAX);
	memcpy(h + H_SIGNATURE, signature, sizeof(signature));
	put32(h + H_REVISION, REVISION);
	put32(h + H_SIZE, HEADER_SIZE);
	put64(h + H_MY_LBA, mine);
	put64(h + H_OTHER_LBA, mine == 1 ? end : 1);
	put64(h + H_FIRST_USABLE, gpt->first_usable);
	put64(h + H_LAST_USABLE, last);
	memcpy(h + H_DISK_GUID, gpt->disk_guid, 16);
	put64(h + H_ENTRIES_LBA, entries);
	put32(h + H_N_ENTRIES, gpt->n_entries);
	put32(h + H_ENTRY_SIZE, GPT_ENTRY_SIZE);
	put32(h + H_ENTRIES_CRC, crc32(gpt->entries, bytes));
	put32(h + H_CRC, crc32(h, HEADER_SIZE));
}

static void plan_add(struct gpt_plan *plan, uint64_t offset, const void *data,
		     size_t size)
{
	plan->write[plan->n++] = (struct gpt_write){ offset, data, size };
}

static void plan_copy(const struct gpt *gpt, struct gpt_plan *plan,
		      uint64_t header, uint64_t entries)
{
	uint8_t *h = header == 1 ? plan->primary : plan->backup;

	header_make(gpt, h, header, entries);
	plan_add(plan, entries * gpt->sector, gpt->entries, GPT_ENTRIES_BYTES);
	plan_add(plan, header * gpt->sector, h, gpt->sector);
}

void gpt_plan(const struct gpt *gpt, struct gpt_plan *plan)
{
	uint64_t end = gpt->n_sectors - 1;
	uint64_t backup_entries = end - entries_sectors(gpt);

	plan->n = 0;
	if (gpt->primary_ok) {
		plan_copy(gpt, plan, end, backup_entries);
		plan_copy(gpt, plan, 1, 2);
	} else {
		plan_copy(gpt, plan, 1, 2);
		plan_copy(gpt, plan, end, backup_entries);
	}
}

int gpt_commit(int fd, const struct gpt *gpt)
{
	static struct gpt_plan plan;

	gpt_plan(gpt, &plan);
	for (int i = 0; i < plan.n; i++) {
		const struct gpt_write *w = &plan.write[i];
		ssize_t n = pwrite(fd, w->data, w->size, (off_t)w->offset);

		if (n < 0)
			return -errno;
		if ((size_t)n != w->size)
			return -EIO;
		if (fdatasync(fd) < 0)
			return -errno;
	}
	return 0;
}
