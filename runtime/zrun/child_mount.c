/* The child's mounts.
 *
 * Who chose the paths: destinations come from the config, but what they lead
 * to is decided by the image and by other containers that share a volume and
 * may swap a directory for a link at any moment. So a destination is resolved
 * once, with the root file system as "/", to a descriptor; the mount is made
 * detached and attached to that descriptor. No path is ever used twice. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "child.h"
#include "kernel.h"
#include "mount_source.h"

int child_open(struct child *c, const char *path, int flags)
{
	while (*path == '/')
		path++;
	return path_open_in_root(c->root, *path ? path : ".", flags, 0);
}

int child_propagation(uint64_t flags)
{
	return kernel_mount(NULL, "/", NULL, flags, NULL);
}

/* Makes one missing component: parent is path up to `end`, of which the last
 * name begins at `name`. */
static int make_one(struct child *c, char *path, char *name, bool directory)
{
	autoclose int dir = -1;

	if (name == path) {
		dir = child_open(c, "/", O_PATH | O_DIRECTORY);
	} else {
		name[-1] = '\0';
		dir = child_open(c, path, O_PATH | O_DIRECTORY);
		name[-1] = '/';
	}
	if (dir < 0)
		return dir;
	if (directory)
		return mkdirat(dir, name, 0755) < 0 && errno != EEXIST ? -errno
								       : 0;
	autoclose int fd = openat(
		dir, name,
		O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0644);

	return fd < 0 ? -errno : 0;
}

/* Makes path, which is missing: mostly in a directory that is there. */
static int make_missing(struct child *c, const char *path, bool directory)
{
	char copy[4096];

	while (*path == '/')
		path++;
	int n = snprintf(copy, sizeof(copy), "%s", path);

	while (n > 0 && copy[n - 1] == '/')
		copy[--n] = '\0';
	if (n <= 0 || (size_t)n >= sizeof(copy))
		return -ENAMETOOLONG;
	char *last = strrchr(copy, '/');
	int made = make_one(c, copy, last ? last + 1 : copy, directory);

	if (made != -ENOENT)
		return made;
	for (char *name = copy;;) {
		char *slash = strchr(name, '/');

		if (slash)
			*slash = '\0';
		autoclose int fd = child_open(c, copy, O_PATH);
		int r = fd == -ENOENT
				? make_one(c, copy, name, directory || slash)
				: fd;

		if (r < 0)
			return r;
		if (!slash)
			return 0;
		*slash = '/';
		name = slash + 1;
		while (*name == '/')
			name++;
	}
}

int child_make(struct child *c, const char *path, bool directory)
{
	autoclose int there = child_open(c, path, O_PATH);

	if (there != -ENOENT)
		return there < 0 ? there : 0;
	return make_missing(c, path, directory);
}

/* /proc and /sys reached by a link of the image would lie elsewhere than every
 * program, and the list of masked paths, believe. */
static bool wants_directory(const struct runtime_mount *m)
{
	return strcmp(m->type, "proc") == 0 || strcmp(m->type, "sysfs") == 0;
}

/* Opens the place to mount on, made when missing. */
static int open_target(struct child *c, const struct runtime_mount *m,
		       bool directory)
{
	const char *path = m->destination;
	bool nofollow = m->destination_nofollow || wants_directory(m);
	int flags = O_PATH | (nofollow ? O_NOFOLLOW : 0);
	int fd = child_open(c, path, flags);

	if (fd >= 0)
		return fd; /* also a link that leads nowhere */
	int r = fd == -ENOENT ? make_missing(c, path, directory) : fd;

	if (r < 0)
		return child_detail(c, r, "make %.80s in the root", path);
	fd = child_open(c, path, flags);

	if (fd < 0)
		return child_detail(c, fd, "open %.80s in the root", path);
	return fd;
}

static int attach(struct child *c, int mount, int onto)
{
	int r = kernel_attach(mount, onto);

	return r < 0 ? child_detail(c, r, "attach the mount") : r;
}

/* The tree becomes a mount of its own where it already lies: pivot_root wants
 * a mount point. One that the parent opened may lie where our user namespace
 * cannot go; it is laid over the old root, which goes away with it. */
