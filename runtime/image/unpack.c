#define _GNU_SOURCE
#include "unpack.h"

#include <errno.h>
#include <locale.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <archive.h>
#include <archive_entry.h>

#include "base/fd.h"
#include "oci/image_descriptor.h"

#include "tree.h"

enum { RATIO_FLOOR_BYTES = 64 << 20 };

/* The uncompressed archive on its way from the decompressor to the reader. */
struct stream {
	struct packed *packed;
	int packed_error;
	struct archive *from;
	struct digest_stream digest;
	uint64_t bytes, max_bytes;
	bool ended;
	int error;
};

struct run {
	const struct unpack *unpack;
	struct stream stream;
	struct archive *tar;
	struct tree tree;
	uint64_t bytes;
	unsigned n_entries;
	char *error;
};

__attribute__((format(printf, 3, 4))) static int fail(struct run *run, int code,
						      const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(run->error, UNPACK_ERROR_SIZE, fmt, ap);
	va_end(ap);
	return code;
}

static const char *packed_text(int code)
{
	switch (code) {
	case -EBADMSG:
		return "cut short: copy it again";
	case -ECANCELED:
		return "not all of it came";
	}
	return strerror(-code);
}

static la_ssize_t packed_came(struct archive *a, void *data, const void **block)
{
	struct stream *s = data;
	ssize_t n = packed_read(s->packed, block);

	if (n >= 0)
		return n;
	s->packed_error = (int)n;
	archive_set_error(a, -(int)n, "%s", packed_text((int)n));
	return -1;
}

/* libarchive's errors are about bytes, unless reading or memory failed. */
static int decompressor_code(const struct stream *s)
{
	if (s->packed_error)
		return s->packed_error;
	return archive_errno(s->from) == ENOMEM ? -ENOMEM : -EBADMSG;
}

/* Some writers (umoci insert) leave out the padding of the last file and the
 * end mark, and other readers take that. The zeros are given to the tar reader
 * but are no part of the digest. */
static la_ssize_t stream_end(struct stream *s, const void **block)
{
	static const char zeros[3 * 512];

	if (s->ended)
		return 0;
	s->ended = true;
	*block = zeros;
	return (la_ssize_t)(2 * 512 + (512 - s->bytes % 512) % 512);
}

static la_ssize_t stream_read(struct archive *tar, void *data,
			      const void **block)
{
	struct stream *s = data;
	la_int64_t offset;
	size_t size;
	int r = archive_read_data_block(s->from, block, &size, &offset);

	if (r == ARCHIVE_EOF)
		return stream_end(s, block);
	if (r < ARCHIVE_WARN) {
		s->error = decompressor_code(s);
		archive_set_error(tar, -s->error, "%s",
				  archive_error_string(s->from));
		return -1;
	}
	s->bytes += size;
	if (s->bytes > s->max_bytes) {
		s->error = -E2BIG;
		archive_set_error(tar, E2BIG,
				  "unpacks to over %d times its "
				  "size",
				  UNPACK_RATIO_MAX);
		return -1;
	}
	digest_update(&s->digest, *block, size);
	return (la_ssize_t)size;
}

static int open_decompressor(struct run *run)
{
	static const unsigned char gzip[] = { 0x1f, 0x8b };
	static const unsigned char zstd[] = { 0x28, 0xb5, 0x2f, 0xfd };
	struct stream *s = &run->stream;
	struct archive *a = archive_read_new();
	struct archive_entry *entry;
	const void *magic;
	ssize_t n = packed_peek(s->packed, &magic);

	s->from = a;
	if (!a)
		return fail(run, -ENOMEM, "out of memory");
	if (n < 0)
		return fail(run, (int)n, "%s", packed_text((int)n));
	if (n >= (ssize_t)sizeof(gzip) &&
	    memcmp(magic, gzip, sizeof(gzip)) == 0)
		archive_read_support_filter_gzip(a);
	else if (n >= (ssize_t)sizeof(zstd) &&
		 memcmp(magic, zstd, sizeof(zstd)) == 0)
		archive_read_support_filter_zstd(a);
	archive_read_support_format_raw(a);
	if (archive_read_open(a, s, NULL, packed_came, NULL) != ARCHIVE_OK ||
	    archive_read_next_header(a, &entry) != ARCHIVE_OK)
		return fail(run, decompressor_code(s), "%s",
			    archive_error_string(a));
	return 0;
}

/* The tar reader failed: of what its bytes come from, or of what they are. */
static int fail_tar(struct run *run)
{
	const struct stream *s = &run->stream;

	if (s->packed_error)
		return fail(run, s->packed_error, "%s",
			    packed_text(s->packed_error));
	return fail(run, s->error ? s->error : -EBADMSG, "%.80s%s%s",
		    run->tree.path, run->tree.path[0] ? ": " : "",
		    archive_error_string(run->tar));
}

