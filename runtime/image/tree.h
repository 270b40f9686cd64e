/* Making files beneath one directory at paths that a foreign archive names.
 *
 * Rule of use: every path is resolved by openat2(2) with the tree's directory
 * as "/", as it will be inside the container: ".." is refused, a symbolic link
 * of the archive leads at most to the top of the tree. The last component is
 * made by its name in a held parent directory and never followed. What is
 * already there under the name is replaced, except a directory by a directory.
 *
 * Marks of the overlay file system: a whiteout is a character device 0:0, an
 * opaque directory has trusted.overlay.opaque=y (kernel,
 * filesystems/overlayfs.rst). */
#ifndef IMAGE_TREE_H
#define IMAGE_TREE_H

#include <limits.h>
#include <sys/types.h>
#include <time.h>

struct tree_attr {
	mode_t mode; /* permission bits, set-id and sticky bits */
	uid_t uid;
	gid_t gid;
	struct timespec mtime;
};

/* A directory's time, set at the end since each new entry changes it. */
struct tree_time {
	char *path;
	struct timespec mtime;
};

struct tree {
	int root;
	int parent;	       /* of the path entered last; may be root */
	char path[PATH_MAX];   /* normal form of that path; "" is the root */
	char *name;	       /* its last component, in path */
	char inside[PATH_MAX]; /* path of the directory `parent` */
	struct tree_time *times;
	size_t n_times, max_times;
	size_t time_bytes;
};

/* root stays the caller's and open. */
void tree_open(struct tree *tree, int root);
/* Sets the directories' times. 0 or -errno; tree_close() follows anyway. */
int tree_finish(struct tree *tree);
void tree_close(struct tree *tree);

/* Brings path into its normal form in tree->path and opens its parent,
 * making directories that are missing. -EBADMSG for a path that no image has
 * (empty component ".." or too long), else -errno. */
int tree_enter(struct tree *tree, const char *path);

/* All below act on the path entered last. */

/* A regular file or directory; returns a descriptor that the caller closes,
 * for data, tree_set_...() and extended attributes, or -errno. Of a file's
 * attributes only the mode is used, to need no change later. */
int tree_make_file(struct tree *tree, const struct tree_attr *attr);
int tree_make_directory(struct tree *tree);
/* Owner, mode, time. A directory's time is set by tree_finish(). */
int tree_set_file(int fd, const struct tree_attr *attr);
int tree_set_directory(struct tree *tree, int fd, const struct tree_attr *attr);

int tree_make_symlink(struct tree *tree, const char *target,
		      const struct tree_attr *attr);
int tree_make_fifo(struct tree *tree, const struct tree_attr *attr);
/* A second name for the file at `existing`, which the tree already has. */
int tree_make_link(struct tree *tree, const char *existing);
/* Hides `name` of lower layers, beside the path entered last. */
int tree_make_whiteout(struct tree *tree, const char *name);
/* Hides all that lower layers have in the parent of the path entered last. */
int tree_make_opaque(struct tree *tree);

#endif
