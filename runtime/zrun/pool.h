/* The buds that serve keeps ready.
 *
 * POOL_SPARE of them wait for the shape that was asked for last and before; a
 * shape that comes once is made in the ordinary way. None exists before the
 * first container was started, so a node without containers pays nothing. Each
 * takes about 0.4 MB of the kernel's and its own memory, of which a net
 * namespace is half; while many starts wait at once there may be POOL_MAX. What
 * was taken is made anew by the nursery, after a start, never during it. */
#ifndef ZRUN_POOL_H
#define ZRUN_POOL_H

#include "base/loop.h"
#include "oci/runtime_config.h"

enum { POOL_SPARE = 4, POOL_MAX = 16 };

/* One that was taken: the descriptors are the taker's. */
struct pool_bud {
	pid_t pid;
	uint64_t start_time;
	int pidfd;
	int channel;
	int mounts; /* mount namespace */
	int cgroup_dir;
	char cgroup[32]; /* its name */
};

/* Who waits for a bud: `ready` gets one, or NULL when none will come. */
struct pool_wait {
	struct pool_wait *next, **prevp; /* NULL: does not wait */
	void (*ready)(struct pool_wait *, const struct pool_bud *);
};

/* Whether a container of this config is for a bud. config_fd is what it was
 * read from: the pool may turn to its shape. */
bool pool_fits(const struct runtime_config *config, int config_fd);
/* -EAGAIN when none is ready. */
int pool_take(struct pool_bud *bud);
/* The same before the config has been read, when the last one fitted. */
int pool_take_early(struct pool_bud *bud);
/* That one was not of use: the next config is read first. */
void pool_missed(void);
/* Of one that is not used: it exits. */
void pool_bud_close(struct pool_bud *bud);
void pool_wait(struct pool_wait *w);
void pool_wait_end(struct pool_wait *w);
/* After each start: there is time to make others. */
void pool_refill(void);
/* Before anything else. */
void pool_init(void);

#endif
