/* Archives for tests, made entry by entry. */
#ifndef UNIT_TAR_H
#define UNIT_TAR_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { BLOCK = 512, TAR_MAX = 1 << 20 };

/* An archive under construction; type as in ustar, '0' file, '1' hard link,
 * '2' symbolic link, '3' and '4' devices, '5' directory, '6' fifo, 'x' pax. */
static char tar[TAR_MAX];
static size_t tar_size;

struct entry {
	char type;
	const char *name;
	const char *text; /* data, or target of a link */
	unsigned mode, uid;
};

static void tar_add(const struct entry *e)
{
	char *h = tar + tar_size;
	bool has_data = e->type == '0' || e->type == 'x';
	size_t size = has_data && e->text ? strlen(e->text) : 0;
	unsigned sum = 8 * ' ';

	memset(h, 0, BLOCK);
	snprintf(h, 100, "%s", e->name);
	snprintf(h + 100, 8, "%07o", e->mode);
	snprintf(h + 108, 8, "%07o", e->uid);
	snprintf(h + 116, 8, "%07o", e->uid);
	snprintf(h + 124, 12, "%011o", (unsigned)size & 0777777);
	snprintf(h + 136, 12, "%011o", 1000000000);
	h[156] = e->type;
	if (!has_data && e->text)
		snprintf(h + 157, 100, "%s", e->text);
	memcpy(h + 257, "ustar\00000", 8);
	snprintf(h + 329, 8, "%07o", e->type == '3' || e->type == '4');
	snprintf(h + 337, 8, "%07o", e->type == '3' || e->type == '4');
	for (int i = 0; i < BLOCK; i++)
		sum += (unsigned char)h[i];
	snprintf(h + 148, 8, "%06o", sum);
	tar_size += BLOCK;
	if (size)
		memcpy(tar + tar_size, e->text, size);
	tar_size += (size + BLOCK - 1) / BLOCK * BLOCK;
}

__attribute__((unused)) static void tar_make(const struct entry *entries)
{
	memset(tar, 0, sizeof(tar));
	tar_size = 0;
	for (; entries->name; entries++)
		tar_add(entries);
	tar_size += 2 * BLOCK;
}

#endif
