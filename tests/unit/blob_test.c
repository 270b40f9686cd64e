/* The hub's blobs on real files: uploads in pieces, resumed, wrong, killed, a
 * full disk, sweeping. Digests of "abc" are those of FIPS 180-2. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "hub/blob.h"
#include "tap.h"

#define ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static char dir[] = "/tmp/blob_test.XXXXXX";
static struct loop loop;

static struct blobs *opened(int fd)
{
	struct blobs *b = NULL;

	return blobs_open(&b, fd, &loop) < 0 ? NULL : b;
}

static struct digest abc(void)
{
	struct digest d;

	digest_parse_hex(span_of(ABC), &d);
	return d;
}

static bool holds(struct blobs *b, const struct digest *d, const char *text)
{
	char buf[64] = "";
	uint64_t size;
	autoclose int fd = blob_open(b, d, &size);

	if (!text)
		return fd == -ENOENT && blob_stat(b, d, &size) == -ENOENT;
	return fd >= 0 && fd_read(fd, buf, sizeof(buf) - 1) == (ssize_t)size &&
	       !strcmp(buf, text);
}

static void done(void *user, int error)
{
	*(int *)user = error;
}

/* Finishes and waits; 1 when nothing came in time. */
static int finished(struct blob_upload *u, const struct digest *d)
{
	int error = 1;

	blob_upload_finish(u, d, done, &error);
	for (uint64_t end = clock_ms() + 5000; error == 1 && clock_ms() < end;)
		loop_once(&loop, 100);
	return error;
}

static unsigned files(int fd, const char *name)
{
	char command[128];
	unsigned n = 0;
	FILE *f;

	snprintf(command, sizeof(command),
		 "find /proc/%d/fd/%d/%s -type f | wc -l", getpid(), fd, name);
	f = popen(command, "r");
	if (!f || fscanf(f, "%u", &n) != 1)
		n = 999;
	if (f)
		pclose(f);
	return n;
}

static void upload_test(int fd)
{
	struct blobs *b = opened(fd);
	struct blob_upload *u, *again;
	struct digest d = abc();
	char id[BLOB_ID_SIZE];

	ok(blob_upload_new(b, 3, &u) == 0 &&
		   blob_upload_write(u, span_of("a")) == 0,
	   "an upload begins");
	text_copy(id, sizeof(id), blob_upload_id(u));
	ok(blob_upload_open(b, span_of(id), &again) == -EBUSY,
	   "a second writer is refused");
	blob_upload_close(u);
	blobs_close(b);
	b = opened(fd);
	ok(blob_upload_open(b, span_of(id), &u) == 0 &&
		   blob_upload_size(u) == 1,
	   "it goes on after a restart");
	blob_upload_write(u, span_of("bc"));
	ok(holds(b, &d, NULL), "unfinished it is no blob");
	ok(finished(u, &d) == 0 && holds(b, &d, "abc"), "finished it is one");
	ok(files(fd, "uploads") == 0, "no upload is left");
	ok(blob_upload_open(b, span_of(id), &u) == -ENOENT,
	   "its id is unknown now");

	blob_upload_new(b, 0, &u);
	blob_upload_write(u, span_of("abd"));
	ok(finished(u, &d) == -EBADMSG && holds(b, &d, "abc") &&
		   files(fd, "uploads") == 0,
	   "another digest is refused");
	blob_upload_new(b, 0, &u);
	blob_upload_write(u, span_of("abc"));
	ok(finished(u, &d) == 0 && holds(b, &d, "abc"), "a blob comes twice");
	blob_upload_new(b, 0, &u);
	blob_upload_drop(u);
	ok(files(fd, "uploads") == 0, "a dropped upload is gone");
	ok(blob_upload_open(b, span_of("../blobs/sha256/ba/" ABC), &u) ==
		   -ENOENT,
	   "an id is no path");
	blobs_close(b);
}

static void many_test(int fd)
{
	struct blobs *b = opened(fd);
	int error[20], left = 20;

	for (int i = 0; i < 20; i++) {
		struct blob_upload *u;
		char text[32];
		struct digest d;

		snprintf(text, sizeof(text), "many %d", i);
		d = digest_of(text, strlen(text));
		blob_upload_new(b, 0, &u);
		blob_upload_write(u, span_of(text));
		error[i] = 1;
		blob_upload_finish(u, &d, done, &error[i]);
	}
	for (uint64_t end = clock_ms() + 10000; left && clock_ms() < end;) {
		loop_once(&loop, 100);
		left = 0;
		for (int i = 0; i < 20; i++)
			left += error[i] != 0;
	}
	ok(left == 0, "twenty at once are all finished");
	blobs_close(b);
}

/* A child that finishes must not survive the hub, nor its half-made blob be
 * seen. The hub dies right after it began to finish. */
