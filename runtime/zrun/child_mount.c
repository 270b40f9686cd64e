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
#include "label.h"
#include "mount_source.h"

enum { MAKE_SIZE = 4096, LINKS_MAX = 40 /* as the kernel */ };

int child_open(struct child *c, const char *path, int flags)
{
	while (*path == '/')
		path++;
	return path_open_in_root(c->root, *path ? path : ".", flags, 0);
}

int child_go(struct child *c, int dir)
{
	if (c->here == dir)
		return 0;
	c->here = -1;
	if (fchdir(dir) < 0)
		return -errno;
	c->here = dir;
	return 0;
}

void child_forget(struct child *c, int *dir)
{
	if (c->here == *dir)
		c->here = -1;
	fd_close(dir);
}

int child_propagation(uint64_t flags)
{
	return kernel_mount(NULL, "/", NULL, flags, NULL);
}

static int make_entry(int dir, const char *name, bool directory)
{
	if (directory)
		return mkdirat(dir, name, 0755) < 0 ? -errno : 0;
	autoclose int fd = openat(dir, name,
				  O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW |
					  O_NONBLOCK | O_CLOEXEC,
				  0644);

	return fd < 0 ? -errno : 0;
}

/* Makes one missing component, the last of path, whose name begins at `name`.
 */
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
	int r = make_entry(dir, name, directory);

	if (r == 0)
		made_note(c->made, path);
	return r;
}

/* Puts in place of the name that ends at `end` what the link of that name says,
 * before what comes behind; it is all taken from the root again. */
static int make_follow(char path[static MAKE_SIZE], const char *name,
		       const char *end, int link)
{
	char target[MAKE_SIZE], whole[MAKE_SIZE];
	ssize_t size = readlinkat(link, "", target, sizeof(target) - 1);

	if (size <= 0)
		return size < 0 ? -errno : -ENOENT;
	target[size] = '\0';
	int before = target[0] == '/' ? 0 : (int)(name - path);
	int n = snprintf(whole, sizeof(whole), "%.*s%s%s", before, path, target,
			 end);

	if ((size_t)n >= sizeof(whole))
		return -ENAMETOOLONG;
	memcpy(path, whole, (size_t)n + 1);
	return 0;
}

/* One component that is not there: made, or a link that leads to nothing yet,
 * which is followed. Returns 1 when the path is another one now. */
static int make_step(struct child *c, char path[static MAKE_SIZE], char *name,
		     char *end, bool directory)
{
	char rest = *end;

	*end = '\0';
	autoclose int there = child_open(c, path, O_PATH);
	autoclose int link = there == -ENOENT
				     ? child_open(c, path, O_PATH | O_NOFOLLOW)
				     : -1;
	int r = there == -ENOENT && link < 0
			? make_one(c, path, name, directory || rest)
			: there;

	*end = rest;
	if (link >= 0)
		r = make_follow(path, name, end, link);
	if (r < 0)
		return r == -EEXIST ? 0 : r;
	return link >= 0;
}

/* Component by component, links followed as the kernel does, within the root:
 * images have links to what is made only when they run. */
static int make_all(struct child *c, char path[static MAKE_SIZE],
		    bool directory)
{
	for (int links = 0; links < LINKS_MAX; links++) {
		char *name = path;
		int r = 0;

		for (; r == 0 && *name; name += strcspn(name, "/")) {
			name += strspn(name, "/");
			if (*name)
				r = make_step(c, path, name,
					      name + strcspn(name, "/"),
					      directory);
		}
		if (r <= 0)
			return r;
	}
	return -ELOOP;
}

