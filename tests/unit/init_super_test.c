/* A torn first superblock is made anew from its copy; btrfs itself says
 * whether the result is good. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "init/super.h"
#include "tap.h"

static char path[] = "/tmp/zooid-super-XXXXXX";

static int shell(const char *command)
{
	char line[512];

	snprintf(line, sizeof(line), "%s %s >/dev/null 2>&1", command, path);
	return system(line);
}

static bool kept(int fd, const char *was)
{
	char is[4096];

	return pread(fd, is, sizeof(is), 64 << 10) == sizeof(is) &&
	       memcmp(is, was, sizeof(is)) == 0;
}

int main(void)
{
	static const int torn_at[] = { 0, 512, 1024, 3584 };
	char was[4096], junk[512];
	int fd = mkstemp(path);

	memset(junk, 0x5a, sizeof(junk));
	if (fd < 0 || ftruncate(fd, 80 << 20) < 0)
		return 1;
	ok(super_recover(fd) == -ENODATA, "an empty medium has none");
	ok(shell("mkfs.btrfs -q -f -m single") == 0, "mkfs.btrfs makes one");
	ok(super_recover(fd) == 0, "a valid one is left alone");
	if (pread(fd, was, sizeof(was), 64 << 10) != sizeof(was))
		return 1;
	for (size_t i = 0; i < sizeof(torn_at) / sizeof(*torn_at); i++) {
		if (pwrite(fd, junk, sizeof(junk), (64 << 10) + torn_at[i]) < 0)
			return 1;
		ok(super_recover(fd) == 1 && kept(fd, was),
		   "torn at %d: as it was", torn_at[i]);
		ok(shell("btrfs check --readonly") == 0,
		   "btrfs check is content");
	}
	if (pwrite(fd, junk, sizeof(junk), 64 << 10) < 0 ||
	    pwrite(fd, junk, sizeof(junk), 64 << 20) < 0)
		return 1;
	ok(super_recover(fd) == -ENODATA, "both torn: nothing is made up");
	unlink(path);
	return tap_done();
}