static void kill_test(int fd)
{
	static char big[1 << 20];
	struct digest d;
	char id[BLOB_ID_SIZE];
	int tell[2], status;
	pid_t pid;

	memset(big, 'k', sizeof(big));
	d = digest_of(big, sizeof(big));
	if (pipe2(tell, O_CLOEXEC) < 0)
		return;
	pid = fork();
	if (pid == 0) {
		struct blobs *b = opened(fd);
		struct blob_upload *u;
		int error = 1;

		blob_upload_new(b, sizeof(big), &u);
		blob_upload_write(u, (struct span){ big, sizeof(big) });
		text_copy(id, sizeof(id), blob_upload_id(u));
		blob_upload_finish(u, &d, done, &error);
		if (write(tell[1], id, sizeof(id)) > 0)
			pause();
		_exit(1);
	}
	close(tell[1]);
	ok(read(tell[0], id, sizeof(id)) == sizeof(id), "a hub finishes");
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	close(tell[0]);

	struct blobs *b = opened(fd);
	struct blob_upload *u;
	uint64_t size;
	int err = -EBUSY;

	for (uint64_t end = clock_ms() + 5000;
	     err == -EBUSY && clock_ms() < end;) {
		err = blob_upload_open(b, span_of(id), &u);
		loop_once(&loop, 1);
	}
	if (err == 0)
		ok(blob_upload_size(u) == 1 << 20 && finished(u, &d) == 0 &&
			   blob_stat(b, &d, &size) == 0 && size == 1 << 20,
		   "the killed upload is taken up and finished");
	else
		ok(blob_stat(b, &d, &size) == 0 && size == 1 << 20,
		   "the killed upload had been finished");
	blobs_close(b);
}

static void full_disk_test(void)
{
	static char chunk[64 << 10];
	struct blob_upload *u;
	struct digest d;
	struct blobs *b;
	int err = 0, fd;
	unsigned n = 0;

	if (unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", dir, "tmpfs", 0, "size=4m") < 0) {
		ok(false, "a small disk: %s", strerror(errno));
		return;
	}
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	b = opened(fd);
	ok(blob_upload_new(b, 8 << 20, &u) == -ENOSPC,
	   "an upload larger than the disk is refused at once");
	blob_upload_new(b, 0, &u);
	while (n < 100 && err == 0) {
		err = blob_upload_write(u,
					(struct span){ chunk, sizeof(chunk) });
		n += err == 0;
	}
	ok(err == -ENOSPC && n > 40 && blob_upload_size(u) == n * sizeof(chunk),
	   "one of unknown size is refused when the disk is nearly full");
	ok(blob_put(b, (struct span){ chunk, sizeof(chunk) }, &d) == -ENOSPC,
	   "so is one that comes whole: the reserve is the store's");
	blob_upload_drop(u);
	ok(blob_put(b, span_of("small"), &d) == 0 && holds(b, &d, "small"),
	   "with room again all is well");
	blobs_close(b);
	close(fd);
	umount2(dir, MNT_DETACH);
}

static bool is_abc(void *user, const struct digest *digest)
{
	struct digest d = abc();

	(void)user;
	return digest_equal(digest, &d);
}

static unsigned swept;

static void sweep_done(void *user, unsigned n, uint64_t size_bytes)
{
	(void)size_bytes;
	swept = n;
	*(bool *)user = true;
}

static void sweep(struct blobs *b, unsigned grace_s)
{
	bool ended = false;
	struct blobs_sweep s = { .needed = is_abc,
				 .done = sweep_done,
				 .user = &ended,
				 .grace_s = grace_s };

	blobs_sweep_start(b, &s);
	for (uint64_t end = clock_ms() + 10000; !ended && clock_ms() < end;)
		loop_once(&loop, 100);
}

static void sweep_test(int fd)
{
	struct blobs *b = opened(fd);
	struct timespec old[2] = { { .tv_nsec = UTIME_OMIT },
				   { .tv_sec = time(NULL) - 7200 } };
	struct digest d = abc(), other;
	struct blob_upload *u;
	char path[128], hex[DIGEST_HEX_SIZE];
	uint64_t size;

	blob_put(b, span_of("other"), &other);
	digest_hex(&other, hex);
	snprintf(path, sizeof(path), "blobs/sha256/%.2s/%s", hex, hex);
	blob_upload_new(b, 0, &u);
	blob_upload_close(u);
	sweep(b, 3600);
	ok(swept == 0 && holds(b, &other, "other"), "what is young stays");
	utimensat(fd, path, old, 0);
	blob_stat(b, &other, &size);
	sweep(b, 3600);
	ok(swept == 0, "asking for a blob makes it young");
	utimensat(fd, path, old, 0);
	sweep(b, 3600);
	ok(swept == 1 && holds(b, &other, NULL) && holds(b, &d, "abc"),
	   "what is old and not needed goes");
	sweep(b, 0);
	ok(files(fd, "uploads") == 0 && files(fd, "blobs") == 1,
	   "nothing but what is needed is left");
	blobs_close(b);
}

int main(void)
{
	autoclose int fd = -1;

	log_open("blob_test");
	if (!mkdtemp(dir) || loop_init(&loop) < 0)
		return 1;
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	upload_test(fd);
	many_test(fd);
	kill_test(fd);
	sweep_test(fd);
	full_disk_test();
	path_remove_tree(AT_FDCWD, dir);
	return tap_done();
}
