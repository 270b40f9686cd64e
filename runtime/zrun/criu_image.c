/* The file `sizes` has a line "BYTES NAME" for each image; it is empty while
 * they are being made. criu makes `parent` a link to the image that has the
 * pages which this one leaves out; without them it is not whole. */
#define _GNU_SOURCE
#include "criu_image.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/span.h"

#define LIST   "sizes"
#define PARENT "parent"

enum { LIST_SIZE_MAX = 4 << 20 };

static void write_sizes(int dir, FILE *list)
{
	DIR *images = path_list(dir, ".");
	struct stat st;

	for (struct dirent *e; images && (e = readdir(images));) {
		const char *end = strrchr(e->d_name, '.');

		if (end && strcmp(end, ".img") == 0 &&
		    fstatat(dir, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			fprintf(list, "%" PRIu64 " %s\n", (uint64_t)st.st_size,
				e->d_name);
	}
	if (images)
		closedir(images);
}

int criu_image_begin(int dir, struct fault *fault)
{
	int r = file_replace(dir, LIST, 0600, "", 0);

	/* criu would not change that of an image that lay there before. */
	unlinkat(dir, PARENT, 0);
	return r < 0 ? fault_set(fault, r, LIST) : 0;
}

/* The text of the list, to be freed; NULL without memory. */
static char *list_sizes(int dir, size_t *size)
{
	char *text = NULL;
	FILE *list = open_memstream(&text, size);

	if (list)
		write_sizes(dir, list);
	if (list && fclose(list) == 0)
		return text;
	free(text);
	return NULL;
}

int criu_image_seal(int dir, struct fault *fault)
{
	size_t size = 0;
	autofree char *text = list_sizes(dir, &size);
	int r = text ? fd_sync_all(dir) : -ENOMEM;

	if (r == 0)
		r = file_replace(dir, LIST, 0600, text, size);
	return r < 0 ? fault_set(fault, r, LIST) : 0;
}

int criu_image_close(int dir, struct fault *fault)
{
	size_t size = 0;
	autofree char *text = list_sizes(dir, &size);
	int r = text ? file_swap(dir, LIST, text, size) : -ENOMEM;

	return r < 0 ? fault_set(fault, r, LIST) : 0;
}

static int check_line(int dir, struct span line, struct fault *fault)
{
	struct span token;
	uint64_t want;
	struct stat st;
	char name[256];

	if (!span_cut(&line, ' ', &token) ||
	    span_u64(token, INT64_MAX, &want) < 0 ||
	    span_copy(name, sizeof(name), line) < 0)
		return fault_set(fault, -EBADMSG, LIST);
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return fault_set(fault, -errno, "%.100s", name);
	if ((uint64_t)st.st_size != want)
		return fault_set(fault, -EBADMSG,
				 "%.100s: %" PRIu64 " bytes, not %" PRIu64,
				 name, (uint64_t)st.st_size, want);
	return 0;
}

static int check_list(int dir, const char *path, struct fault *fault)
{
	autofree char *text = NULL;
	struct span line;
	size_t size = 0;
	int r = file_read(dir, LIST, LIST_SIZE_MAX, &text, &size);

	if (r == -ENOENT)
		return 0;
	if (r < 0)
		return fault_set(fault, r, "%.200s", path);
	if (size == 0)
		return fault_set(fault, 0,
				 "%.200s: its dump did not end; who "
				 "knows better removes its file " LIST,
				 path);
	for (struct span rest = { text, size };
	     r == 0 && span_cut(&rest, '\n', &line);)
		r = line.size > 0 ? check_line(dir, line, fault) : 0;
	return r;
}

/* The image at `path` from directory `from`, its parent, and so on; none of
 * them may be that of `made`. Of a ring the kernel says that there are too many
 * links. */
static int check_chain(int from, const char *path, const struct stat *made,
		       struct fault *fault)
{
	char name[4096];
	struct stat st;
	int r = 0;

	for (text_copy(name, sizeof(name), path); r == 0;) {
		autoclose int dir = openat(from, name,
					   O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		size_t n = strlen(name);

		if (dir < 0 || fstat(dir, &st) < 0)
			return fault_set(fault, -errno, "%.200s", name);
		if (made && st.st_ino == made->st_ino &&
		    st.st_dev == made->st_dev)
			return fault_set(fault, 0, "%.200s: it is overwritten",
					 name);
		r = check_list(dir, name, fault);
		if (fstatat(dir, PARENT, &st, AT_SYMLINK_NOFOLLOW) < 0)
			break;
		snprintf(name + n, sizeof(name) - n, "/" PARENT);
	}
	return r;
}

int criu_image_check(const char *path, struct fault *fault)
{
	return check_chain(AT_FDCWD, path, NULL, fault);
}

int criu_image_check_parent(int dir, const char *path, struct fault *fault)
{
	struct stat made;

	return fstat(dir, &made) < 0 ? fault_set(fault, -errno, "%.200s", path)
				     : check_chain(dir, path, &made, fault);
}