static int open_tar(struct run *run)
{
	struct archive *a = archive_read_new();

	run->tar = a;
	if (!a)
		return fail(run, -ENOMEM, "out of memory");
	archive_read_support_format_tar(a);
	if (archive_read_open(a, &run->stream, NULL, stream_read, NULL) !=
	    ARCHIVE_OK)
		return fail_tar(run);
	return 0;
}

static int charge(struct run *run, uint64_t bytes)
{
	run->bytes += bytes;
	if (run->bytes <= run->unpack->max_bytes)
		return 0;
	return fail(run, -ENOSPC, "needs more than the %llu MB of space left",
		    (unsigned long long)run->unpack->max_bytes >> 20);
}

/* Fails with the reason of a file system call on the entry in hand. */
static int fail_entry(struct run *run, int code)
{
	if (code == -EBADMSG)
		return fail(run, code, "%.80s: a path that no image may have",
			    run->tree.path);
	return fail(run, code, "%.80s: %s", run->tree.path, strerror(-code));
}

/* The blocks of a sparse file leave holes; its size is set at the end. */
static int write_data(struct run *run, int fd, struct archive_entry *entry)
{
	const void *block;
	la_int64_t offset;
	size_t size;
	int r;

	if (archive_entry_size(entry) < 0 ||
	    (uint64_t)archive_entry_size(entry) > IMAGE_BLOB_MAX)
		return fail(run, -E2BIG, "%.80s: a file too large",
			    run->tree.path);
	while ((r = archive_read_data_block(run->tar, &block, &size,
					    &offset)) != ARCHIVE_EOF) {
		if (r < ARCHIVE_WARN)
			return fail_tar(run);
		r = charge(run, size);
		if (r)
			return r;
		r = fd_write_at(fd, block, size, offset);
		if (r)
			return fail_entry(run, r);
	}
	if (ftruncate(fd, archive_entry_size(entry)) < 0)
		return fail_entry(run, -errno);
	return 0;
}

/* user.overlay.* would be obeyed by an overlay mounted with userxattr. */
static bool is_kept(const char *name, bool is_file)
{
	if (strcmp(name, "security.capability") == 0)
		return is_file;
	return strncmp(name, "user.", 5) == 0 &&
	       strncmp(name, "user.overlay.", 13) != 0;
}

static int set_xattrs(struct run *run, int fd, struct archive_entry *entry)
{
	bool is_file = archive_entry_filetype(entry) == AE_IFREG;
	const char *name;
	const void *value;
	size_t size;

	archive_entry_xattr_reset(entry);
	while (archive_entry_xattr_next(entry, &name, &value, &size) ==
	       ARCHIVE_OK) {
		int r = charge(run, size);

		if (r)
			return r;
		if (!name || !is_kept(name, is_file))
			continue;
		if (fsetxattr(fd, name, value, size, 0) < 0)
			return fail_entry(run, -errno);
	}
	return 0;
}

static int read_attr(struct run *run, struct archive_entry *entry,
		     struct tree_attr *attr)
{
	la_int64_t uid = archive_entry_uid(entry);
	la_int64_t gid = archive_entry_gid(entry);

	/* The last number means "leave as it is" to chown(2). */
	if (uid < 0 || uid >= UINT32_MAX || gid < 0 || gid >= UINT32_MAX)
		return fail(run, -EBADMSG, "%.80s: owner out of range",
			    run->tree.path);
	*attr = (struct tree_attr){
		.mode = archive_entry_perm(entry),
		.uid = (uid_t)uid,
		.gid = (gid_t)gid,
		.mtime = { archive_entry_mtime(entry),
			   archive_entry_mtime_nsec(entry) },
	};
	if (!archive_entry_mtime_is_set(entry))
		attr->mtime = (struct timespec){ 0 };
	return 0;
}

static int unpack_file(struct run *run, struct archive_entry *entry,
		       const struct tree_attr *attr)
{
	autoclose int fd = tree_make_file(&run->tree, attr);
	int r;

	if (fd < 0)
		return fail_entry(run, fd);
	r = write_data(run, fd, entry);
	if (r)
		return r;
	r = tree_set_file(fd, attr);
	return r ? fail_entry(run, r) : set_xattrs(run, fd, entry);
}

static int unpack_directory(struct run *run, struct archive_entry *entry,
			    const struct tree_attr *attr)
{
	autoclose int fd = tree_make_directory(&run->tree);
	int r;

	if (fd < 0)
		return fail_entry(run, fd);
	r = tree_set_directory(&run->tree, fd, attr);
	return r ? fail_entry(run, r) : set_xattrs(run, fd, entry);
}

/* image-spec, layer.md "Whiteouts"; names with a second .wh. are marks of
 * aufs that mean nothing here, but for the opaque one. */
