/* The child's device nodes, links and terminal. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <termios.h>
#include <unistd.h>

#include "base/fd.h"
#include "child.h"
#include "kernel.h"

#define DEVPTS_MAGIC 0x1cd1

void child_parent_close(struct child *c)
{
	if (c->parent < 0)
		return;
	close(c->parent);
	c->parent = -1;
}

/* Opens the directory that holds path, made when missing; *name is the last
 * component. It stays open for the next one in the same directory, until
 * something else is done. */
static int open_parent(struct child *c, const char *path, const char **name)
{
	char parent[4096];
	const char *slash = strrchr(path, '/');
	size_t n = slash ? (size_t)(slash - path) : 0;
	struct stat st;

	*name = slash ? slash + 1 : path;
	if (!**name || n >= sizeof(parent) || strcmp(*name, ".") == 0 ||
	    strcmp(*name, "..") == 0)
		return -EINVAL;
	if (child_is_fresh(c, path, n)) {
		c->parent_has_group = c->fresh_has_group;
		return c->fresh;
	}
	if (c->parent >= 0 && c->parent_size == n &&
	    memcmp(c->parent_path, path, n) == 0)
		return c->parent;
	child_parent_close(c);
	memcpy(parent, path, n);
	parent[n] = '\0';
	if (n > 0) {
		int r = child_make(c, parent, true);

		if (r < 0)
			return r;
	}
	int dir = child_open(c, n ? parent : "/", O_PATH | O_DIRECTORY);

	if (dir < 0)
		return dir;
	c->parent = dir;
	c->parent_path = path;
	c->parent_size = n;
	/* What is made in there takes the group of the directory. */
	c->parent_has_group = fstat(dir, &st) < 0 || (st.st_mode & S_ISGID);
	return dir;
}

static mode_t type_bits(char type)
{
	return type == 'c' ? S_IFCHR : type == 'b' ? S_IFBLK : S_IFIFO;
}

/* A node of the image that is exactly the one wanted may stay; anything else
 * of that name is not what the config describes. */
static int check_node(struct child *c, int dir, const char *name,
		      const struct runtime_device *device)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if ((st.st_mode & S_IFMT) != type_bits(device->type))
		return child_detail(c, -EEXIST, "is another kind of file");
	if (device->type != 'p' &&
	    st.st_rdev != makedev(device->major, device->minor))
		return child_detail(c, -EEXIST, "is another device");
	return 0;
}

static int own_node(int dir, const char *name,
		    const struct runtime_device *device)
{
	return kernel_result(fchownat(dir, name, device->uid, device->gid,
				      AT_SYMLINK_NOFOLLOW));
}

/* One that was there is given the owner and mode that the config says. The
 * name was seen to be a node; in a directory that is shared, a link put there
 * now would be followed, so it is opened without. */
static int take_node(struct child *c, int dir, const char *name,
		     const struct runtime_device *device)
{
	int r = check_node(c, dir, name, device);

	if (r == 0)
		r = own_node(dir, name, device);
	if (r < 0)
		return r;
	autoclose int node = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	char self[40];

	if (node < 0)
		return -errno;
	snprintf(self, sizeof(self), "self/fd/%d", node);
	return fchmodat(c->host_proc, self, device->mode, 0) < 0 ? -errno : 0;
}

int child_device(struct child *c, const struct runtime_device *device)
{
	const char *name;
	int dir = open_parent(c, device->path, &name);

	if (dir < 0)
		return dir;
	mode_t mode = type_bits(device->type) | device->mode;

	/* The executor has no umask. */
	if (mknodat(dir, name, mode, makedev(device->major, device->minor)) < 0)
		return errno == EEXIST ? take_node(c, dir, name, device)
				       : -errno;
	if (dir != c->fresh)
		made_note(c->made, device->path);
	if (!device->uid && !device->gid && !c->parent_has_group)
		return 0;
	/* Giving it away takes the bits beyond 0777. */
	return own_node(dir, name, device);
}

int child_device_bind(struct child *c, const struct runtime_device *device)
{
	struct stat st;
	autoclose int tree = kernel_open_tree(AT_FDCWD, device->path,
					      OPEN_TREE_CLONE);

	if (tree < 0)
		return tree;
	if (fstat(tree, &st) < 0)
		return -errno;
	if ((st.st_mode & S_IFMT) != type_bits(device->type) ||
	    st.st_rdev != makedev(device->major, device->minor))
		return child_detail(c, -ENODEV,
				    "the host's is another "
				    "device");
	int r = child_make(c, device->path, false);

	if (r < 0)
		return r;
	autoclose int onto = child_open(c, device->path, O_PATH | O_NOFOLLOW);

	return onto < 0 ? onto : kernel_attach(tree, onto);
}

int child_symlink(struct child *c, const char *path, const char *target)
{
	const char *name;
	int dir = open_parent(c, path, &name);

	if (dir < 0)
		return dir;
	/* What the image has there is the image's choice. */
	if (symlinkat(target, dir, name) < 0)
		return errno == EEXIST ? 0 : -errno;
	if (dir != c->fresh)
		made_note(c->made, path);
	return 0;
}

