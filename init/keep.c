/* A seed must never be used twice: two boots that credit the same one could
 * make the same keys. So it is mixed in without credit first, replaced on the
 * disk by a new one, and only then credited. */
#define _GNU_SOURCE
#include "keep.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include <linux/random.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "base/span.h"

#define KEEP_DIR ".zooid" /* beneath /data, root's */

enum { SEED_SIZE = 64 };

/* As struct rand_pool_info of random(4), whose bytes have no length. */
struct seed {
	int entropy_bits, size_bytes;
	unsigned char bytes[SEED_SIZE];
};

static int dir_open(void)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/" KEEP_DIR, path_data());
	return open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

static int seed_new(int dir)
{
	unsigned char bytes[SEED_SIZE];
	ssize_t n = getrandom(bytes, sizeof(bytes), GRND_INSECURE);

	if (n != sizeof(bytes))
		return -EIO;
	return file_replace(dir, "seed", 0600, bytes, sizeof(bytes));
}

static int seed_renew(int dir)
{
	struct seed seed = { SEED_SIZE * 8, SEED_SIZE, { 0 } };
	autofree char *old = NULL;
	size_t size;
	autoclose int random = open("/dev/urandom", O_RDWR | O_CLOEXEC);
	int err = file_read(dir, "seed", SEED_SIZE, &old, &size);

	if (random < 0)
		return -errno;
	if (err < 0 || size != SEED_SIZE)
		return seed_new(dir);
	memcpy(seed.bytes, old, SEED_SIZE);
	err = fd_write(random, seed.bytes, SEED_SIZE);
	if (err == 0)
		err = seed_new(dir);
	if (err == 0 && ioctl(random, RNDADDENTROPY, &seed) < 0)
		err = -errno;
	return err;
}

void keep_clock_raise(void)
{
	autoclose int dir = dir_open();
	autofree char *text = NULL;
	struct timespec kept = { 0 };
	uint64_t seconds;
	size_t size;

	if (dir < 0 || file_read(dir, "clock", 32, &text, &size) < 0 ||
	    span_u64((struct span){ text, size }, INT64_MAX, &seconds) < 0)
		return;
	kept.tv_sec = (time_t)seconds;
	if (time(NULL) < kept.tv_sec &&
	    clock_settime(CLOCK_REALTIME, &kept) == 0)
		log_notice("clock", "set to the time kept on /data");
}

static int clock_keep(int dir)
{
	char text[32];
	int n = snprintf(text, sizeof(text), "%lld", (long long)time(NULL));

	return file_replace(dir, "clock", 0600, text, (size_t)n);
}

static void report(const char *name, int err)
{
	if (err < 0)
		log_warning(name, "not kept on %s: %s", path_data(),
			    strerror(-err));
}

int keep_main(int argc, char **argv)
{
	autoclose int dir = dir_open();

	(void)argc;
	(void)argv;
	if (dir < 0)
		return EXIT_SUCCESS; /* /data is in memory */
	report("random seed", seed_renew(dir));
	report("time", clock_keep(dir));
	return EXIT_SUCCESS;
}

static int unmount(const char *path)
{
	if (umount2(path, 0) == 0 || errno == EINVAL || errno == ENOENT)
		return 0;
	log_warning(path, "%s; made read-only instead", strerror(errno));
	if (mount(NULL, path, NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0)
		return 0;
	return -errno;
}

int keep_and_unmount(void *unused)
{
	int dir = dir_open();

	(void)unused;
	if (dir >= 0) {
		report("random seed", seed_new(dir));
		report("time", clock_keep(dir));
		fd_close(&dir);
	}
	sync();
	unmount(path_boot());
	return unmount(path_data()) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
