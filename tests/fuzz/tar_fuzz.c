/* An archive that anyone may have made: its files lie within it, and its end
 * comes. The checksum of every block is set right here, or nothing behind the
 * first header would ever be reached. */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "ctl/tar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* POSIX: the sum of all bytes, the eight of the checksum being blanks. */
static void sum_put(char *block)
{
	unsigned sum = 0;

	memset(block + 148, ' ', 8);
	for (size_t i = 0; i < TAR_BLOCK; i++)
		sum += (uint8_t)block[i];
	snprintf(block + 148, 8, "%06o", sum);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	autoclose int fd = memfd_create("tar", MFD_CLOEXEC);
	autofree char *copy = malloc(size + 1);
	struct tar_entry entry;
	size_t n = 0;
	struct tar tar;

	if (!copy)
		abort();
	memcpy(copy, data, size);
	for (size_t i = 0; i + TAR_BLOCK <= size; i += TAR_BLOCK)
		sum_put(copy + i);
	if (fd < 0 || fd_write(fd, copy, size) < 0)
		abort();
	if (tar_open(&tar, fd) < 0)
		return 0;
	while (tar_next(&tar, &entry) == 1)
		if (entry.size > size || entry.offset > size - entry.size ||
		    ++n > size / TAR_BLOCK)
			abort();
	return 0;
}