int child_root_bind(struct child *c, const struct op *op)
{
	struct mount_attr attr = { .propagation = op->number };
	bool given = op->fd >= 0;
	autoclose int tree = given ? fcntl(op->fd, F_DUPFD_CLOEXEC, 3)
				   : kernel_open_tree(AT_FDCWD, op->path,
						      OPEN_TREE_CLONE |
							      AT_RECURSIVE);

	if (tree < 0)
		return given ? -errno : tree;
	int r = kernel_mount_setattr(tree, AT_RECURSIVE, &attr);

	if (r < 0)
		return r;
	autoclose int onto = openat(AT_FDCWD, given ? "/" : op->path,
				    O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (onto < 0)
		return -errno;
	r = attach(c, tree, onto);
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
	int r = attach(c, mount, onto);

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
	return attach(c, mount, c->stage);
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

/* Makes the file system describe its refusal in the kernel's own words. */
static int fs_refused(struct child *c, int fs, int error)
{
	char line[sizeof(c->detail)];
	ssize_t n = read(fs, line, sizeof(line) - 1);

	if (n <= 0)
		return error;
	line[n] = '\0';
	if (line[n - 1] == '\n')
		line[n - 1] = '\0';
	/* Without the letter of its level: "e tmpfs: ...". */
	return child_detail(c, error, "%s",
			    n > 2 && line[1] == ' ' ? line + 2 : line);
}

static int fs_option(struct child *c, int fs, const char *option)
{
	const char *equals = strchr(option, '=');
	char key[64];

	if (!equals) {
		int r = kernel_fsconfig(fs, FSCONFIG_SET_FLAG, option, NULL);

		return r < 0 ? child_detail(c, r, "option %.60s", option) : 0;
	}
	size_t n = (size_t)(equals - option);

	if (n >= sizeof(key))
		return child_detail(c, -EINVAL, "option %.60s", option);
	memcpy(key, option, n);
	key[n] = '\0';
	int r = kernel_fsconfig(fs, FSCONFIG_SET_STRING, key, equals + 1);

	return r < 0 ? child_detail(c, r, "option %.60s", option) : 0;
}

/* File systems that have one instance, or none on a device: a superblock made
 * read-only would be so for others too, or not at all. The mount is. */
static bool is_pseudo(const char *type)
{
	static const char *const types[] = { "proc",   "sysfs",	 "cgroup2",
					     "mqueue", "devpts", "tmpfs" };

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (strcmp(type, types[i]) == 0)
			return true;
	}
	return false;
}

static int fs_configure(struct child *c, int fs, const struct runtime_mount *m)
{
	static const struct {
		uint32_t flag;
		const char *key;
	} flags[] = {
		{ RUNTIME_SB_RDONLY, "ro" },
		{ RUNTIME_SB_SYNC, "sync" },
		{ RUNTIME_SB_DIRSYNC, "dirsync" },
		{ RUNTIME_SB_LAZYTIME, "lazytime" },
	};
	int r = 0;

	if (m->source && m->source[0])
		r = kernel_fsconfig(fs, FSCONFIG_SET_STRING, "source",
				    m->source);
	for (size_t i = 0; r == 0 && i < sizeof(flags) / sizeof(flags[0]);
	     i++) {
		if (!(m->sb_set & flags[i].flag))
			continue;
		if (flags[i].flag == RUNTIME_SB_RDONLY && is_pseudo(m->type))
			continue;
		r = kernel_fsconfig(fs, FSCONFIG_SET_FLAG, flags[i].key, NULL);
	}
	for (size_t i = 0; r == 0 && i < m->data.n; i++)
		r = fs_option(c, fs, m->data.item[i]);
	if (r == 0)
		r = kernel_fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL);
	return r;
}

static int mount_idmap(struct child *c, int mount, int userns)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_IDMAP,
				   .userns_fd = (uint64_t)userns };
	int r = kernel_mount_setattr(mount, 0, &attr);

	return r < 0 ? child_detail(c, r, "idmap") : 0;
}

int child_mount_new(struct child *c, const struct runtime_mount *m)
{
	autoclose int fs = kernel_fsopen(m->type);

	if (fs < 0)
		return child_detail(c, fs, "file system type %.40s", m->type);
	int r = fs_configure(c, fs, m);

	if (r < 0)
		return fs_refused(c, fs, r);
	/* What is to be filled gets its attributes afterwards. */
	r = kernel_fsmount(fs, m->copy_up ? 0 : (unsigned)m->attr_set);
	return r < 0 ? fs_refused(c, fs, r) : r;
}

