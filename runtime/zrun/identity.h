/* The User of an image's config ("name", "name:group", "1000", "1000:100") as
 * numbers, by /etc/passwd and /etc/group of the root that the caller is in.
 * Behind a second colon there may be more groups, with commas between. */
#ifndef ZRUN_IDENTITY_H
#define ZRUN_IDENTITY_H

#include <stddef.h>
#include <stdint.h>

#include "base/span.h"

enum {
	IDENTITY_GROUPS_MAX = 32,
	IDENTITY_FILE_MAX = 64 << 10,
};

struct identity {
	uint32_t uid, gid;
	uint32_t group[IDENTITY_GROUPS_MAX]; /* supplementary */
	size_t n_groups;
};

/* The same from the two files' text, which the image's maker chose; lines that
 * are not well formed are skipped. 0; -ENOENT with *what naming what is
 * missing. */
int identity_find(const char *user, struct span passwd, struct span group,
		  struct identity *id, const char **what);
/* Reads the files (absent ones count as empty) and finds. Allocates nothing.
 * -errno. */
int identity_resolve(const char *user, struct identity *id, const char **what);

/* "HOME=" and the directory of user uid by /etc/passwd, or "HOME=/" when it
 * does not tell. Allocates nothing. */
void identity_home(uint32_t uid, char *out, size_t size);

#endif