static int unpack_whiteout(struct run *run)
{
	const char *name = run->tree.name + strlen(".wh.");
	int r = 0;

	if (strcmp(name, ".wh..opq") == 0)
		r = tree_make_opaque(&run->tree);
	else if (strncmp(name, ".wh.", 4) != 0)
		r = tree_make_whiteout(&run->tree, name);
	return r ? fail_entry(run, r) : 0;
}

static int unpack_special(struct run *run, struct archive_entry *entry,
			  const struct tree_attr *attr)
{
	const char *target;
	int r = 0;

	switch (archive_entry_filetype(entry)) {
	case AE_IFLNK:
		target = archive_entry_symlink(entry);
		r = target ? tree_make_symlink(&run->tree, target, attr)
			   : -EBADMSG;
		break;
	case AE_IFIFO:
		r = tree_make_fifo(&run->tree, attr);
		break;
	case AE_IFCHR: /* 0:0 is a whiteout already in the overlay's form */
		if (archive_entry_rdev(entry) == 0)
			r = tree_make_whiteout(&run->tree, run->tree.name);
		break;
	case AE_IFBLK: /* a container gets its devices from its runtime */
	case AE_IFSOCK:
		break;
	default:
		r = -EBADMSG;
	}
	return r ? fail_entry(run, r) : 0;
}

static int unpack_entry(struct run *run, struct archive_entry *entry)
{
	const char *path = archive_entry_pathname(entry);
	const char *existing = archive_entry_hardlink(entry);
	struct tree_attr attr;
	int r;

	if (!path)
		return fail(run, -EBADMSG,
			    "a path that is missing or not UTF-8");
	if (++run->n_entries > UNPACK_ENTRIES_MAX)
		return fail(run, -E2BIG, "more than %d entries",
			    UNPACK_ENTRIES_MAX);
	r = charge(run, UNPACK_ENTRY_BYTES);
	if (r)
		return r;
	r = tree_enter(&run->tree, path);
	if (r)
		return fail(run, r, "%.80s: %s", path,
			    r == -EBADMSG ? "a path that no image may have"
					  : strerror(-r));
	r = read_attr(run, entry, &attr);
	if (r)
		return r;
	if (strncmp(run->tree.name, ".wh.", 4) == 0)
		return unpack_whiteout(run);
	if (existing) {
		r = tree_make_link(&run->tree, existing);
		return r ? fail_entry(run, r) : 0;
	}
	if (archive_entry_filetype(entry) == AE_IFREG)
		return unpack_file(run, entry, &attr);
	if (archive_entry_filetype(entry) == AE_IFDIR)
		return unpack_directory(run, entry, &attr);
	return unpack_special(run, entry, &attr);
}

static int unpack_entries(struct run *run)
{
	struct archive_entry *entry;
	int r;

	while ((r = archive_read_next_header(run->tar, &entry)) !=
	       ARCHIVE_EOF) {
		if (r < ARCHIVE_WARN)
			return fail_tar(run);
		r = unpack_entry(run, entry);
		if (r)
			return r;
	}
	r = tree_finish(&run->tree);
	return r ? fail(run, r, "%s", strerror(-r)) : 0;
}

/* What follows the archive's end mark belongs to the digest too. */
static int check_digest(struct run *run)
{
	const void *block;
	struct digest found;
	la_ssize_t n;

	while ((n = stream_read(run->tar, &run->stream, &block)) > 0)
		;
	if (n < 0)
		return fail_tar(run);
	found = digest_end(&run->stream.digest);
	if (!digest_equal(&found, run->unpack->diff_id))
		return fail(run, -EBADMSG,
			    "unpacked bytes are not those of its diff_id");
	return 0;
}

int unpack_layer(const struct unpack *unpack, char error[UNPACK_ERROR_SIZE])
{
	struct run *run = calloc(1, sizeof(*run));
	int r;

	if (!run) {
		snprintf(error, UNPACK_ERROR_SIZE, "out of memory");
		return -ENOMEM;
	}
	/* Paths in pax headers are UTF-8, which libarchive hands out only
	 * where the locale's encoding is the same. */
	setlocale(LC_CTYPE, "C.UTF-8");
	run->unpack = unpack;
	run->error = error;
	run->stream.max_bytes = RATIO_FLOOR_BYTES;
	if (unpack->packed->size < IMAGE_BLOB_MAX)
		run->stream.max_bytes += UNPACK_RATIO_MAX *
					 unpack->packed->size;
	run->stream.packed = unpack->packed;
	digest_begin(&run->stream.digest);
	tree_open(&run->tree, unpack->target);
	r = open_decompressor(run);
	if (!r)
		r = open_tar(run);
	if (!r)
		r = unpack_entries(run);
	if (!r)
		r = check_digest(run);
	archive_read_free(run->tar);
	archive_read_free(run->stream.from);
	tree_close(&run->tree);
	free(run);
	return r;
}
