/* What test_btrfs.py boots instead of init: writes files to btrfs on the
 * first disk, one after the other, each synced before it is told.
 *
 *	found N     files there at the start, all whole; or
 *	broken: ... what was not
 *	synced N    file N is on stable storage
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FILES_MAX = 2000, FILE_BYTES = 20000 };

static char content[FILE_BYTES], read_back[FILE_BYTES + 1];

static void say(const char *text)
{
	printf("%s\n", text);
	fflush(stdout);
}

/* Nothing follows: the test has seen enough, or its deadline ends it. */
static void stop(const char *what)
{
	printf("broken: %s: %s\n", what, strerror(errno));
	fflush(stdout);
	for (;;)
		pause();
}

static void content_make(int number)
{
	srandom((unsigned)number);
	for (size_t i = 0; i < sizeof(content); i++)
		content[i] = (char)(random() >> 8);
}

static int file_check(int number)
{
	char name[32];

	snprintf(name, sizeof(name), "/mnt/%d", number);
	int fd = open(name, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return 0;
	ssize_t n = read(fd, read_back, sizeof(read_back));

	content_make(number);
	if (n != FILE_BYTES || memcmp(content, read_back, FILE_BYTES) != 0)
		stop(name);
	close(fd);
	return 1;
}

static void file_write(int number)
{
	char name[32];

	content_make(number);
	int fd = open("/mnt/new", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
		      0600);

	if (fd < 0 || write(fd, content, FILE_BYTES) != FILE_BYTES ||
	    fsync(fd) < 0)
		stop("write");
	close(fd);
	snprintf(name, sizeof(name), "/mnt/%d", number);
	if (rename("/mnt/new", name) < 0)
		stop(name);
	int dir = open("/mnt", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0 || fsync(dir) < 0)
		stop("sync");
	close(dir);
}

int main(void)
{
	int number = 0;

	mkdir("/dev", 0755);
	mkdir("/mnt", 0755);
	mount("dev", "/dev", "devtmpfs", 0, NULL);
	int console = open("/dev/console", O_RDWR);

	for (int fd = 0; fd <= 2; fd++)
		dup2(console, fd);
	if (mount("/dev/vda", "/mnt", "btrfs", 0, NULL) < 0)
		stop("mount");
	while (file_check(number + 1))
		number++;
	printf("found %d\n", number);
	say("");
	while (number < FILES_MAX) {
		file_write(++number);
		printf("synced %d\n", number);
		fflush(stdout);
	}
	stop("done");
}
