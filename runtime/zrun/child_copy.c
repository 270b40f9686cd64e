/* The option tmpcopyup: a tmpfs begins with a copy of what lies under it.
 * Nobody else runs in the container yet. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/fd.h"
#include "child.h"
#include "tree_copy.h"

int child_copy_up(struct child *c, const char *path, int mount)
{
	autoclose int from = child_open(c, path, O_RDONLY | O_DIRECTORY);
	/* A mount's descriptor is O_PATH: of no use for its own mode. */
	autoclose int to = openat(mount, ".",
				  O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (from < 0)
		return from;
	return to < 0 ? -errno : tree_copy(from, to);
}
