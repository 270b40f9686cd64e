/* The image store on a small file system of its own: what is imported, what is
 * refused, and that nothing is left of what was refused. Needs root. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "image/store.h"
#include "oci/image_descriptor.h"
#include "tap.h"
#include "tar.h"

#define OCI "application/vnd.oci.image."

static int area; /* the test's directory, a tmpfs */
static struct store store;
static char error[STORE_ERROR_SIZE];

/* ---------------------------------------------------------------- layout */

/* An OCI layout in area/NAME under construction. */
struct layout {
	int dir;
	struct digest layer[2], config, manifest;
	size_t layer_size[2], config_size;
};

static void put_file(int dir, const char *path, const void *data, size_t size)
{
	autoclose int fd = openat(dir, path, O_CREAT | O_TRUNC | O_WRONLY,
				  0644);

	if (fd < 0 || fd_write(fd, data, size))
		abort();
}

static const char *blob_file(const struct digest *digest)
{
	static char path[100];
	char hex[DIGEST_HEX_SIZE];

	digest_hex(digest, hex);
	snprintf(path, sizeof(path), "blobs/sha256/%s", hex);
	return path;
}

static struct digest put_blob(int dir, const void *data, size_t size)
{
	struct digest digest = digest_of(data, size);

	put_file(dir, blob_file(&digest), data, size);
	return digest;
}

/* A layer without compression: its digest is its diff_id. */
static void put_layer(struct layout *l, int i, const char *name,
		      const char *text)
{
	const struct entry entries[] = { { '0', name, text, 0644, 0 }, { 0 } };

	tar_make(entries);
	l->layer[i] = put_blob(l->dir, tar, tar_size);
	l->layer_size[i] = tar_size;
}

static void put_documents(struct layout *l, const char *architecture)
{
	char text[2048], id[2][DIGEST_TEXT_SIZE], config[DIGEST_TEXT_SIZE];
	int n;

	digest_text(&l->layer[0], id[0]);
	digest_text(&l->layer[1], id[1]);
	n = snprintf(text, sizeof(text),
		     "{\"architecture\":\"%s\",\"os\":\"linux\",\"rootfs\":{"
		     "\"diff_ids\":[\"%s\",\"%s\"]}}",
		     architecture, id[0], id[1]);
	l->config = put_blob(l->dir, text, (size_t)n);
	l->config_size = (size_t)n;
	digest_text(&l->config, config);
	n = snprintf(text, sizeof(text),
		     "{\"schemaVersion\":2,\"config\":{\"mediaType\":\"" OCI
		     "config.v1+json\",\"digest\":\"%s\",\"size\":%d},"
		     "\"layers\":[{\"mediaType\":\"" OCI "layer.v1.tar\","
		     "\"digest\":\"%s\",\"size\":%zu},{\"mediaType\":\"" OCI
		     "layer.v1.tar\",\"digest\":\"%s\",\"size\":%zu}]}",
		     config, (int)l->config_size, id[0], l->layer_size[0],
		     id[1], l->layer_size[1]);
	l->manifest = put_blob(l->dir, text, (size_t)n);
}

static struct layout layout_make(const char *name, const char *top_text,
				 const char *architecture)
{
	struct layout l = { .dir = -1 };
	char blobs[100];

	snprintf(blobs, sizeof(blobs), "%s/blobs/sha256", name);
	path_remove_tree(area, name);
	if (path_mkdirs(area, blobs, 0755))
		abort();
	l.dir = openat(area, name, O_RDONLY | O_DIRECTORY);
	put_layer(&l, 0, "base", "the same in every image");
	put_layer(&l, 1, "top", top_text);
	put_documents(&l, architecture);
	return l;
}

static void flip_bit(int dir, const struct digest *digest)
{
	autoclose int fd = openat(dir, blob_file(digest), O_RDWR);
	char byte;

	if (pread(fd, &byte, 1, 40) != 1)
		abort();
	byte ^= 4;
	if (pwrite(fd, &byte, 1, 40) != 1)
		abort();
}

/* ---------------------------------------------------------------- checks */

