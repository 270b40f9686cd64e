/* What containers may use of a /data that is btrfs with simple quotas. Volumes
 * are together in one group, writable layers in another; volumes leave the node
 * its reserve twice, layers once, so that containers start where volumes have
 * filled the disk. A layer may have half of what is left when it is made: one
 * that fills its own stops no other. A volume can have a limit of its own. */
#ifndef ZRUN_QUOTA_H
#define ZRUN_QUOTA_H

#include <stdbool.h>
#include <stdint.h>

struct quota_use {
	uint64_t used_bytes, limit_bytes; /* UINT64_MAX: no limit */
};

enum quota_group { QUOTA_VOLUMES, QUOTA_LAYERS, QUOTA_GROUP_COUNT };

/* Makes the groups, takes in what is there already, and limits them. Without
 * quotas it does nothing, and so do the others. */
void quota_begin(void);

/* A new volume or writable layer, an open directory, joins its group. */
void quota_join(int subvolume, enum quota_group group);

/* Limits the groups by what is free by now. */
void quota_refresh(void);

/* Limits a volume of its own; 0 MiB: not. 0 or -errno; -ENOTCONN without
 * quotas. */
int quota_limit(int subvolume, uint32_t mib);

/* 0 or -errno. */
int quota_use(int subvolume, struct quota_use *use);
int quota_use_group(enum quota_group group, struct quota_use *use);

/* Whether little can be written any more. */
bool quota_is_full(const struct quota_use *use);

#endif
