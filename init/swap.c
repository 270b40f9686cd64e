/* What is frozen is pushed out to zram (ZRUN_RECLAIM), which keeps it in memory
 * compressed. There is no disk behind it: flash would wear out, and nothing of
 * a container is to lie there in clear. */
#define _GNU_SOURCE
#include "swap.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/swap.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"

#define DEVICE "/dev/zram0"
#define MAGIC  "SWAPSPACE2"

enum { PAGE_MAX = 65536 };

/* As mkswap(8) writes it: union swap_header of linux/swap.h. */
struct header {
	uint8_t boot[1024];
	uint32_t version, last_page, n_bad_pages;
};

static int header_write(uint64_t bytes)
{
	static const uint8_t magic[sizeof(MAGIC) - 1] = MAGIC;
	static uint8_t page[PAGE_MAX];
	size_t size = (size_t)sysconf(_SC_PAGESIZE);
	struct header header = { .version = 1,
				 .last_page = (uint32_t)(bytes / size - 1) };
	autoclose int fd = open(DEVICE, O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	if (size > sizeof(page))
		return -EINVAL;
	memcpy(page, &header, sizeof(header));
	memcpy(page + size - sizeof(magic), magic, sizeof(magic));
	return fd_write(fd, page, size);
}

static int swap_make(int settings)
{
	char text[24];
	struct sysinfo info;

	if (sysinfo(&info) < 0)
		return -errno;
	uint64_t bytes = ((uint64_t)info.totalram * info.mem_unit / 2) &
			 ~(uint64_t)(PAGE_MAX - 1);

	snprintf(text, sizeof(text), "%llu", (unsigned long long)bytes);
	int r = file_put(settings, "disksize", text);

	if (r == 0)
		r = header_write(bytes);
	/* To read more than was asked for costs here, and saves nothing. */
	if (r == 0)
		r = file_put(AT_FDCWD, "/proc/sys/vm/page-cluster", "0");
	if (r == 0 && swapon(DEVICE, 0) < 0)
		r = -errno;
	return r;
}

int swap_main(int argc, char **argv)
{
	autoclose int settings = open("/sys/block/zram0",
				      O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	(void)argc;
	(void)argv;
	if (settings < 0)
		return EXIT_SUCCESS; /* a kernel without it */
	int r = swap_make(settings);

	if (r < 0)
		log_warning(DEVICE,
			    "no swap: %s; what is frozen keeps its memory",
			    strerror(-r));
	return EXIT_SUCCESS;
}