/* Entries of a directory of the store, without "." and "..". */
static int count(int dir, const char *path)
{
	DIR *d = fdopendir(openat(dir, path, O_RDONLY | O_DIRECTORY));
	int n = -2;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static bool is_empty(void)
{
	return count(store.images, "blobs/sha256") == 0 &&
	       count(store.layers, ".") == 0;
}

static const char *own(void)
{
	return image_platform_own.architecture;
}

static bool names(const char *text, const struct digest *digest)
{
	char hex[DIGEST_HEX_SIZE];

	digest_hex(digest, hex);
	hex[12] = '\0';
	return strstr(text, hex) != NULL;
}

/* ----------------------------------------------------------------- tests */

static int import(const struct layout *l)
{
	struct store_source source = { l->dir, { -1, -1 } };

	return store_import(&store, &source, &l->manifest, error);
}

static void test_import(void)
{
	struct layout l = layout_make("good", "text", own());
	struct store_layers layers;
	struct digest list[4];
	struct stat st;
	char path[80];
	int r = import(&l);

	ok(r == 0, "import: %d %s", r, error);
	ok(store_list(&store, list, 4) == 1 &&
		   digest_equal(&list[0], &l.manifest),
	   "it is listed");
	ok(store_layers(&store, &l.manifest, &layers, error) == 0 &&
		   layers.n == 2,
	   "it has two layers");
	snprintf(path, sizeof(path), "%s/top", layers.name[1]);
	ok(fstatat(store.layers, path, &st, 0) == 0 && st.st_size == 4,
	   "the upper one is last and unpacked");
	path_remove_tree(area, "good");
	ok(import(&l) == 0, "once more, though the layout is gone");
	close(l.dir);
}

static void test_shared(void)
{
	struct layout l = layout_make("other", "other text", own());
	struct digest list[4];
	int r = import(&l);

	ok(r == 0 && store_list(&store, list, 4) == 2 &&
		   count(store.layers, ".") == 3,
	   "a second image with one layer in common: %d", r);
	ok(store_forget(&store, &l.manifest, error) == 0 &&
		   store_list(&store, list, 4) == 1 &&
		   count(store.layers, ".") == 2,
	   "removed without the common layer");
	ok(store_forget(&store, &l.manifest, error) == -ENOENT,
	   "removed once only");
	ok(store_forget(&store, &list[0], error) == 0 && is_empty(),
	   "nothing is left after the last one");
	close(l.dir);
}

static void test_flipped(void)
{
	static const char *const what[] = { "lower layer", "upper layer",
					    "config", "manifest" };

	for (int i = 0; i < 4; i++) {
		struct layout l = layout_make("flipped", "text", own());
		const struct digest *blobs[] = { &l.layer[0], &l.layer[1],
						 &l.config, &l.manifest };
		int r;

		flip_bit(l.dir, blobs[i]);
		r = import(&l);
		ok(r == -EBADMSG && names(error, &l.manifest) &&
			   names(error, blobs[i]) && is_empty(),
		   "a flipped bit in the %s: %s", what[i], error);
		close(l.dir);
	}
}

static void test_refused(void)
{
	struct layout l = layout_make("foreign", "text", "s390x");
	int r = import(&l);

	ok(r == -ENOTSUP && strstr(error, "s390x") && is_empty(),
	   "for another machine: %s", error);
	close(l.dir);
	l = layout_make("lacking", "text", own());
	unlinkat(l.dir, blob_file(&l.layer[1]), 0);
	r = import(&l);
	ok(r == -ENOENT && names(error, &l.layer[1]) && is_empty(),
	   "a missing layer: %s", error);
	close(l.dir);
	l = layout_make("swapped", "text", own());
	put_file(l.dir, blob_file(&l.layer[1]), "short", 5);
	r = import(&l);
	ok(r == -EBADMSG && strstr(error, "5 bytes") && is_empty(),
	   "a layer of another size: %s", error);
	close(l.dir);
}

/* What a killed worker and a bad disk leave. */
static void test_leftovers(void)
{
	struct layout l = layout_make("again", "text", own());
	struct store_layers layers;
	int r;

	put_file(store.images, "blobs/sha256/.tmp.0", "half", 4);
	path_mkdirs(store.layers, ".tmp.7/half/made", 0755);
	ok(store_clean(&store) == 0 && is_empty(), "half-made parts go");
	import(&l);
	flip_bit(store.images, &l.config);
	r = store_layers(&store, &l.manifest, &layers, error);
	ok(r == -EBADMSG && names(error, &l.config),
	   "damage in the store is seen: %s", error);
	r = import(&l);
	ok(r == 0 && store_layers(&store, &l.manifest, &layers, error) == 0,
	   "and repaired by the next import: %s", r ? error : "");
	put_file(store.images, "index.json", "{\"mani", 6);
	r = import(&l);
	ok(r == 0, "a damaged index.json is made anew");
	store_forget(&store, &l.manifest, error);
	close(l.dir);
}

/* The file system has 4 MB, of which some are the node's. */
static void test_space(void)
{
	static char big[900 << 10];
	struct layout l;
	int r;

	memset(big, 'x', sizeof(big) - 1);
	put_file(area, "ballast", tar, 1 << 20);
	put_file(area, "ballast2", tar, 1 << 20);
	l = layout_make("big", big, own());
	r = import(&l);
	ok(r == -ENOSPC && strstr(error, "reserve") && is_empty(),
	   "no space: %s", error);
	unlinkat(area, "ballast", 0);
	unlinkat(area, "ballast2", 0);
	close(l.dir);
	path_remove_tree(area, "big");
}

/* A worker as a child of this process. */
struct work {
	pid_t pid;
	int report;
};

static struct work work_begin(enum store_job job, const struct layout *l,
			      int end)
{
	struct work w;
	int pipe_fd[2];

	if (pipe2(pipe_fd, O_CLOEXEC) < 0)
		abort();
	w.report = pipe_fd[0];
	w.pid = fork();
	if (w.pid == 0) {
		close(pipe_fd[0]);
		_exit(store_worker(
			&store,
			&(struct store_task){ job, &l->manifest,
					      job == STORE_IMPORT ? l->dir : -1,
					      end },
			pipe_fd[1]));
	}
	close(pipe_fd[1]);
	return w;
}

static struct store_report work_end(struct work w)
{
	struct store_report report = { .error = -EIO };
	int status;

	if (fd_read(w.report, &report, sizeof(report)) != sizeof(report))
		report.error = -EPIPE;
	close(w.report);
	waitpid(w.pid, &status, 0);
	return report;
}

static struct store_report work(enum store_job job, const struct layout *l)
{
	return work_end(work_begin(job, l, -1));
}

static void test_worker(void)
{
	struct layout l = layout_make("worker", "text", own());
	struct store_layers layers;
	struct store_report report = work(STORE_IMPORT, &l);

	ok(report.error == 0 &&
		   store_layers(&store, &l.manifest, &layers, error) == 0,
	   "import in the confined worker: %d %s", report.error, report.text);
	report = work(STORE_FORGET, &l);
	ok(report.error == 0 && is_empty(), "removal there: %d %s",
	   report.error, report.text);
	flip_bit(l.dir, &l.layer[0]);
	report = work(STORE_IMPORT, &l);
	ok(report.error == -EBADMSG && names(report.text, &l.layer[0]),
	   "its report names the blob: %s", report.text);
	close(l.dir);
}

/* Renames layer i of the layout to .tmp and keeps what follows its first
 * `size` bytes. Returns its descriptor. */
static int layer_begin(struct layout *l, int i, off_t size, char *rest)
{
	char part[120];
	int fd;

	snprintf(part, sizeof(part), "%s.tmp", blob_file(&l->layer[i]));
	if (renameat(l->dir, blob_file(&l->layer[i]), l->dir, part) < 0)
		abort();
	fd = openat(l->dir, part, O_RDWR);
	if (pread(fd, rest, l->layer_size[i], size) < 0 ||
	    ftruncate(fd, size) < 0)
		abort();
	return fd;
}

static void layer_finish(struct layout *l, int i)
{
	char part[120];

	snprintf(part, sizeof(part), "%s.tmp", blob_file(&l->layer[i]));
	if (renameat(l->dir, part, l->dir, blob_file(&l->layer[i])) < 0)
		abort();
}

/* Until the worker has done what it can: it waits in poll(2). */
static bool work_waits(struct work w)
{
	struct pollfd p = { .fd = w.report, .events = POLLIN };
	char path[40], text[400];

	snprintf(path, sizeof(path), "/proc/%d/wchan", w.pid);
	for (int i = 0; i < 500; i++) {
		int fd = open(path, O_RDONLY);
		ssize_t n = read(fd, text, sizeof(text) - 1);

		close(fd);
		text[n > 0 ? n : 0] = '\0';
		if (strstr(text, "poll"))
			return true;
		if (poll(&p, 1, 10) != 0)
			return false;
	}
	return false;
}

/* The upper layer comes in two parts, the lower one later than both. */
static void test_growing(void)
{
	static char rest[2][8192];
	struct layout l = layout_make("growing", "text", own());
	int end[2], lower = layer_begin(&l, 0, 0, rest[0]),
		    upper = layer_begin(&l, 1, 700, rest[1]);
	struct store_layers layers;
	struct store_report report;
	struct work w;

	if (pipe2(end, O_CLOEXEC) < 0)
		abort();
	w = work_begin(STORE_IMPORT, &l, end[0]);
	ok(work_waits(w), "it waits for the first byte");
	if (pwrite(lower, rest[0], l.layer_size[0], 0) < 0)
		abort();
	layer_finish(&l, 0);
	ok(work_waits(w) &&
		   store_layers(&store, &l.manifest, &layers, error) == -ENOENT,
	   "half of it is not seen");
	if (pwrite(upper, rest[1], l.layer_size[1] - 700, 700) < 0)
		abort();
	layer_finish(&l, 1);
	report = work_end(w);
	ok(report.error == 0 &&
		   store_layers(&store, &l.manifest, &layers, error) == 0,
	   "whole it is there: %d %s", report.error, report.text);
	work(STORE_FORGET, &l);
	close(lower);
	close(upper);

	upper = layer_begin(&l, 1, 700, rest[1]);
	w = work_begin(STORE_IMPORT, &l, end[0]);
	rest[1][200] ^= 1;
	if (!work_waits(w) ||
	    pwrite(upper, rest[1], l.layer_size[1] - 700, 700) < 0)
		abort();
	report = work_end(w);
	ok(report.error == -EBADMSG && is_empty(), "other bytes came: %s",
	   report.text);
	if (ftruncate(upper, 700) < 0)
		abort();
	w = work_begin(STORE_IMPORT, &l, end[0]);
	if (!work_waits(w))
		abort();
	kill(w.pid, SIGKILL);
	ok(work_end(w).error == -EPIPE && count(store.layers, ".") > 0,
	   "a worker is killed amid a layer");
	w = work_begin(STORE_IMPORT, &l, end[0]);
	ok(work_waits(w) && count(store.layers, ".") == 2,
	   "the next one removes what it left");
	close(end[1]);
	report = work_end(w);
	ok(report.error == -ECANCELED && is_empty() &&
		   strstr(report.text, "not all"),
	   "the rest never came: %s", report.text);
	close(upper);
	close(end[0]);
	close(l.dir);
}

int main(void)
{
	static char path[] = "/tmp/image_store_test.XXXXXX";

	if (geteuid() != 0) {
		puts("1..0 # SKIP needs root");
		return 0;
	}
	log_open("image_store_test");
	if (!mkdtemp(path) || unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", path, "tmpfs", 0, "size=4m") < 0)
		return 1;
	area = open(path, O_RDONLY | O_DIRECTORY);
	setenv("ZOOID_DATA", path, 1);
	ok(store_open(&store) == 0 && is_empty(), "a new store");
	test_import();
	test_shared();
	test_flipped();
	test_refused();
	test_leftovers();
	test_space();
	test_worker();
	test_growing();
	store_close(&store);
	close(area);
	umount2(path, MNT_DETACH);
	rmdir(path);
	return tap_done();
}
