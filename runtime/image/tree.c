#define _GNU_SOURCE
#include "tree.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "base/span.h"

#define OPAQUE "trusted.overlay.opaque"

/* What the remembered directory times may take; a layer has at most some ten
 * thousand directories. Later ones keep the time of their making. */
enum { TIME_BYTES_MAX = 16 << 20 };

void tree_open(struct tree *tree, int root)
{
	*tree = (struct tree){ .root = root, .parent = root };
	tree->name = tree->path;
}

static void parent_close(struct tree *tree)
{
	if (tree->parent != tree->root)
		fd_close(&tree->parent);
	tree->parent = tree->root;
	tree->inside[0] = '\0';
}

void tree_close(struct tree *tree)
{
	parent_close(tree);
	for (size_t i = 0; i < tree->n_times; i++)
		free(tree->times[i].path);
	free(tree->times);
	tree->times = NULL;
	tree->n_times = 0;
}

/* "./a//b/" becomes "a/b". */
static int normalise(char out[PATH_MAX], const char *path)
{
	struct span rest = span_of(path), part;
	size_t n = 0;

	while (span_cut(&rest, '/', &part)) {
		if (part.size == 0 || span_is(part, "."))
			continue;
		if (span_is(part, "..") || part.size > NAME_MAX ||
		    n + 1 + part.size >= PATH_MAX)
			return -EBADMSG;
		if (n)
			out[n++] = '/';
		memcpy(out + n, part.data, part.size);
		n += part.size;
	}
	out[n] = '\0';
	return 0;
}

static bool is_whiteout(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0);
}

static int set_opaque(int fd)
{
	return fsetxattr(fd, OPAQUE, "y", 1, 0) < 0 ? -errno : 0;
}

/* Makes directory `name` where none is. What comes in the place of a whiteout
 * must go on hiding the lower layers, so the new directory is opaque then. */
static int make_directory(int dir, const char *name)
{
	autoclose int fd = -1;
	struct stat st;
	bool hidden = false;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		if (S_ISDIR(st.st_mode))
			return 0;
		hidden = is_whiteout(&st);
		if (unlinkat(dir, name, 0) < 0)
			return -errno;
	} else if (errno != ENOENT) {
		return -errno;
	}
	if (mkdirat(dir, name, 0755) < 0)
		return -errno;
	if (!hidden)
		return 0;
	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : set_opaque(fd);
}

/* A component of a parent's path that is no directory: an archive may name
 * a/b after a whiteout of a, but not after a file. */
static int make_parent(int dir, const char *name)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    !is_whiteout(&st))
		return -EBADMSG;
	return make_directory(dir, name);
}

static int open_directory(const struct tree *tree, const char *path)
{
	return path_open_in_root(tree->root, *path ? path : ".",
				 O_PATH | O_DIRECTORY, 0);
}

/* Opens the directory at path (in normal form), making what is missing. */
static int open_parents(const struct tree *tree, const char *path)
{
	autoclose int above = open_directory(tree, "");
	char prefix[PATH_MAX];
	size_t start = 0;

	for (size_t i = 0; above >= 0; i++) {
		int fd, r;

		prefix[i] = path[i];
		if (path[i] != '/' && path[i] != '\0')
			continue;
		prefix[i] = '\0';
		fd = open_directory(tree, prefix);
		if (fd == -ENOENT || fd == -ENOTDIR) {
			r = make_parent(above, prefix + start);
			fd = r ? r : open_directory(tree, prefix);
		}
		if (fd < 0 || path[i] == '\0')
			return fd;
		fd_close(&above);
		above = fd;
		prefix[i] = '/';
		start = i + 1;
	}
	return above;
}

/* Opens the directory `inside` as the parent, making it where missing. Archives
 * list a directory's entries together, so it mostly is open already: no entry
 * can replace the directory that holds it. */
static int parent_open(struct tree *tree, const char *inside)
{
	int fd;

	if (strcmp(inside, tree->inside) == 0)
		return 0;
	parent_close(tree);
	if (!*inside)
		return 0;
	fd = open_parents(tree, inside);
	if (fd < 0)
		return fd;
	tree->parent = fd;
	text_copy(tree->inside, sizeof(tree->inside), inside);
	return 0;
}

int tree_enter(struct tree *tree, const char *path)
{
	char *slash;
	int r = normalise(tree->path, path);

	tree->name = tree->path;
	if (r)
		return r;
	slash = strrchr(tree->path, '/');
	if (!slash)
		return parent_open(tree, "");
	*slash = '\0';
	r = parent_open(tree, tree->path);
	*slash = '/';
	tree->name = slash + 1;
	return r;
}

/* Makes way for an entry that is no directory. */
static int replace(struct tree *tree)
{
	if (!*tree->name)
		return -EBADMSG; /* the top of a layer is a directory */
	return path_remove_tree(tree->parent, tree->name);
}

/* Most names are new, so what is in the way is removed only then. */
int tree_make_file(struct tree *tree, const struct tree_attr *attr)
{
	const int flags = O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC;
	int fd = openat(tree->parent, tree->name, flags, attr->mode & 0777);

	if (fd < 0 && (errno == EEXIST || !*tree->name)) {
		int r = replace(tree);

		if (r)
			return r;
		fd = openat(tree->parent, tree->name, flags, attr->mode & 0777);
	}
	return fd < 0 ? -errno : fd;
}

