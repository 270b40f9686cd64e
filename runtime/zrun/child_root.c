/* The child's root file system: where it comes from, and how the child gets
 * into it. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "child.h"
#include "kernel.h"

/* The tree becomes a mount of its own where it already lies: pivot_root wants
 * a mount point. One that the parent opened may lie where our user namespace
 * cannot go; it is laid over the old root, which goes away with it. */
int child_root_bind(struct child *c, const struct op *op)
{
	struct mount_attr attr = { .propagation = op->number };
	bool given = op->fd >= 0;
	char onto[4098];
	autoclose int tree = given ? fcntl(op->fd, F_DUPFD_CLOEXEC, 3)
				   : kernel_open_tree(AT_FDCWD, op->path,
						      OPEN_TREE_CLONE |
							      AT_RECURSIVE);

	if (tree < 0)
		return given ? -errno : tree;
	int r = kernel_mount_setattr(tree, AT_RECURSIVE, &attr);

	if (r < 0)
		return r;
	/* With the slash it must be a directory. */
	snprintf(onto, sizeof(onto), "%s/", given ? "" : op->path);
	r = kernel_attach_at(tree, AT_FDCWD, onto);
	if (r < 0)
		return r;
	c->root = fd_take(&tree);
	return 0;
}

static int overlay_layers(int fs, const struct overlay *overlay)
{
	char list[4096];
	size_t n = 0;

	/* Top to bottom. A kernel with lowerdir+ takes them one by one, without
	 * the limit of one page; ours has it, older hosts get the list. */
	for (size_t i = overlay->n_layer; i-- > 0;) {
		int r = kernel_fsconfig(fs, FSCONFIG_SET_STRING, "lowerdir+",
					overlay->layer[i]);

		if (r < 0 && i + 1 < overlay->n_layer)
			return r;
		if (r < 0)
			goto one_list;
	}
	return 0;
one_list:
	for (size_t i = overlay->n_layer; i-- > 0;) {
		n += (size_t)snprintf(list + n, sizeof(list) - n, "%s%s",
				      n ? ":" : "", overlay->layer[i]);
		if (n >= sizeof(list))
			return -E2BIG;
	}
	return kernel_fsconfig(fs, FSCONFIG_SET_STRING, "lowerdir", list);
}

static int overlay_configure(int fs, const struct overlay *overlay)
{
	int r = kernel_fsconfig(fs, FSCONFIG_SET_STRING, "source", "overlay");

	if (r == 0)
		r = overlay_layers(fs, overlay);
	if (r == 0 && overlay->upper)
		r = kernel_fsconfig(fs, FSCONFIG_SET_STRING, "upperdir",
				    overlay->upper);
	if (r == 0 && overlay->upper)
		r = kernel_fsconfig(fs, FSCONFIG_SET_STRING, "workdir",
				    overlay->work);
	if (r == 0 && overlay->is_volatile)
		r = kernel_fsconfig(fs, FSCONFIG_SET_FLAG, "volatile", NULL);
	if (r == 0)
		r = kernel_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL);
	return r;
}

int overlay_mount(const struct overlay *overlay)
{
	autoclose int fs = kernel_fsopen("overlay");

	if (fs < 0)
		return fs;
	int r = overlay_configure(fs, overlay);

	return r < 0 ? r
		     : kernel_fsmount(fs,
				      overlay->upper ? 0 : MOUNT_ATTR_RDONLY);
}

int child_root_overlay(struct child *c, const struct overlay *overlay)
{
	autoclose int mount = overlay_mount(overlay);

	if (mount < 0)
		return mount;
	autoclose int onto = open(overlay->mount_point,
				  O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (onto < 0)
		return child_detail(c, -errno, "%.90s", overlay->mount_point);
	int r = child_attach(c, mount, onto);

	if (r < 0)
		return r;
	c->root = fd_take(&mount);
	return 0;
}

/* Over the root of this mount namespace, which holds nothing but what was made
 * ahead: so there is no old root to be unmounted, for which the kernel would
 * wait, and ".." of the new one leads to itself. */
int child_root_take(struct child *c, int mount)
{
	c->root = mount;
	return child_attach(c, mount, c->stage);
}

int child_root_open(struct child *c, const char *path)
{
	c->root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return c->root < 0 ? -errno : 0;
}

int child_root_enter(struct child *c, int root)
{
	if (fchdir(root >= 0 ? root : c->root) < 0 || chroot(".") < 0)
		return -errno;
	return 0;
}

/* With both arguments "." the old root is stacked over the new one and can be
 * let go without a directory to put it in (pivot_root(2), NOTES). */
int child_pivot(struct child *c)
{
	if (fchdir(c->root) < 0)
		return -errno;
	int r = kernel_pivot_root(".", ".");

	if (r < 0)
		return r;
	/* It does not reach the host: OP_PROPAGATION made the old tree a slave
	 * at most. */
	r = kernel_umount(".", KERNEL_MNT_DETACH);
	if (r == 0 && chdir("/") < 0)
		r = -errno;
	return r;
}

/* pivot_root(2) refuses to leave the initial ramfs, and its mount stays below;
 * without CAP_SYS_CHROOT nobody reaches it. */
int child_move_root(struct child *c)
{
	if (fchdir(c->root) < 0)
		return -errno;
	int r = kernel_mount(".", "/", NULL, MS_MOVE, NULL);

	if (r == 0 && (chroot(".") < 0 || chdir("/") < 0))
		r = -errno;
	return r;
}

int child_root_here(struct child *c)
{
	c->root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	return c->root < 0 ? -errno : 0;
}
