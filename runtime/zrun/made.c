#define _GNU_SOURCE
#include "made.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/span.h"

void made_note(struct made *made, const char *path)
{
	path += strspn(path, "/");
	if (made && made->n < MADE_MAX && strlen(path) < MADE_PATH_SIZE)
		text_copy(made->path[made->n++], MADE_PATH_SIZE, path);
}

static void remove_one(int root, char *path)
{
	char *slash = strrchr(path, '/');
	const char *name = slash ? slash + 1 : path;
	struct stat st;

	if (slash)
		*slash = '\0';
	autoclose int dir = path_open_in_root(root, slash ? path : ".",
					      O_PATH | O_DIRECTORY, 0);

	if (dir < 0 || fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    (S_ISREG(st.st_mode) && st.st_size > 0))
		return;
	unlinkat(dir, name, S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0);
}

void made_remove(struct made *made, const char *rootfs)
{
	if (!made || !made->n)
		return;
	autoclose int root = open(rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);

	while (root >= 0 && made->n > 0)
		remove_one(root, made->path[--made->n]);
}