int child_send_fd(int sock, struct iovec data, int fd)
{
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { .head = {
			      .cmsg_len = CMSG_LEN(sizeof(int)),
			      .cmsg_level = SOL_SOCKET,
			      .cmsg_type = SCM_RIGHTS,
		      } };
	struct msghdr message = { .msg_iov = &data,
				  .msg_iovlen = 1,
				  .msg_control = &control,
				  .msg_controllen = sizeof(control.space) };

	memcpy(CMSG_DATA(&control.head), &fd, sizeof(int));
	while (data.iov_len) {
		ssize_t n = sendmsg(sock, &message, MSG_NOSIGNAL);

		if (n < 0)
			return -errno;
		data.iov_base = (char *)data.iov_base + n;
		data.iov_len -= (size_t)n;
		/* It went with the first bytes. */
		message.msg_control = NULL;
		message.msg_controllen = 0;
	}
	return 0;
}

/* The slave side appears as /dev/console, which the specification wants. */
static int mount_console(struct child *c, int slave)
{
	const char *name;
	int dev = open_parent(c, "/dev/console", &name);

	if (dev < 0)
		return dev;
	autoclose int file = openat(
		dev, name,
		O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);

	if (file < 0)
		return -errno;
	autoclose int onto = openat(dev, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);

	if (onto < 0)
		return -errno;
	autoclose int tree = kernel_open_tree(slave, "",
					      OPEN_TREE_CLONE | AT_EMPTY_PATH);

	return tree < 0 ? tree : kernel_attach(tree, onto);
}

/* Opens a pair in the container's own devpts. The image may have put anything
 * at that path, so the file system is checked, and the slave is taken from the
 * master (TIOCGPTPEER), never by its name. */
static int open_terminal(struct child *c, int *slave)
{
	struct statfs fs;
	int unlock = 0;
	/* exec: the root has been joined, it is "/". */
	int master = c->root >= 0
			     ? child_open(c, "/dev/pts/ptmx", O_RDWR | O_NOCTTY)
			     : open("/dev/pts/ptmx",
				    O_RDWR | O_NOCTTY | O_CLOEXEC);

	if (master == -1)
		master = -errno;
	if (master < 0)
		return child_detail(c, master, "/dev/pts/ptmx");
	if (fstatfs(master, &fs) < 0 || fs.f_type != DEVPTS_MAGIC) {
		close(master);
		return child_detail(c, -ENODEV, "/dev/pts is no devpts");
	}
	if (ioctl(master, TIOCSPTLCK, &unlock) < 0 ||
	    (*slave = ioctl(master, TIOCGPTPEER,
			    O_RDWR | O_NOCTTY | O_CLOEXEC)) < 0) {
		int r = -errno;

		close(master);
		return r;
	}
	return master;
}

int child_terminal(struct child *c)
{
	static char ptmx[] = "/dev/ptmx";
	const struct iovec name = { ptmx, sizeof(ptmx) - 1 };
	int slave = -1;
	autoclose int master = open_terminal(c, &slave);

	if (master < 0)
		return master;
	c->terminal = slave;
	struct winsize size = {
		.ws_row = (unsigned short)c->process->console_height,
		.ws_col = (unsigned short)c->process->console_width,
	};

	if (size.ws_row || size.ws_col)
		ioctl(slave, TIOCSWINSZ, &size);
	if (fchown(slave, c->process->user.uid, (gid_t)-1) < 0)
		return child_detail(c, -errno,
				    "give the terminal to the "
				    "user");
	int r = c->root >= 0 ? mount_console(c, slave) : 0;

	if (r < 0)
		return child_detail(c, r, "/dev/console");
	r = child_send_fd(c->console_socket, name, master);
	return r < 0 ? child_detail(c, r, "console socket") : 0;
}

static int open_null(struct child *c)
{
	struct stat st;
	autoclose int own = openat(AT_FDCWD, "/dev/null",
				   O_RDWR | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK |
					   O_CLOEXEC);

	if (own < 0)
		return child_detail(c, -errno, "/dev/null");
	if (fstat(own, &st) < 0 || !is_null(&st))
		return child_detail(c, -ENODEV, "/dev/null is no null device");
	fcntl(own, F_SETFL, 0);
	return fd_take(&own);
}

/* The null device that we were given is a file of the host, whose mode root of
 * a container could change: it gets that of its own /dev instead. In a
 * container that runs anything may lie there. */
static int own_null(struct child *c)
{
	autoleave int own = -1;
	struct stat st;

	for (int i = 0; i < 3; i++) {
		if (fstat(i, &st) < 0 || !is_null(&st))
			continue;
		if (own < 0)
			own = open_null(c);
		if (own < 0)
			return own;
		if (dup2(own, i) < 0)
			return -errno;
	}
	return 0;
}

int child_session(struct child *c)
{
	/* -EPERM: already its leader, as after a plain exec. */
	if (setsid() < 0 && errno != EPERM)
		return -errno;
	if (c->terminal < 0)
		return own_null(c);
	if (ioctl(c->terminal, TIOCSCTTY, 0) < 0)
		return child_detail(c, -errno, "controlling terminal");
	for (int i = 0; i < 3; i++) {
		if (dup2(c->terminal, i) < 0)
			return -errno;
	}
	return 0;
}
