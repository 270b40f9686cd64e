/* Layers, good and hostile: the tree that they become, and that nothing is
 * made outside it. Needs root, for owners, whiteouts and trusted attributes. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <zlib.h>

#include "base/path.h"
#include "image/unpack.h"
#include "tap.h"
#include "tar.h"

/* ------------------------------------------------------------- unpacking */

static int area; /* a temporary directory; the tree is area/root */
static char error[UNPACK_ERROR_SIZE];

static int file_of(const void *data, size_t size)
{
	int fd = memfd_create("layer", 0);

	if (write(fd, data, size) != (ssize_t)size)
		abort();
	lseek(fd, 0, SEEK_SET);
	return fd;
}

/* Unpacks blob, an archive whose digest is that of tar[]. */
static int unpack_blob(const void *blob, size_t size, uint64_t max_bytes)
{
	struct digest diff_id = digest_of(tar, tar_size);
	struct packed packed = { .fd = file_of(blob, size), .size = size };
	struct unpack u = { .packed = &packed,
			    .max_bytes = max_bytes,
			    .diff_id = &diff_id };
	int r;

	path_remove_tree(area, "root");
	if (mkdirat(area, "root", 0755) < 0)
		abort();
	u.target = openat(area, "root", O_RDONLY | O_DIRECTORY);
	error[0] = '\0';
	r = unpack_layer(&u, error);
	close(u.target);
	close(packed.fd);
	return r;
}

static int unpack_tar(void)
{
	return unpack_blob(tar, tar_size, 1 << 20);
}

static int unpack(const struct entry *entries)
{
	tar_make(entries);
	return unpack_tar();
}

/* ---------------------------------------------------------------- checks */

static struct stat status(const char *path)
{
	struct stat st;

