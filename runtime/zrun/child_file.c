/* Mounts of type "file": small read-only files whose text the config holds.
 *
 * They lie on one tmpfs in the container's own mount namespace, so nothing is
 * written to a disk and all goes with the container. A tree can only be cloned
 * from what is attached, so the tmpfs is attached over the directory of the
 * sockets, which this process needs no more, and pivot_root takes it all away
 * but the clones; of a bud, in its empty root, where nobody comes. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "child.h"
#include "kernel.h"

static int files_open(struct child *c)
{
	static const struct runtime_mount tmpfs = {
		.type = "tmpfs",
		.source = "files",
		.attr_set = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV,
	};

	if (c->files >= 0)
		return 0;
	autoclose int mount = child_mount_new(c, &tmpfs);

	if (mount < 0)
		return mount;
	autoclose int onto = c->stage >= 0
				     ? openat(c->stage, CHILD_STAGE_FILES,
					      O_PATH | O_DIRECTORY | O_CLOEXEC)
				     : open(path_run(),
					    O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (onto < 0)
		return child_detail(c, -errno, "%.80s", path_run());
	int r = kernel_attach(mount, onto);

	if (r == 0)
		c->files = fd_take(&mount);
	return r < 0 ? child_detail(c, r, "attach the files") : 0;
}

/* The number behind "KEY=" among the options; `otherwise` without one. */
static uint32_t option_of(const struct runtime_mount *m, const char *key,
			  int base, uint32_t otherwise)
{
	size_t n = strlen(key);

	for (size_t i = 0; i < m->data.n; i++)
		if (strncmp(m->data.item[i], key, n) == 0)
			return (uint32_t)strtoul(m->data.item[i] + n, NULL,
						 base);
	return otherwise;
}

static bool is_users(const struct runtime_mount *m)
{
	for (size_t i = 0; i < m->data.n; i++)
		if (strcmp(m->data.item[i], "owner=user") == 0)
			return true;
	return false;
}

static struct span file_text(int root, const char *path, char *room)
{
	autoclose int fd = path_open_in_root(root, path, O_RDONLY | O_NONBLOCK,
					     0);
	ssize_t n = fd < 0 ? -1 : fd_read(fd, room, IDENTITY_FILE_MAX);

	return (struct span){ room, n < 0 ? 0 : (size_t)n };
}

/* Who the process will be, by the files of the root, which is not ours yet. */
static int owner_find(const struct file_owner *owner, uint32_t *uid,
		      uint32_t *gid)
{
	static char passwd[IDENTITY_FILE_MAX], group[IDENTITY_FILE_MAX];
	const struct runtime_user *user = owner->user;
	const char *what;
	struct identity id;
	int r;

	*uid = user->uid;
	*gid = user->gid;
	if (!user->name)
		return 0;
	r = identity_find(
		user->name, file_text(owner->root, "etc/passwd", passwd),
		file_text(owner->root, "etc/group", group), &id, &what);
	if (r < 0)
		return r;
	*uid = id.uid;
	*gid = id.gid;
	return 0;
}

static int file_write(int fd, const struct runtime_mount *m,
		      const struct file_owner *owner)
{
	const char *text = m->source ? m->source : "";
	uint32_t uid = option_of(m, "uid=", 10, 0);
	uint32_t gid = option_of(m, "gid=", 10, 0);
	int r = fd_write(fd, text, strlen(text));

	if (r == 0 && is_users(m))
		r = owner_find(owner, &uid, &gid);
	if (r < 0)
		return r;
	if (fchown(fd, uid, gid) < 0 ||
	    fchmod(fd, option_of(m, "mode=", 8, 0444) & 01777) < 0)
		return -errno;
	return 0;
}

int child_file_write(int dir, const char *name, const struct runtime_mount *m,
		     const struct file_owner *owner)
{
	autoclose int fd = openat(
		dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	return fd < 0 ? -errno : file_write(fd, m, owner);
}

int child_file(struct child *c, const struct runtime_mount *m)
{
	const struct file_owner owner = { c->root, &c->process->user };
	char name[16];
	int r = files_open(c);

	if (r < 0)
		return r;
	snprintf(name, sizeof(name), "%u", c->n_files++);
	r = child_file_write(c->files, name, m, &owner);
	if (r < 0)
		return child_detail(c, r, "write the file");
	return kernel_open_tree(c->files, name, OPEN_TREE_CLONE);
}
