/* ZRUN_RECLAIM: what a frozen container holds in memory is pushed out to swap,
 * which on a node is compressed memory.
 *
 * Done in steps by a child. Before each it looks whether the container is still
 * to be frozen, so whoever thaws it need not tell: no more than the step under
 * way goes on. Containers have no swap otherwise (start_make.c): one that runs
 * must not go beyond its limit of memory at the cost of others.
 *
 * The pages of files stay, since their place is a disk that may be slow; the
 * kernel takes those back by itself when somebody needs memory. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/loop.h"
#include "cgroup_stat.h"
#include "resident.h"

enum {
	STEP_BYTES = 1 << 20, /* 2 to 3 ms */
	FAILURES_MAX = 8,     /* in a row */
	WORK_MS = 20000,      /* in one go */
};

#define SWAP_MAX "memory.swap.max"

static bool is_to_be_frozen(const struct cgroup *cg)
{
	return cgroup_number(cg, "cgroup.freeze") == 1;
}

/* One step; whether there may be more. */
static bool step(const struct cgroup *cg, int *failures)
{
	char text[40];

	snprintf(text, sizeof(text), "%d swappiness=200", STEP_BYTES);
	int64_t before = cgroup_key(cg, "memory.stat", "anon");
	int r = file_put(cg->dir, "memory.reclaim", text);
	int64_t now = cgroup_key(cg, "memory.stat", "anon");

	/* -EAGAIN: less than was asked for. */
	*failures = now < before ? 0 : *failures + 1;
	return (r == 0 || r == -EAGAIN) && now > 0 && *failures < FAILURES_MAX;
}

static int reclaim(const struct cgroup *cg)
{
	/* No more than there is: to save it on disk brings it back. */
	int64_t left = cgroup_key(cg, "memory.stat", "anon");
	bool has_none = cgroup_number(cg, SWAP_MAX) == 0;
	uint64_t end_ms = clock_ms() + WORK_MS;
	int failures = 0;

	if (has_none)
		file_put(cg->dir, SWAP_MAX, "max");
	while (left > 0 && clock_ms() < end_ms && is_to_be_frozen(cg) &&
	       step(cg, &failures))
		left -= STEP_BYTES;
	return has_none ? file_put(cg->dir, SWAP_MAX, "0") : 0;
}

/* In the child. */
static int work(const struct zrun_request *request, char text[STORE_ERROR_SIZE])
{
	const struct resident_container *c = container_find(request->id);
	struct cgroup cg;
	int r = container_cgroup(c, &cg);

	nice(19);
	if (r == 0)
		r = reclaim(&cg);
	cgroup_close(&cg);
	if (r < 0)
		snprintf(text, STORE_ERROR_SIZE, "container %.63s: reclaim: %s",
			 c->id, strerror(-r));
	return r;
}

int serve_reclaim(const struct asked *asked, struct zrun_reply *reply)
{
	int r;
	const struct resident_container *c = container_running(asked, reply,
							       &r);
	struct sysinfo info;
	struct cgroup cg;

	if (!c)
		return r;
	r = container_cgroup(c, &cg);
	if (r == 0 && faccessat(cg.dir, "memory.reclaim", W_OK, 0) < 0)
		r = -EOPNOTSUPP;
	if (r == 0 && (sysinfo(&info) < 0 || info.freeswap == 0))
		r = -ENOSPC;
	if (r == 0 && !is_to_be_frozen(&cg))
		r = -EBUSY;
	cgroup_close(&cg);
	return r < 0 ? r : serve_work(asked, reply, work);
}

void container_swap_recover(const struct resident_container *c)
{
	struct cgroup cg;

	if (container_cgroup(c, &cg) == 0 &&
	    cgroup_number(&cg, SWAP_MAX) == CGROUP_NUMBER_MAX)
		file_put(cg.dir, SWAP_MAX, "0");
	cgroup_close(&cg);
}