/* Makes path, which is missing: mostly in a directory that is there. */
static int make_missing(struct child *c, const char *path, bool directory)
{
	char copy[MAKE_SIZE];

	while (*path == '/')
		path++;
	int n = snprintf(copy, sizeof(copy), "%s", path);

	while (n > 0 && copy[n - 1] == '/')
		copy[--n] = '\0';
	if (n <= 0 || (size_t)n >= sizeof(copy))
		return -ENAMETOOLONG;
	char *last = strrchr(copy, '/');
	int made = make_one(c, copy, last ? last + 1 : copy, directory);

	/* There, or a link: what it leads to is missing. */
	return made == -ENOENT || made == -EEXIST || made == -ELOOP
		       ? make_all(c, copy, directory)
		       : made;
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
	int flags = O_PATH | (nofollow ? O_NOFOLLOW : 0) |
		    (wants_directory(m) ? O_DIRECTORY : 0);
	int fd = child_open(c, path, flags);

	if (fd >= 0)
		return fd; /* also a link that leads nowhere */
	if (wants_directory(m) && (fd == -ENOTDIR || fd == -ELOOP))
		return child_detail(c, -ENOTDIR,
				    "%s must be mounted on a directory",
				    m->type);
	int r = fd == -ENOENT ? make_missing(c, path, directory) : fd;

	if (r < 0)
		return child_detail(c, r, "make %.80s in the root", path);
	fd = child_open(c, path, flags);

	if (fd < 0)
		return child_detail(c, fd, "open %.80s in the root", path);
	return fd;
}