/* Attributes and propagation of a detached tree. Clearing an attribute that is
 * not there would still be refused in a user namespace where it is locked. */
static int mount_dress(int mount, const struct runtime_mount *m)
{
	uint64_t atime = (m->attr_set | m->attr_clear) & MOUNT_ATTR__ATIME;
	struct mount_attr attr = { .attr_set = m->attr_set,
				   .attr_clr = m->attr_clear,
				   .propagation = m->propagation };
	struct mount_attr tree = { .attr_set = m->tree_attr_set,
				   .attr_clr = m->tree_attr_clear,
				   .propagation = m->tree_propagation };
	int r = 0;

	if (!atime)
		attr.attr_clr &= ~(uint64_t)MOUNT_ATTR__ATIME;
	if (!tree.propagation && !attr.propagation)
		tree.propagation = MS_PRIVATE;
	if (tree.attr_set || tree.attr_clr || tree.propagation)
		r = kernel_mount_setattr(mount, AT_RECURSIVE, &tree);
	if (r == 0 && (attr.attr_set || attr.attr_clr || attr.propagation))
		r = kernel_mount_setattr(mount, 0, &attr);
	return r;
}

/* A new file system has its attributes from fsmount(2) and no peers. */
static bool is_dressed(const struct runtime_mount *m, bool directory)
{
	return !m->bind && directory && !m->copy_up && !m->propagation &&
	       !m->tree_propagation && !m->tree_attr_set;
}

/* The tree to bind: given by the parent (already detached), or cloned here. */
static int bind_source(const struct runtime_mount *m, int fd)
{
	if (fd < 0)
		return mount_source_tree(m);
	int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);

	return copy < 0 ? -errno : copy;
}

static int mount_bound(struct child *c, const struct runtime_mount *m,
		       int source, bool *directory)
{
	struct stat st;
	int tree = bind_source(m, source);

	if (tree < 0)
		return child_detail(c, tree, "source %.90s", m->source);
	if (fstat(tree, &st) < 0) {
		int r = -errno;

		close(tree);
		return r;
	}
	*directory = S_ISDIR(st.st_mode);
	return tree;
}

static int remount(struct child *c, const struct runtime_mount *m)
{
	autoclose int at = child_open(c, m->destination, O_PATH);

	return at < 0 ? at : mount_dress(at, m);
}

/* The option copy-symlink: a source that is a link becomes one. 1 when done. */
static int copy_symlink(struct child *c, const struct runtime_mount *m)
{
	char target[4096];
	ssize_t n = readlinkat(AT_FDCWD, m->source, target, sizeof(target) - 1);

	if (n < 0)
		return errno == EINVAL ? 0
				       : child_detail(c, -errno, "source %.90s",
						      m->source);
	target[n] = '\0';
	int r = child_symlink(c, m->destination, target);

	return r < 0 ? r : 1;
}

/* What a new file system gets while it is not attached. */
static int fill_new(struct child *c, const struct runtime_mount *m, int mount,
		    int userns)
{
	int r = userns >= 0 ? mount_idmap(c, mount, userns) : 0;

	if (r == 0 && m->copy_up) {
		r = child_copy_up(c, m->destination, mount);
		if (r < 0)
			child_detail(c, r, "tmpcopyup");
	}
	return r;
}

static int mount_make(struct child *c, const struct runtime_mount *m,
		      int source, bool *directory)
{
	if (m->bind)
		return mount_bound(c, m, source, directory);
	*directory = strcmp(m->type, "file") != 0;
	return *directory ? child_mount_new(c, m) : child_file(c, m);
}

/* Which of the trees that hold masked paths `path` lies in, made the rest of
 * the path there; NULL: in none. */
static int *kernel_tree(struct child *c, const char **path)
{
	const char *p = *path + strspn(*path, "/");
	size_t n = strcspn(p, "/");
	int *tree = n == 4 && memcmp(p, "proc", n) == 0	 ? &c->proc
		    : n == 3 && memcmp(p, "sys", n) == 0 ? &c->sys
							 : NULL;

	*path = p + n + strspn(p + n, "/");
	return tree;
}

/* Opens what is to be hidden. A root may be shared, and whoever else has it
 * could give /proc another name meanwhile: what lies in it is looked up from
 * the mount itself. */
