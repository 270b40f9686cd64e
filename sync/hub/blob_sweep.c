/* Removing what nothing needs, one folder of blobs in each turn of the loop.
 *
 * A push tells the hub of a blob long before the manifest that needs it, and
 * asks first whether it is there already. So age counts from the last time
 * anyone was told of the blob, and only what is older than a push can last is
 * removed. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/path.h"
#include "base/fd.h"
#include "base/log.h"
#include "blob_parts.h"

enum { FOLDERS = 256 };

struct blob_sweep_state {
	struct blobs *blobs;
	struct blobs_sweep sweep;
	struct timer timer;
	unsigned folder; /* the next one */
	unsigned n;
	uint64_t size_bytes;
};

static DIR *folder_open(const struct blobs *b, unsigned folder)
{
	char name[3];

	snprintf(name, sizeof(name), "%02x", folder);
	return path_list(b->blobs_fd, name);
}

static bool is_old(const struct blob_sweep_state *s, int dir, const char *name,
		   uint64_t *size_bytes)
{
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    !S_ISREG(st.st_mode))
		return false;
	*size_bytes = (uint64_t)st.st_size;
	return st.st_mtime + (time_t)s->sweep.grace_s <= time(NULL);
}

/* A name that is no digest is the temporary of a process that was killed. */
static void folder_sweep(struct blob_sweep_state *s, DIR *d)
{
	struct dirent *e;

	while ((e = readdir(d))) {
		struct digest digest;
		uint64_t size;

		if (!is_old(s, dirfd(d), e->d_name, &size))
			continue;
		if (digest_parse_hex(span_of(e->d_name), &digest) == 0 &&
		    s->sweep.needed(s->sweep.user, &digest))
			continue;
		if (unlinkat(dirfd(d), e->d_name, 0) < 0)
			continue;
		s->n++;
		s->size_bytes += size;
	}
}

static void uploads_sweep(struct blob_sweep_state *s)
{
	DIR *d = path_list(s->blobs->uploads_fd, ".");
	struct dirent *e;

	while (d && (e = readdir(d))) {
		uint64_t size;

		if (is_old(s, dirfd(d), e->d_name, &size) &&
		    unlinkat(dirfd(d), e->d_name, 0) == 0)
			s->size_bytes += size;
	}
	if (d)
		closedir(d);
}

static void sweep_step(struct timer *t)
{
	struct blob_sweep_state *s = container_of(t, struct blob_sweep_state,
						  timer);
	DIR *d = folder_open(s->blobs, s->folder);

	if (d) {
		folder_sweep(s, d);
		closedir(d);
	}
	if (++s->folder < FOLDERS) {
		timer_set(s->blobs->loop, t, 0);
		return;
	}
	uploads_sweep(s);
	s->blobs->sweep = NULL;
	s->sweep.done(s->sweep.user, s->n, s->size_bytes);
	free(s);
}

int blobs_sweep_start(struct blobs *b, const struct blobs_sweep *sweep)
{
	struct blob_sweep_state *s;

	if (b->sweep)
		return -EALREADY;
	s = calloc(1, sizeof(*s));
	if (!s)
		return -ENOMEM;
	s->blobs = b;
	s->sweep = *sweep;
	s->timer.fire = sweep_step;
	b->sweep = s;
	timer_set(b->loop, &s->timer, 0);
	return 0;
}

void blob_sweep_cancel(struct blobs *b)
{
	if (!b->sweep)
		return;
	timer_cancel(&b->sweep->timer);
	free(b->sweep);
	b->sweep = NULL;
}

int blobs_each(struct blobs *b,
	       int (*each)(void *user, const struct digest *digest), void *user)
{
	for (unsigned folder = 0; folder < FOLDERS; folder++) {
		DIR *d = folder_open(b, folder);
		struct dirent *e;
		int err = 0;

		while (d && err == 0 && (e = readdir(d))) {
			struct digest digest;

			if (digest_parse_hex(span_of(e->d_name), &digest) == 0)
				err = each(user, &digest);
		}
		if (d)
			closedir(d);
		if (err)
			return err;
	}
	return 0;
}