int child_attach(struct child *c, int mount, int onto)
{
	int r = kernel_attach(mount, onto);
	struct stat from, to;

	/* Which the kernel calls an invalid argument. */
	if (r == -EINVAL && fstat(mount, &from) == 0 && fstat(onto, &to) == 0 &&
	    S_ISDIR(from.st_mode) != S_ISDIR(to.st_mode))
		return child_detail(c, -ENOTDIR, "attach %s",
				    S_ISDIR(to.st_mode)
					    ? "a file to a directory"
					    : "a directory to a file");
	return r < 0 ? child_detail(c, r, "attach the mount") : r;
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
	if (r == 0 && c->config->mount_label && label_is_of(m->type)) {
		r = kernel_fsconfig(fs, FSCONFIG_SET_STRING, "context",
				    c->config->mount_label);
		if (r < 0)
			return child_detail(c, r, "linux.mountLabel");
	}
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
	autoleave int fs = kernel_fsopen(m->type);

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

int *child_kernel_tree(struct child *c, const char **path)
{
	const char *p = *path + strspn(*path, "/");
	size_t n = strcspn(p, "/");
	int *tree = n == 4 && memcmp(p, "proc", n) == 0	 ? &c->proc
		    : n == 3 && memcmp(p, "sys", n) == 0 ? &c->sys
							 : NULL;

	*path = p + n + strspn(p + n, "/");
	return tree;
}

static void keep_kernel_tree(struct child *c, const struct runtime_mount *m,
			     int *mount)
{
	const char *path = m->destination;
	int *tree = child_kernel_tree(c, &path);

	if (!tree || *path)
		return;
	child_forget(c, tree);
	*tree = fd_take(mount);
	*(tree == &c->proc ? &c->proc_is_new
			   : &c->sys_is_new) = !m->bind && wants_directory(m);
}

bool child_is_fresh(const struct child *c, const char *path, size_t n)
{
	return c->fresh >= 0 && strlen(c->fresh_path) == n &&
	       memcmp(c->fresh_path, path, n) == 0;
}

/* Nobody else reaches it, unless mounts made here appear elsewhere. */
static void keep_fresh(struct child *c, const struct runtime_mount *m,
		       int *mount)
{
	struct stat st;

	if (m->bind || strcmp(m->type, "tmpfs") != 0 || m->copy_up ||
	    *mount < 0 || (c->config->rootfs_propagation & MS_SHARED) ||
	    fstat(*mount, &st) < 0)
		return;
	child_forget(c, &c->fresh);
	c->fresh = fd_take(mount);
	c->fresh_path = m->destination;
	c->fresh_has_group = st.st_mode & S_ISGID;
}

/* A mount may hide it, by whatever link its place is named: but one that lies
 * in it, or among the kernel's own names. */
static void forget_fresh(struct child *c, const struct runtime_mount *m)
{
	const char *at = m->destination, *rest = at;
	const int *tree = child_kernel_tree(c, &rest);
	size_t n = c->fresh < 0 ? 0 : strlen(c->fresh_path);
	bool kernels = tree && (*rest ? *tree >= 0 : wants_directory(m));
	bool inside = n && strncmp(c->fresh_path, at, n) == 0 && at[n] == '/' &&
		      at[n + 1] && at[n + 1] != '/';

	if (c->fresh >= 0 && ((!kernels && !inside) || strstr(at, "..")))
		child_forget(c, &c->fresh);
}

/* What masked paths are looked up in is kept by its descriptor. */
static bool is_kernel_tree(struct child *c, const char *path)
{
	return child_kernel_tree(c, &path) && !*path;
}

/* Where a directory is mounted on one name in the root, or where cgroups are
 * always: there the name alone is as good as a descriptor, since it is looked
 * up once and no link is followed. NULL: it takes a search. */
static const char *name_of_target(struct child *c,
				  const struct runtime_mount *m, bool directory,
				  int *dir)
{
	const char *at = m->destination, *rest = at;
	const int *tree = child_kernel_tree(c, &rest);

	if (!directory || m->copy_up || m->fill)
		return NULL;
	*dir = c->root;
	if (tree == &c->sys && *tree >= 0 && c->sys_is_new &&
	    strcmp(m->type, "cgroup2") == 0 && strcmp(rest, "fs/cgroup") == 0) {
		*dir = *tree;
		return rest;
	}
	at += at[0] == '/';
	return *at && *at != '.' && !strchr(at, '/') ? at : NULL;
}

/* False: it is not there, or no directory; the longer way sees to that. */
static bool attach_by_name(struct child *c, const struct runtime_mount *m,
			   int mount, bool directory)
{
	int dir = -1;
	const char *name = name_of_target(c, m, directory, &dir);

	return name && kernel_attach_name(mount, dir, name) == 0;
}

/* What it takes is done before it is attached: nobody sees it half made. */
static int mount_finish(struct child *c, const struct runtime_mount *m,
			int source, int mount, bool directory)
{
	int r = 0;

	if (!m->bind)
		r = fill_new(c, m, mount, source);
	else if (m->fill && directory)
		r = child_volume_fill(c, m->destination, mount);
	if (r < 0 || is_dressed(m, directory))
		return r;
	r = mount_dress(mount, m);
	return r < 0 ? child_detail(c, r, "options") : 0;
}

static int mount_onto(struct child *c, const struct runtime_mount *m,
		      int source, int mount, bool directory)
{
	bool needs_target = m->copy_up || m->fill;
	autoleave int onto = needs_target ? open_target(c, m, directory) : -1;

	if (needs_target && onto < 0)
		return onto;
	int r = mount_finish(c, m, source, mount, directory);

	if (r < 0 || attach_by_name(c, m, mount, directory))
		return r;
	if (onto < 0)
		onto = open_target(c, m, directory);
	return onto < 0 ? onto : child_attach(c, mount, onto);
}

int child_mount(struct child *c, const struct runtime_mount *m, int source)
{
	bool directory = true;

	if (m->remount)
		return remount(c, m);
	forget_fresh(c, m);
	if (is_dressed(m, true) && source < 0 && is_pseudo(m->type) &&
	    !wants_directory(m) && !is_kernel_tree(c, m->destination) &&
	    child_plain(c, m))
		return 0;
	int r = m->copy_symlink && m->bind && source < 0 ? copy_symlink(c, m)
							 : 0;

	if (r != 0)
		return r < 0 ? r : 0;
	autoleave int mount = mount_make(c, m, source, &directory);

	if (mount < 0)
		return mount;
	r = mount_onto(c, m, source, mount, directory);
	if (r < 0)
		return r;
	keep_kernel_tree(c, m, &mount);
	keep_fresh(c, m, &mount);
	return 0;
}

int child_move(struct child *c, const struct runtime_mount *m)
{
	autoclose int from = path_open_in_root(c->stage, m->destination + 1,
					       O_PATH, 0);
	autoclose int onto = from < 0 ? from : open_target(c, m, true);

	if (onto < 0)
		return onto;
	return child_attach(c, from, onto);
}

/* What is open is named by the host's /proc: a path could change meanwhile. */
int child_unmount(struct child *c, const char *path)
{
	autoclose int at = child_open(c, path, O_PATH | O_NOFOLLOW);
	char name[32];

	if (at < 0)
		return at;
	snprintf(name, sizeof(name), "self/fd/%d", at);
	int r = child_go(c, c->host_proc);

	return r < 0 ? r : kernel_umount(name, KERNEL_MNT_DETACH);
}