int tree_make_directory(struct tree *tree)
{
	const char *name = *tree->name ? tree->name : ".";
	int fd, r = *tree->name ? make_directory(tree->parent, name) : 0;

	if (r)
		return r;
	fd = openat(tree->parent, name,
		    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static bool has_owner(const struct stat *st, const struct tree_attr *attr)
{
	return st->st_uid == attr->uid && st->st_gid == attr->gid;
}

/* A change of owner clears the set-id bits, so the mode comes after it. Each
 * change is a transaction of the file system, a look is not. */
static int set_owner_mode(int fd, const struct tree_attr *attr)
{
	mode_t mode = attr->mode & 07777;
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!has_owner(&st, attr)) {
		if (fchown(fd, attr->uid, attr->gid) < 0)
			return -errno;
		st.st_mode &= (mode_t) ~(S_ISUID | S_ISGID);
	}
	if ((st.st_mode & 07777) != mode && fchmod(fd, mode) < 0)
		return -errno;
	return 0;
}

static void times_of(struct timespec times[2], const struct tree_attr *attr)
{
	times[0] = times[1] = attr->mtime;
}

int tree_set_file(int fd, const struct tree_attr *attr)
{
	struct timespec times[2];
	int r = set_owner_mode(fd, attr);

	times_of(times, attr);
	if (!r && futimens(fd, times) < 0)
		r = -errno;
	return r;
}

static int remember_time(struct tree *tree, struct timespec mtime)
{
	size_t bytes = sizeof(struct tree_time) + strlen(tree->path) + 1;

	if (tree->time_bytes + bytes > TIME_BYTES_MAX)
		return 0;
	if (tree->n_times == tree->max_times) {
		size_t max = tree->max_times ? 2 * tree->max_times : 64;
		void *p = reallocarray(tree->times, max, sizeof(*tree->times));

		if (!p)
			return -ENOMEM;
		tree->times = p;
		tree->max_times = max;
	}
	tree->times[tree->n_times].path = strdup(tree->path);
	if (!tree->times[tree->n_times].path)
		return -ENOMEM;
	tree->times[tree->n_times++].mtime = mtime;
	tree->time_bytes += bytes;
	return 0;
}

int tree_set_directory(struct tree *tree, int fd, const struct tree_attr *attr)
{
	int r = set_owner_mode(fd, attr);

	return r ? r : remember_time(tree, attr->mtime);
}

/* In the order of the archive, so that of two entries the later one wins. A
 * directory that was replaced since is left alone. */
int tree_finish(struct tree *tree)
{
	for (size_t i = 0; i < tree->n_times; i++) {
		const struct tree_time *t = &tree->times[i];
		const struct timespec times[2] = { t->mtime, t->mtime };
		autoclose int fd = path_open_in_root(
			tree->root, *t->path ? t->path : ".",
			O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0);

		if (fd >= 0 && futimens(fd, times) < 0)
			return -errno;
	}
	return 0;
}

/* Owner and time of what has no descriptor; never follows a link. */
static int set_by_name(const struct tree *tree, const struct tree_attr *attr)
{
	struct timespec times[2];
	struct stat st;

	times_of(times, attr);
	if (fstatat(tree->parent, tree->name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    (!has_owner(&st, attr) &&
	     fchownat(tree->parent, tree->name, attr->uid, attr->gid,
		      AT_SYMLINK_NOFOLLOW) < 0) ||
	    utimensat(tree->parent, tree->name, times, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	return 0;
}

int tree_make_symlink(struct tree *tree, const char *target,
		      const struct tree_attr *attr)
{
	int r = symlinkat(target, tree->parent, tree->name) < 0 ? -errno : 0;

	if (r == -EEXIST || !*tree->name) {
		r = replace(tree);
		if (!r && symlinkat(target, tree->parent, tree->name) < 0)
			r = -errno;
	}
	return r ? r : set_by_name(tree, attr);
}

int tree_make_fifo(struct tree *tree, const struct tree_attr *attr)
{
	int r = replace(tree);

	if (r)
		return r;
	/* fchmodat follows links, and this name was just made exclusively. */
	if (mkfifoat(tree->parent, tree->name, 0600) < 0)
		return -errno;
	r = set_by_name(tree, attr);
	if (!r && fchmodat(tree->parent, tree->name, attr->mode & 07777, 0) < 0)
		r = -errno;
	return r;
}

int tree_make_link(struct tree *tree, const char *existing)
{
	char path[PATH_MAX];
	autoclose int dir = -1;
	char *slash;
	int r = normalise(path, existing);

	if (!r && (!*path || strcmp(path, tree->path) == 0))
		r = -EBADMSG;
	if (r)
		return r;
	slash = strrchr(path, '/');
	if (slash)
		*slash = '\0';
	dir = open_directory(tree, slash ? path : "");
	if (dir < 0)
		return dir;
	r = replace(tree);
	if (r)
		return r;
	if (linkat(dir, slash ? slash + 1 : path, tree->parent, tree->name, 0) <
	    0)
		return -errno;
	return 0;
}

int tree_make_whiteout(struct tree *tree, const char *name)
{
	autoclose int fd = -1;
	struct stat st;

	if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return -EBADMSG;
	if (fstatat(tree->parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
		if (errno != ENOENT ||
		    mknodat(tree->parent, name, S_IFCHR, makedev(0, 0)) < 0)
			return -errno;
		return 0;
	}
	/* This layer's own entry hides the lower ones already, unless it is a
	 * directory, which would merge with theirs. */
	if (!S_ISDIR(st.st_mode))
		return 0;
	fd = openat(tree->parent, name,
		    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd < 0 ? -errno : set_opaque(fd);
}

int tree_make_opaque(struct tree *tree)
{
	autoclose int fd = openat(tree->parent, ".",
				  O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? -errno : set_opaque(fd);
}
