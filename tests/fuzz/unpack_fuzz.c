/* Any bytes as a layer: the tree stays inside its directory and within its
 * limits, and all of it can be removed again. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/path.h"
#include "image/unpack.h"

enum { TREE_MAX = 1 << 20 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char path[] = "/dev/shm/unpack_fuzz.XXXXXX";

static void area_remove(void)
{
	path_remove_tree(AT_FDCWD, path);
}

/* A directory of this process alone, with a file that must stay as it is. */
static int area_open(void)
{
	int area, fd;

	if (!mkdtemp(path))
		abort();
	area = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fd = openat(area, "guard", O_CREAT | O_WRONLY, 0600);
	close(fd);
	atexit(area_remove);
	return area;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static int area = -1;
	char error[UNPACK_ERROR_SIZE] = "";
	struct digest diff_id = digest_of(data, size);
	struct packed packed = { .fd = memfd_create("layer", 0), .size = size };
	struct unpack u = { .packed = &packed,
			    .max_bytes = TREE_MAX,
			    .diff_id = &diff_id };
	struct stat st;
	int r;

	if (area < 0)
		area = area_open();
	if (write(packed.fd, data, size) != (ssize_t)size ||
	    mkdirat(area, "root", 0755))
		abort();
	u.target = openat(area, "root", O_RDONLY | O_DIRECTORY);
	r = unpack_layer(&u, error);
	close(u.target);
	close(packed.fd);
	if ((r == 0) != (error[0] == '\0'))
		abort();
	if (path_remove_tree(area, "root"))
		abort();
	if (fstatat(area, "guard", &st, 0) || st.st_size || st.st_nlink != 1)
		abort();
	return 0;
}
