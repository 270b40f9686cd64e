/* Masked and read-only paths.
 *
 * They are looked for in the mounts of /proc and /sys themselves, not by way of
 * the root: that may be shared, and whoever else has it could give /proc
 * another name meanwhile. What is one name of a file system that the kernel
 * filled just now nobody can make lead elsewhere: there mount(2), which takes
 * names, hides it by one call. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "child.h"
#include "kernel.h"

static int open_hidden(struct child *c, const char *path)
{
	const char *rest = path;
	const int *tree = child_kernel_tree(c, &rest);
	int fd = !tree || *tree < 0 || !*rest || strstr(rest, "..")
			 ? child_open(c, path, O_PATH)
			 : path_open_in_root(*tree, rest, O_PATH, 0);

	return fd == -ENOTDIR ? -ENOENT : fd;
}

/* The tree of ours that holds path by one name; -1: it takes a search. */
static int kernel_directory(struct child *c, const char *path,
			    const char **name)
{
	const int *tree = child_kernel_tree(c, &path);
	bool is_new = tree == &c->proc ? c->proc_is_new : c->sys_is_new;

	*name = path;
	return tree && *tree >= 0 && is_new && *path && !strchr(path, '/') &&
			       path[0] != '.'
		       ? *tree
		       : -1;
}

/* The host's /dev/null, and truly that: a container's own could be anything. */
static int null_tree(struct child *c)
{
	struct mount_attr readonly = { .attr_set = MOUNT_ATTR_RDONLY };
	struct stat st;

	if (c->null >= 0)
		return kernel_open_tree(c->null, "",
					OPEN_TREE_CLONE | AT_EMPTY_PATH);
	int tree = kernel_open_tree(AT_FDCWD, "/dev/null", OPEN_TREE_CLONE);

	if (tree < 0)
		return child_detail(c, tree, "/dev/null of the host");
	if (fstat(tree, &st) == 0 && is_null(&st)) {
		/* Or its mode could be changed there. */
		int r = kernel_mount_setattr(tree, 0, &readonly);

		if (r == 0)
			return tree;
		close(tree);
		return child_detail(c, r, "/dev/null of the host");
	}
	close(tree);
	return child_detail(c, -ENODEV,
			    "/dev/null of the host is no null "
			    "device");
}

/* One empty read-only tmpfs masks all directories: attached to the first, it
 * is cloned for the others; that of buds is one for all of them. */
static int empty_tree(struct child *c)
{
	static const struct runtime_mount empty = {
		.type = "tmpfs",
		.source = "tmpfs",
		.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID |
			    MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC,
	};

	if (c->mask >= 0)
		return kernel_open_tree(c->mask, "",
					OPEN_TREE_CLONE | AT_EMPTY_PATH);
	if (c->stage >= 0)
		return kernel_open_tree(c->stage, CHILD_STAGE_MASK,
					OPEN_TREE_CLONE);
	return child_mount_new(c, &empty);
}

/* What was attached first is what the others are cloned from. */
static int mask_found(struct child *c, int at)
{
	struct stat st;

	if (fstat(at, &st) < 0)
		return -errno;
	bool directory = S_ISDIR(st.st_mode);
	int *first = directory ? &c->mask : &c->null;
	autoleave int mount = directory ? empty_tree(c) : null_tree(c);

	if (mount < 0)
		return mount;
	int r = kernel_attach(mount, at);

	if (r == 0 && *first < 0)
		*first = fd_take(&mount);
	return r;
}

static int mask_first_directory(struct child *c, int dir, const char *name)
{
	if (c->stage < 0)
		return kernel_mount(
			"tmpfs", name, "tmpfs",
			MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
	autoleave int mount = empty_tree(c);

	return mount < 0 ? mount : kernel_attach_at(mount, dir, name);
}

static int mask_directory(struct child *c, int dir, const char *name)
{
	if (c->mask_at == dir)
		return kernel_mount(c->mask_name, name, NULL, MS_BIND, NULL);
	int r = mask_first_directory(c, dir, name);

	if (r == 0) {
		c->mask_at = dir;
		c->mask_name = name;
	}
	return r;
}

static int mask_first_file(struct child *c, int dir, const char *name)
{
	autoleave int mount = null_tree(c);
	int r = mount < 0 ? mount : kernel_attach_at(mount, dir, name);

	if (r < 0)
		return r;
	c->null_at = dir;
	c->null_name = name;
	if (c->null < 0)
		c->null = fd_take(&mount);
	return 0;
}

/* A name in dir, the working directory. -ENOENT when it is not there. */
static int mask_name(struct child *c, int dir, const char *name)
{
	struct stat st;

	if (c->null_at == dir) {
		int r = kernel_mount(c->null_name, name, NULL, MS_BIND, NULL);

		return r == -ENOTDIR ? mask_directory(c, dir, name) : r;
	}
	if (fstatat(dir, name, &st, 0) < 0)
		return -errno;
	return S_ISDIR(st.st_mode) ? mask_directory(c, dir, name)
				   : mask_first_file(c, dir, name);
}

int child_mask(struct child *c, const char *path)
{
	const char *name;
	/* A label is more than mount(2) is told here. */
	int dir = c->config->mount_label ? -1
					 : kernel_directory(c, path, &name);
	autoclose int at = dir < 0 ? open_hidden(c, path) : -1;
	int r = dir < 0 ? at : child_go(c, dir);

	if (r >= 0)
		r = dir < 0 ? mask_found(c, at) : mask_name(c, dir, name);
	return r == -ENOENT ? 0 : r;
}

static int readonly_found(int at)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };
	autoclose int tree = kernel_open_tree(
		at, "", OPEN_TREE_CLONE | AT_RECURSIVE | AT_EMPTY_PATH);
	int r = tree < 0 ? tree
			 : kernel_mount_setattr(tree, AT_RECURSIVE, &attr);

	return r < 0 ? r : kernel_attach(tree, at);
}

/* A mount of its own where it lies, and that read-only. */
static int readonly_name(int dir, const char *name)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };
	int r = kernel_mount(name, name, NULL, MS_BIND | MS_REC, NULL);

	return r < 0 ? r
		     : kernel_mount_setattr_at(dir, name, AT_RECURSIVE, &attr);
}

int child_readonly(struct child *c, const char *path)
{
	const char *name;
	int dir = kernel_directory(c, path, &name);
	autoclose int at = dir < 0 ? open_hidden(c, path) : -1;
	int r = dir < 0 ? at : child_go(c, dir);

	if (r >= 0)
		r = dir < 0 ? readonly_found(at) : readonly_name(dir, name);
	return r == -ENOENT ? 0 : r;
}
