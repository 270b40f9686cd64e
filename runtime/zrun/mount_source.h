/* What the parent prepares for the child's mounts, because the child lacks the
 * right to: sources that its user namespace may not reach, mounts that show
 * other ids, sources whose peers stay on the host. */
#ifndef ZRUN_MOUNT_SOURCE_H
#define ZRUN_MOUNT_SOURCE_H

#include "fault.h"
#include "oci/runtime_config.h"

/* A bind's source as a detached tree. A descriptor or -errno. */
int mount_source_tree(const struct runtime_mount *m);

struct mount_sources {
	int root; /* the root file system as a detached tree; -1: the child sees
		   * to it */
	int *fd;  /* for each mount: a detached tree; for a new file system that
		   * is idmapped the user namespace; -1: nothing. NULL: all -1 */
	size_t n;
};

#define MOUNT_SOURCES_NONE  \
	{                   \
		.root = -1, \
	}

/* joined_user: a user namespace that the container joins; -1. 0 or -errno with
 * fault set; mount_sources_close() in either case. */
int mount_sources_open(struct mount_sources *s,
		       const struct runtime_config *config, int joined_user,
		       struct fault *fault);
/* The same for the root at path. What fails here the child tells. */
void mount_sources_root(struct mount_sources *s,
			const struct runtime_config *config, const char *path);
void mount_sources_close(struct mount_sources *s);

#endif