	if (fstatat(area, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
		memset(&st, 0, sizeof(st));
	return st;
}

static bool is_text(const char *path, const char *text)
{
	char buf[256];
	int fd = openat(area, path, O_RDONLY);
	ssize_t n = read(fd, buf, sizeof(buf));

	close(fd);
	return n == (ssize_t)strlen(text) && memcmp(buf, text, (size_t)n) == 0;
}

static bool is_whiteout(const char *path)
{
	struct stat st = status(path);

	return S_ISCHR(st.st_mode) && st.st_rdev == makedev(0, 0);
}

static bool is_opaque(const char *path)
{
	int fd = openat(area, path, O_RDONLY | O_DIRECTORY);
	char value[4];
	ssize_t n = fgetxattr(fd, "trusted.overlay.opaque", value, 4);

	close(fd);
	return n == 1 && value[0] == 'y';
}

static void test_kinds(void)
{
	static const struct entry entries[] = {
		{ '5', "./", NULL, 0711, 5 },
		{ '5', "dir/", NULL, 01777, 7 },
		{ '0', "dir/file", "text", 04755, 8 },
		{ '2', "dir/link", "/etc/passwd", 0777, 9 },
		{ '1', "hard", "dir/file", 0, 0 },
		{ '6', "pipe", NULL, 0640, 10 },
		{ '3', "null", NULL, 0666, 0 },
		{ '4', "disk", NULL, 0666, 0 },
		{ '0', "deep/er/file", "made with its parents", 0644, 0 },
		{ 0 },
	};
	struct stat st, other;

	ok(unpack(entries) == 0, "every kind of entry: %s", error);
	st = status("root");
	ok((st.st_mode & 07777) == 0711 && st.st_uid == 5 &&
		   st.st_mtime == 1000000000,
	   "the top: mode, owner, time");
	st = status("root/dir");
	ok((st.st_mode & 07777) == 01777 && st.st_uid == 7 &&
		   st.st_mtime == 1000000000,
	   "a directory: mode, owner, time in spite of later entries");
	st = status("root/dir/file");
	ok((st.st_mode & 07777) == 04755 && st.st_uid == 8 &&
		   is_text("root/dir/file", "text"),
	   "a set-id file keeps its bit and its owner");
	other = status("root/hard");
	ok(other.st_ino == st.st_ino && st.st_nlink == 2, "a hard link");
	st = status("root/dir/link");
	ok(S_ISLNK(st.st_mode) && st.st_uid == 9, "a symbolic link");
	st = status("root/pipe");
	ok(S_ISFIFO(st.st_mode) && (st.st_mode & 07777) == 0640, "a fifo");
	ok(!status("root/null").st_mode && !status("root/disk").st_mode,
	   "devices are left out");
	ok(status("root/deep/er").st_uid == 0 &&
		   (status("root/deep/er").st_mode & 07777) == 0755,
	   "missing parents are made");
}

static void test_whiteouts(void)
{
	static const struct entry entries[] = {
		{ '0', "a/.wh.gone", "", 0644, 0 },
		{ '0', "b/.wh..wh..opq", "", 0644, 0 },
		{ '0', "b/new", "x", 0644, 0 },
		{ '0', ".wh..wh.plnk", "", 0644, 0 },
		{ '0', ".wh.replaced", "", 0644, 0 },
		{ '5', "replaced/", NULL, 0755, 0 },
		{ '5', "kept/", NULL, 0755, 0 },
		{ '0', ".wh.kept", "", 0644, 0 },
		{ '0', ".wh.implied", "", 0644, 0 },
		{ '0', "implied/file", "x", 0644, 0 },
		{ 0 },
	};

	ok(unpack(entries) == 0, "whiteouts: %s", error);
	ok(is_whiteout("root/a/gone"), "a removed name");
	ok(is_opaque("root/b") && is_text("root/b/new", "x"),
	   "an opaque directory");
	ok(!status("root/.wh..wh.plnk").st_mode, "marks of aufs are ignored");
	ok(is_opaque("root/replaced"), "a directory after its whiteout");
	ok(is_opaque("root/kept"), "a whiteout after its directory");
	ok(is_opaque("root/implied") && is_text("root/implied/file", "x"),
	   "a parent made after its whiteout");
}

/* Extended attributes come in pax headers, "LENGTH KEY=VALUE\n". */
static void test_xattrs(void)
{
	static const struct entry entries[] = {
		{ 'x', "pax",
		  "28 SCHILY.xattr.user.k=vvvv\n"
		  "38 SCHILY.xattr.user.overlay.opaque=y\n"
		  "41 SCHILY.xattr.trusted.overlay.opaque=y\n"
		  "37 SCHILY.xattr.security.selinux=abc\n",
		  0, 0 },
		{ '5', "dir/", NULL, 0755, 0 },
		{ 'x', "pax", "20 path=d\303\274r/\302\265.txt\n", 0, 0 },
		{ '0', "ignored", "utf8", 0644, 0 },
		{ 0 },
	};
	char names[256];
	int fd, r = unpack(entries);
	ssize_t n;

	ok(r == 0, "pax headers: %d %s", r, error);
	fd = openat(area, "root/dir", O_RDONLY);
	n = flistxattr(fd, names, sizeof(names));
	ok(n == 7 && memcmp(names, "user.k", 7) == 0,
	   "of all attributes only user.k is set");
	close(fd);
	ok(is_text("root/d\303\274r/\302\265.txt", "utf8"), "a UTF-8 path");
}

static void test_replacing(void)
{
	static const struct entry entries[] = {
		{ '5', "a/", NULL, 0755, 0 },
		{ '0', "a/b", "old", 0644, 0 },
		{ '0', "a/b", "new", 0600, 1 },
		{ '5', "a/", NULL, 0700, 2 },
		{ '5', "c/", NULL, 0755, 0 },
		{ '0', "c/d", "x", 0644, 0 },
		{ '0', "c", "now a file", 0644, 0 },
		{ '0', "e", "x", 0644, 0 },
		{ '5', "e/", NULL, 0755, 0 },
		{ 0 },
	};

	ok(unpack(entries) == 0, "entries that replace others: %s", error);
	ok(is_text("root/a/b", "new") && status("root/a/b").st_uid == 1 &&
		   status("root/a").st_uid == 2,
	   "a file by a file, a directory by itself");
	ok(is_text("root/c", "now a file"), "a directory by a file");
	ok(S_ISDIR(status("root/e").st_mode), "a file by a directory");
}

/* --------------------------------------------------------------- hostile */

#define LONG_PART "0123456789012345678901234567890123456789012345678/"

static const struct hostile {
	const char *name;
	struct entry entries[4];
	int result;
} hostile[] = {
	{ "..", { { '0', "../outside", "x", 0644, 0 } }, -EBADMSG },
	{ ".. inside", { { '0', "a/../../outside", "x", 0644, 0 } }, -EBADMSG },
	{ "an absolute path stays inside",
	  { { '0', "/outside", "x", 0644, 0 } },
	  0 },
	{ "through a link that leads up",
	  { { '2', "up", "..", 0777, 0 }, { '0', "up/outside", "x", 0644, 0 } },
	  0 },
	{ "through an absolute link",
	  { { '2', "abs", "/", 0777, 0 },
	    { '0', "abs/outside", "x", 0644, 0 } },
	  0 },
	{ "onto a link that leads out",
	  { { '2', "out", "../outside", 0777, 0 },
	    { '0', "out", "x", 0644, 0 } },
	  0 },
	{ "a hard link to outside",
	  { { '1', "hard", "../secret", 0, 0 } },
	  -EBADMSG },
	{ "a hard link through a link",
	  { { '2', "up", "..", 0777, 0 }, { '1', "hard", "up/secret", 0, 0 } },
	  -ENOENT },
	{ "a hard link to itself",
	  { { '0', "a", "x", 0644, 0 }, { '1', "a", "./a", 0, 0 } },
	  -EBADMSG },
	{ "a whiteout of the parent",
	  { { '0', "a/.wh...", "", 0644, 0 } },
	  -EBADMSG },
	{ "a whiteout of nothing", { { '0', ".wh.", "", 0644, 0 } }, -EBADMSG },
	{ "a file as parent",
	  { { '0', "a", "x", 0644, 0 }, { '0', "a/b", "x", 0644, 0 } },
	  -EBADMSG },
	{ "a dangling link as parent",
	  { { '2', "a", "nowhere", 0777, 0 }, { '0', "a/b", "x", 0644, 0 } },
	  -EBADMSG },
	{ "links in a circle",
	  { { '2', "a", "b", 0777, 0 },
	    { '2', "b", "a", 0777, 0 },
	    { '0', "a/c", "x", 0644, 0 } },
	  -ELOOP },
	{ "the top as a file", { { '0', "./", "x", 0644, 0 } }, -EBADMSG },
};

static void test_hostile(void)
{
	int fd = openat(area, "secret", O_CREAT | O_WRONLY, 0600);

	close(fd);
	for (size_t i = 0; i < sizeof(hostile) / sizeof(*hostile); i++) {
		int r;

		tar_make(hostile[i].entries);
		r = unpack_tar();
		ok(r == hostile[i].result && !status("outside").st_mode &&
			   status("secret").st_nlink == 1,
		   "%s: %d %s", hostile[i].name, r, error);
	}
}

static void test_limits(void)
{
	static char text[100001];
	const struct entry entries[] = { { '0', "big", text, 0644, 0 }, { 0 } };
	int r;

	memset(text, 'x', sizeof(text) - 1);
	tar_make(entries);
	r = unpack_blob(tar, tar_size, 50000);
	ok(r == -ENOSPC, "more than there is space for: %s", error);
	r = unpack_blob(tar, tar_size, 200000);
	ok(r == 0, "as much as there is space for");
}

/* ------------------------------------------------------------- damage */

static const struct entry plain[] = {
	{ '5', "dir/", NULL, 0755, 0 },
	{ '0', "dir/file", "some text", 0644, 0 },
	{ 0 },
};

static size_t gzip(char *out, size_t size)
{
	z_stream z = { .next_in = (Bytef *)tar,
		       .avail_in = (uInt)tar_size,
		       .next_out = (Bytef *)out,
		       .avail_out = (uInt)size };

	deflateInit2(&z, 9, Z_DEFLATED, 15 + 16, 9, Z_DEFAULT_STRATEGY);
	deflate(&z, Z_FINISH);
	deflateEnd(&z);
	return z.total_out;
}

static void test_damage(void)
{
	static char blob[65536];
	size_t size, n_taken = 0;

	tar_make(plain);
	size = gzip(blob, sizeof(blob));
	ok(unpack_blob(blob, size, 1 << 20) == 0 &&
		   is_text("root/dir/file", "some text"),
	   "gzip");
	/* Bits of the gzip header that mean nothing may flip unseen: the
	 * blob's own digest covers those. What comes out must be the same. */
	for (size_t i = 0; i < size * 8; i += 5) {
		blob[i / 8] ^= (char)(1 << i % 8);
		if (unpack_blob(blob, size, 1 << 20) == 0)
			n_taken += !is_text("root/dir/file", "some text");
		blob[i / 8] ^= (char)(1 << i % 8);
	}
	ok(n_taken == 0, "no flipped bit among %zu bytes changes the tree",
	   size);
	ok(unpack_blob(blob, size / 2, 1 << 20) == -EBADMSG, "cut off: %s",
	   error);
	ok(unpack_blob(blob, 0, 1 << 20) == -EBADMSG, "empty: %s", error);
	ok(unpack_blob("not an archive", 14, 1 << 20) == -EBADMSG,
	   "no archive: %s", error);
	tar[10] ^= 1;
	ok(unpack_blob(blob, size, 1 << 20) == -EBADMSG &&
		   strstr(error, "diff_id"),
	   "another diff_id: %s", error);
}

/* zstd frame of blocks that each stand for 128 KB of one byte (RFC 8878,
 * RLE_Block): 8 KB become 256 MB. */
static void test_bomb(void)
{
	static unsigned char blob[8192];
	unsigned char *p = blob;
	int r;

	memcpy(p, "\x28\xb5\x2f\xfd\x00\x38", 6);
	for (p += 6; p + 4 <= blob + sizeof(blob); p += 4) {
		unsigned last = p + 8 > blob + sizeof(blob);
		unsigned header = last | 1 << 1 | (128u << 10) << 3;

		p[0] = (unsigned char)header;
		p[1] = (unsigned char)(header >> 8);
		p[2] = (unsigned char)(header >> 16);
		p[3] = 0;
	}
	r = unpack_blob(blob, (size_t)(p - blob), 1 << 20);
	ok(r == -E2BIG, "a zstd bomb: %d %s", r, error);
}

/* umoci insert ends an archive with the last byte of the last file. */
static void test_no_end(void)
{
	tar_make(plain);
	tar_size = 2 * BLOCK + strlen("some text") + 0;
	ok(unpack_tar() == 0 && is_text("root/dir/file", "some text"),
	   "without padding and end mark: %s", error);
}

int main(void)
{
	char path[] = "/tmp/unpack_test.XXXXXX";

	if (geteuid() != 0) {
		puts("1..0 # SKIP needs root");
		return 0;
	}
	area = open(mkdtemp(path), O_RDONLY | O_DIRECTORY);
	umask(022);
	test_kinds();
	test_whiteouts();
	test_xattrs();
	test_replacing();
	test_hostile();
	test_limits();
	test_damage();
	test_bomb();
	test_no_end();
	path_remove_tree(AT_FDCWD, path);
	return tap_done();
}
