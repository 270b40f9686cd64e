/* The partition table of a medium that anyone may have written. The input is
 * the header's 92 bytes and entries; the checksums are set right here, or
 * nothing behind them would ever be reached. Whatever the table says, what we
 * add and write lies inside the medium and in nobody's partition. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "init/gpt.h"

enum { SECTOR = 512, N_SECTORS = 16384, HEADER = 92, ENTRIES_AT = 2 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void sum_put(uint8_t *at, const uint8_t *p, size_t size)
{
	uint32_t crc = ~0u;

	while (size--) {
		crc ^= *p++;
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
	}
	crc = ~crc;
	memcpy(at, &crc, sizeof(crc));
}

static int medium_make(const uint8_t *data, size_t size)
{
	static uint8_t image[(ENTRIES_AT + 32) * SECTOR];
	uint8_t *h = image + SECTOR;
	uint32_t fixed[2] = { 0x10000, HEADER }, numbers[2] = { 128, 128 };
	uint64_t places[2] = { 1, N_SECTORS - 1 }, entries = ENTRIES_AT;
	int fd = memfd_create("medium", MFD_CLOEXEC);

	memset(image, 0, sizeof(image));
	memcpy(h, data, HEADER);
	memcpy(h, "EFI PART", 8);
	memcpy(h + 8, fixed, sizeof(fixed));
	memcpy(h + 24, places, sizeof(places));
	memcpy(h + 72, &entries, sizeof(entries));
	memcpy(h + 80, numbers, sizeof(numbers));
	size -= HEADER;
	memcpy(image + ENTRIES_AT * SECTOR, data + HEADER,
	       size < 32 * SECTOR ? size : 32 * SECTOR);
	sum_put(h + 88, image + ENTRIES_AT * SECTOR, 32 * SECTOR);
	memset(h + 16, 0, 4);
	sum_put(h + 16, h, HEADER);
	if (ftruncate(fd, (off_t)N_SECTORS * SECTOR) < 0 ||
	    pwrite(fd, image, sizeof(image), 0) < 0)
		abort();
	return fd;
}

static void check(const struct gpt *gpt, int index)
{
	static struct gpt_plan plan;
	struct gpt_part mine = gpt_part(gpt, index);

	if (mine.first < 34 || mine.last < mine.first ||
	    mine.last > N_SECTORS - 34)
		abort();
	for (int i = 0; i < index; i++) {
		struct gpt_part other = gpt_part(gpt, i);

		if (other.last && other.first <= mine.last &&
		    mine.first <= other.last)
			abort();
	}
	gpt_plan(gpt, &plan);
	for (int i = 0; i < plan.n; i++)
		if (plan.write[i].offset + plan.write[i].size >
		    (uint64_t)N_SECTORS * SECTOR)
			abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct gpt gpt;
	static const uint8_t guid[16];
	int fd, index;

	if (size < HEADER)
		return 0;
	fd = medium_make(data, size);
	if (gpt_load(fd, SECTOR, N_SECTORS, &gpt) == 0 &&
	    gpt_find(&gpt, "ZOOID-DATA") < 0) {
		index = gpt_add(&gpt, "ZOOID-DATA", guid, 1 << 20);
		if (index >= 0)
			check(&gpt, index);
	}
	close(fd);
	return 0;
}
