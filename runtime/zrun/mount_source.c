#define _GNU_SOURCE
#include "mount_source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/fd.h"
#include "kernel.h"
#include "userns.h"

int mount_source_tree(const struct runtime_mount *m)
{
	unsigned flags = OPEN_TREE_CLONE;

	if (m->recursive)
		flags |= AT_RECURSIVE;
	if (m->source_nofollow)
		flags |= AT_SYMLINK_NOFOLLOW;
	return kernel_open_tree(AT_FDCWD, m->source, flags);
}

/* The id on the host of one inside the container. */
static bool outside(const struct runtime_id_maps *container, uint32_t *id)
{
	for (size_t i = 0; i < container->n; i++) {
		const struct runtime_id_map *m = &container->item[i];

		if (*id < m->container_id || *id - m->container_id >= m->size)
			continue;
		*id = m->host_id + (*id - m->container_id);
		return true;
	}
	return false;
}

/* Host ids in place of the container's. The list is the config's own: it is
 * read once. */
static int make_absolute(const struct runtime_id_maps *maps,
			 const struct runtime_id_maps *container)
{
	for (size_t i = 0; maps->relative && i < maps->n; i++) {
		if (!outside(container, &maps->item[i].host_id))
			return -EINVAL;
	}
	return 0;
}

struct opening {
	const struct runtime_config *config;
	int joined_user;
	struct fault *fault;
};

/* A user namespace with the mount's maps, else with the container's. */
static int find_maps(const struct opening *o, const struct runtime_mount *m)
{
	const struct runtime_id_maps *uid = &m->uid_maps, *gid = &m->gid_maps;
	const struct runtime_config *config = o->config;

	if (!uid->n && o->joined_user >= 0)
		return fcntl(o->joined_user, F_DUPFD_CLOEXEC, 3);
	if (!uid->n) {
		uid = &config->uid_maps;
		gid = &config->gid_maps;
	}
	if (!uid->n)
		return -ENOENT;
	int r = make_absolute(uid, &config->uid_maps);

	if (r == 0)
		r = make_absolute(gid, &config->gid_maps);
	return r < 0 ? r : userns_make(uid, gid);
}

static int open_idmapped(const struct opening *o, size_t i, int *fd)
{
	const struct runtime_mount *m = &o->config->mount[i];
	autoclose int maps = find_maps(o, m);

	if (maps == -ENOENT)
		return fault_set(o->fault, 0,
				 "mounts[%zu].options: idmap needs uidMappings "
				 "and gidMappings, or a user namespace",
				 i);
	if (maps < 0)
		return fault_set(o->fault, maps, "mounts[%zu].uidMappings", i);
	*fd = m->bind ? mount_source_tree(m) : fd_take(&maps);
	if (!m->bind)
		return 0;
	if (*fd < 0)
		return fault_set(o->fault, *fd,
				 "mounts[%zu] (%.80s): source "
				 "%.80s",
				 i, m->destination, m->source);
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_IDMAP,
				   .userns_fd = (uint64_t)maps };
	int r = kernel_mount_setattr(*fd, m->idmap_recursive ? AT_RECURSIVE : 0,
				     &attr);

	return r < 0 ? fault_set(o->fault, r, "mounts[%zu] (%.80s): idmap", i,
				 m->destination)
		     : 0;
}

static bool is_link(const char *path)
{
	char byte;

	return readlinkat(AT_FDCWD, path, &byte, 1) >= 0;
}

/* Leaves *fd at -1 when the child is to see to it. */
static int open_source(const struct opening *o, size_t i, int *fd)
{
	const struct runtime_config *config = o->config;
	const struct runtime_mount *m = &config->mount[i];
	bool user = config->namespace[RUNTIME_NS_USER].set;
	bool peers = config->rootfs_propagation == MS_SHARED &&
		     (m->propagation | m->tree_propagation) == MS_SHARED;

	if (m->idmap && !m->remount)
		return open_idmapped(o, i, fd);
	if (!m->bind || m->remount || !(user || peers))
		return 0;
	if (m->copy_symlink && is_link(m->source))
		return 0;
	*fd = mount_source_tree(m);
	/* Without privilege only the child may. */
	if (*fd >= 0 || *fd == -EPERM)
		return 0;
	return fault_set(o->fault, *fd, "mounts[%zu] (%.80s): source %.80s", i,
			 m->destination, m->source);
}

static int keep_source(struct mount_sources *s, size_t n, size_t i, int fd)
{
	if (!s->fd) {
		s->fd = malloc(n * sizeof(*s->fd));
		if (!s->fd)
			return -ENOMEM;
		for (s->n = 0; s->n < n; s->n++)
			s->fd[s->n] = -1;
	}
	s->fd[i] = fd;
	return 0;
}

int mount_sources_open(struct mount_sources *s,
		       const struct runtime_config *config, int joined_user,
		       struct fault *fault)
{
	const struct opening o = { config, joined_user, fault };
	int r = 0;

	for (size_t i = 0; r == 0 && i < config->n_mount; i++) {
		autoclose int fd = -1;

		r = open_source(&o, i, &fd);
		if (r == 0 && fd >= 0) {
			r = keep_source(s, config->n_mount, i, fd);
			if (r < 0)
				return fault_set(fault, r, "mounts");
			(void)fd_take(&fd);
		}
	}
	return r;
}

void mount_sources_root(struct mount_sources *s,
			const struct runtime_config *config, const char *path)
{
	if (!config->namespace[RUNTIME_NS_USER].set)
		return;
	int fd = kernel_open_tree(AT_FDCWD, path,
				  OPEN_TREE_CLONE | AT_RECURSIVE);

	s->root = fd < 0 ? -1 : fd;
}

void mount_sources_close(struct mount_sources *s)
{
	for (size_t i = 0; i < s->n; i++)
		fd_close(&s->fd[i]);
	free(s->fd);
	fd_close(&s->root);
}