static int open_hidden(struct child *c, const char *path)
{
	const char *rest = path;
	const int *tree = kernel_tree(c, &rest);

	if (!tree || *tree < 0 || !*rest || strstr(rest, ".."))
		return child_open(c, path, O_PATH);
	return path_open_in_root(*tree, rest, O_PATH, 0);
}

static void keep_kernel_tree(struct child *c, const char *path, int *mount)
{
	int *tree = kernel_tree(c, &path);

	if (!tree || *path)
		return;
	fd_close(tree);
	*tree = fd_take(mount);
}

static int check_target(struct child *c, const struct runtime_mount *m,
			int onto)
{
	struct stat st;

	if (!wants_directory(m) ||
	    (fstat(onto, &st) == 0 && S_ISDIR(st.st_mode)))
		return 0;
	return child_detail(c, -ENOTDIR, "%s must be mounted on a directory",
			    m->type);
}

int child_mount(struct child *c, const struct runtime_mount *m, int source)
{
	bool directory = true;

	if (m->remount)
		return remount(c, m);
	int r = m->copy_symlink && m->bind && source < 0 ? copy_symlink(c, m)
							 : 0;

	if (r != 0)
		return r < 0 ? r : 0;
	autoclose int mount = mount_make(c, m, source, &directory);

	if (mount < 0)
		return mount;
	autoclose int onto = open_target(c, m, directory);

	if (onto < 0)
		return onto;
	r = check_target(c, m, onto);
	if (r < 0)
		return r;
	if (m->bind)
		r = m->fill && directory
			    ? child_volume_fill(c, m->destination, mount)
			    : 0;
	else
		r = fill_new(c, m, mount, source);
	if (r < 0)
		return r;
	r = is_dressed(m, directory) ? 0 : mount_dress(mount, m);
	if (r < 0)
		return child_detail(c, r, "options");
	r = attach(c, mount, onto);
	if (r == 0)
		keep_kernel_tree(c, m->destination, &mount);
	return r;
}

int child_move(struct child *c, const struct runtime_mount *m)
{
	autoclose int from = path_open_in_root(c->stage, m->destination + 1,
					       O_PATH, 0);
	autoclose int onto = from < 0 ? from : open_target(c, m, true);

	if (onto < 0)
		return onto;
	int r = check_target(c, m, onto);

	if (r < 0)
		return r;
	return attach(c, from, onto);
}

/* The host's /dev/null, and truly that: a container's own could be anything. */
static int null_tree(struct child *c)
{
	struct mount_attr readonly = { .attr_set = MOUNT_ATTR_RDONLY };
	struct stat st;
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
 * is cloned for the others. */
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
	return child_mount_new(c, &empty);
}

int child_mask(struct child *c, const char *path)
{
	struct stat st;

	autoclose int onto = open_hidden(c, path);

	if (onto == -ENOENT || onto == -ENOTDIR)
		return 0;
	if (onto < 0 || fstat(onto, &st) < 0)
		return onto < 0 ? onto : -errno;
	autoclose int mount = S_ISDIR(st.st_mode) ? empty_tree(c)
						  : null_tree(c);

	if (mount < 0)
		return mount;
	int r = attach(c, mount, onto);

	if (r == 0 && S_ISDIR(st.st_mode) && c->mask < 0)
		c->mask = fd_take(&mount);
	return r;
}

int child_readonly(struct child *c, const char *path)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };

	autoclose int onto = open_hidden(c, path);

	if (onto == -ENOENT || onto == -ENOTDIR)
		return 0;
	if (onto < 0)
		return onto;
	autoclose int tree = kernel_open_tree(
		onto, "", OPEN_TREE_CLONE | AT_RECURSIVE | AT_EMPTY_PATH);

	if (tree < 0)
		return tree;
	int r = kernel_mount_setattr(tree, AT_RECURSIVE, &attr);

	return r < 0 ? r : attach(c, tree, onto);
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

/* What is open is named by the host's /proc: a path could change meanwhile. */
int child_unmount(struct child *c, const char *path)
{
	autoclose int at = child_open(c, path, O_PATH | O_NOFOLLOW);
	char name[32];

	if (at < 0)
		return at;
	snprintf(name, sizeof(name), "self/fd/%d", at);
	if (fchdir(c->host_proc) < 0)
		return -errno;
	return kernel_umount(name, KERNEL_MNT_DETACH);
}
