#define _GNU_SOURCE
#include "layout.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"

#define BLOBS "blobs/sha256"
#define PART  ".tmp"

static const char version[] = "{\"imageLayoutVersion\":\"1.0.0\"}\n";

static void blob_name(const struct digest *digest, char name[LAYOUT_PART_SIZE])
{
	char hex[DIGEST_HEX_SIZE];

	digest_hex(digest, hex);
	snprintf(name, LAYOUT_PART_SIZE, BLOBS "/%s", hex);
}

static void part_name(const struct digest *digest, char name[LAYOUT_PART_SIZE])
{
	char hex[DIGEST_HEX_SIZE];

	digest_hex(digest, hex);
	snprintf(name, LAYOUT_PART_SIZE, BLOBS "/%s" PART, hex);
}

/* A file that is there as a whole or not at all, while the machine runs. */
static int file_make(int dir, const char *name, struct span data)
{
	char part[LAYOUT_PART_SIZE];
	autoclose int fd = -1;
	int r;

	snprintf(part, sizeof(part), "%.90s" PART, name);
	fd = openat(dir, part,
		    O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC,
		    0644);
	r = fd < 0 ? -errno : fd_write(fd, data.data, data.size);
	if (!r && renameat(dir, part, dir, name) < 0)
		r = -errno;
	if (r)
		unlinkat(dir, part, 0);
	return r;
}

int layout_prepare(int layout)
{
	int r = path_mkdirs(layout, BLOBS, 0755);

	if (!r && faccessat(layout, "oci-layout", F_OK, 0) < 0)
		r = file_make(layout, "oci-layout", span_of(version));
	return r;
}

int layout_open(int root, const char *name)
{
	autoclose int layout = -1;
	int r;

	if (mkdirat(root, name, 0755) < 0 && errno != EEXIST)
		return -errno;
	layout = path_open_beneath(root, name, O_RDONLY | O_DIRECTORY, 0);
	r = layout < 0 ? layout : layout_prepare(layout);
	return r ? r : fd_take(&layout);
}

bool layout_has(int layout, const struct image_descriptor *d)
{
	char name[LAYOUT_PART_SIZE];
	struct stat st;

	blob_name(&d->digest, name);
	return fstatat(layout, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	       S_ISREG(st.st_mode) && (uint64_t)st.st_size == d->size;
}

int layout_read(int layout, const struct digest *digest, size_t max,
		char **data, size_t *size)
{
	char name[LAYOUT_PART_SIZE];
	struct digest found;
	int r;

	blob_name(digest, name);
	r = file_read(layout, name, max, data, size);
	if (r)
		return r;
	found = digest_of(*data, *size);
	if (digest_equal(&found, digest))
		return 0;
	free(ptr_take(data));
	unlinkat(layout, name, 0);
	return -ENOENT;
}

int layout_write(int layout, const struct digest *digest, struct span data)
{
	char name[LAYOUT_PART_SIZE];

	blob_name(digest, name);
	return file_make(layout, name, data);
}

int layout_part_open(int layout, const struct digest *digest)
{
	char name[LAYOUT_PART_SIZE];

	part_name(digest, name);
	return path_open_beneath(layout, name, O_RDWR | O_CREAT | O_NOFOLLOW,
				 0644);
}

int layout_part_keep(int layout, const struct digest *digest)
{
	char from[LAYOUT_PART_SIZE], to[LAYOUT_PART_SIZE];

	part_name(digest, from);
	blob_name(digest, to);
	return renameat(layout, from, layout, to) < 0 ? -errno : 0;
}

void layout_part_drop(int layout, const struct digest *digest)
{
	char name[LAYOUT_PART_SIZE];

	part_name(digest, name);
	unlinkat(layout, name, 0);
}

/* True once the blob or a part of it is here. */
static bool adopt_from(int other, int layout, const struct image_descriptor *d)
{
	char blob[LAYOUT_PART_SIZE], part[LAYOUT_PART_SIZE];
	struct stat st;

	blob_name(&d->digest, blob);
	part_name(&d->digest, part);
	if (layout_has(other, d))
		return linkat(other, blob, layout, blob, 0) == 0;
	if (fstatat(layout, part, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    st.st_size > 0)
		return false;
	return renameat(other, part, layout, part) == 0;
}

void layout_adopt(int root, int layout, const struct image_descriptor *d)
{
	int fd = openat(root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *entry;
	bool whole = false;

	if (!dir && fd >= 0)
		close(fd);
	while (dir && !whole && (entry = readdir(dir))) {
		autoclose int other =
			entry->d_name[0] == '.'
				? -1
				: path_open_beneath(root, entry->d_name,
						    O_RDONLY | O_DIRECTORY, 0);

		if (other >= 0)
			adopt_from(other, layout, d);
		whole = layout_has(layout, d);
	}
	if (dir)
		closedir(dir);
}

int layout_finish(int layout, const struct image_descriptor *manifest,
		  const char *media_type, const char *tag)
{
	char digest[DIGEST_TEXT_SIZE], text[700];
	int n;

	digest_text(&manifest->digest, digest);
	n = snprintf(text, sizeof(text),
		     "{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":"
		     "\"%s\",\"digest\":\"%s\",\"size\":%llu%s%s%s}]}\n",
		     media_type, digest, (unsigned long long)manifest->size,
		     *tag ? ",\"annotations\":{"
			    "\"org.opencontainers.image.ref.name\":\""
			  : "",
		     tag, *tag ? "\"}" : "");
	return file_make(layout, "index.json",
			 (struct span){ text, (size_t)n });
}
