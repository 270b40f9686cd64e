#define _GNU_SOURCE
#include "pool.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "ahead.h"
#include "base/fd.h"
#include "base/log.h"
#include "bud.h"
#include "resident.h"
#include "shape.h"

/* Long enough for a start to have come to its end. */
#define REFILL_MS 5

enum bud_phase { BUD_FREE, BUD_GROWING, BUD_READY };

struct bud {
	enum bud_phase phase;
	struct pool_bud is;
	struct watch watch; /* its channel */
};

static struct {
	int sock; /* to the nursery; -1: none */
	struct watch watch;
	struct timer refill;
	struct bud bud[POOL_MAX];
	int asked; /* replies that are to come, */
	int stale; /* of which the first are for an earlier shape */
	struct shape shape, last;
	bool unfit; /* buds of this shape cannot be made */
	bool hit;   /* the last config that was asked for has it */
	struct pool_wait *waiting;
	int n_waiting;
} pool;

void pool_bud_close(struct pool_bud *bud)
{
	fd_close(&bud->pidfd);
	fd_close(&bud->channel);
	fd_close(&bud->mounts);
	fd_close(&bud->cgroup_dir);
}

static void bud_free(struct bud *bud)
{
	watch_del(&resident.loop, &bud->watch);
	pool_bud_close(&bud->is);
	bud->phase = BUD_FREE;
}

static int count(enum bud_phase phase)
{
	int n = 0;

	for (int i = 0; i < POOL_MAX; i++)
		n += pool.bud[i].phase == phase;
	return n;
}

void pool_wait(struct pool_wait *w)
{
	struct pool_wait **last = &pool.waiting;

	while (*last)
		last = &(*last)->next;
	*last = w;
	w->prevp = last;
	w->next = NULL;
	pool.n_waiting++;
	pool_refill();
}

void pool_wait_end(struct pool_wait *w)
{
	if (!w->prevp)
		return;
	*w->prevp = w->next;
	if (w->next)
		w->next->prevp = w->prevp;
	w->prevp = NULL;
	pool.n_waiting--;
}

static void give_up(void)
{
	pool.unfit = true;
	while (pool.waiting) {
		struct pool_wait *w = pool.waiting;

		pool_wait_end(w);
		w->ready(w, NULL);
	}
}

static void nursery_lost(void)
{
	watch_del(&resident.loop, &pool.watch);
	fd_close(&pool.sock);
	pool.asked = pool.stale = 0;
	give_up();
	/* The next config finds no shape, and a new nursery is made for it. */
	pool.shape.size = 0;
}

int pool_take(struct pool_bud *out)
{
	for (int i = 0; i < POOL_MAX; i++) {
		struct bud *bud = &pool.bud[i];

		if (bud->phase != BUD_READY)
			continue;
		watch_del(&resident.loop, &bud->watch);
		*out = bud->is;
		bud->phase = BUD_FREE;
		return 0;
	}
	return -EAGAIN;
}

int pool_take_early(struct pool_bud *bud)
{
	return pool.hit ? pool_take(bud) : -EAGAIN;
}

void pool_missed(void)
{
	pool.hit = false;
}

static void serve_waiting(void)
{
	struct pool_bud bud;

	while (pool.waiting && pool_take(&bud) == 0) {
		struct pool_wait *w = pool.waiting;

		pool_wait_end(w);
		w->ready(w, &bud);
	}
	pool_refill();
}

/* The bud says why, as every child does. */
static void bud_failed(struct bud *bud)
{
	struct child_message why = { 0 };

	if (recv(bud->is.channel, &why, sizeof(why), MSG_DONTWAIT) !=
	    (ssize_t)sizeof(why))
		snprintf(why.detail, sizeof(why.detail), "it was killed");
	why.detail[sizeof(why.detail) - 1] = '\0';
	log_warning("pool", "containers are started without it: %s: %s",
		    why.detail, strerror(-why.error));
	bud_free(bud);
	give_up();
}

static void bud_ready(struct watch *w, uint32_t events)
{
	struct bud *bud = container_of(w, struct bud, watch);
	struct bud_ready ready;
	struct ipc_fds fds = { 0 };
	char byte[sizeof(ready) + 1];

	(void)events;
	if (bud->phase == BUD_READY) {
		bud_free(bud); /* it says nothing more: it was killed */
		pool_refill();
		return;
	}
	if (recv(w->fd, byte, sizeof(byte), MSG_PEEK | MSG_DONTWAIT) !=
		    (ssize_t)sizeof(ready) ||
	    ipc_recv(w->fd, &ready, sizeof(ready), &fds) != 1) {
		bud_failed(bud);
		return;
	}
	bud->is.mounts = ipc_fds_take(&fds, 0);
	ipc_fds_close(&fds);
	bud->is.start_time = process_start_time(bud->is.pid);
	bud->phase = BUD_READY;
	serve_waiting();
}

static void bud_add(const struct nursery_reply *reply, struct ipc_fds *fds)
{
	struct bud *bud = pool.bud;

	while (bud < pool.bud + POOL_MAX && bud->phase != BUD_FREE)
		bud++;
	if (bud == pool.bud + POOL_MAX)
		return;
	bud->is = (struct pool_bud){
		.pid = (pid_t)reply->pid,
		.pidfd = ipc_fds_take(fds, NURSERY_FD_PID),
		.channel = ipc_fds_take(fds, NURSERY_FD_CHANNEL),
		.cgroup_dir = ipc_fds_take(fds, NURSERY_FD_CGROUP),
		.mounts = -1,
	};
	text_copy(bud->is.cgroup, sizeof(bud->is.cgroup), reply->cgroup);
	bud->phase = BUD_GROWING;
	bud->watch.ready = bud_ready;
	if (watch_add(&resident.loop, &bud->watch, bud->is.channel, EPOLLIN) <
	    0)
		bud_free(bud);
}

static void nursery_ready(struct watch *w, uint32_t events)
{
	struct nursery_reply reply;
	struct ipc_fds fds = { 0 };

	(void)events;
	if (ipc_recv(w->fd, &reply, sizeof(reply), &fds) != 1) {
		log_warning("pool", "the nursery is gone");
		nursery_lost();
		return;
	}
	pool.asked--;
	if (pool.stale > 0) {
		pool.stale--;
	} else if (reply.error < 0) {
		log_warning("pool", "containers are started without it: %s",
			    strerror(-reply.error));
		give_up();
	} else if (fds.n == NURSERY_FDS) {
		bud_add(&reply, &fds);
	}
	ipc_fds_close(&fds);
}

static int nursery_ask(enum nursery_verb verb, int fd)
{
	struct nursery_request request = { { sizeof(request), verb } };
	int r = ipc_send(pool.sock, &request, sizeof(request), &fd, fd >= 0);

	if (r < 0)
		nursery_lost();
	return r;
}

static void refill(void)
{
	int have = count(BUD_GROWING) + count(BUD_READY) + pool.asked -
		   pool.stale;
	int want = pool.n_waiting + POOL_SPARE - ahead_count();

	if (want > POOL_MAX)
		want = POOL_MAX;
	for (; have < want; have++) {
		if (pool.sock < 0 || pool.unfit || !pool.shape.size ||
		    nursery_ask(NURSERY_BUD, -1) < 0)
			return;
		pool.asked++;
	}
}

static void refill_fire(struct timer *t)
{
	(void)t;
	if (ahead_refill())
		pool_refill();
	refill();
}

void pool_refill(void)
{
	if (pool.n_waiting > 0)
		refill();
	else
		timer_set(&resident.loop, &pool.refill, REFILL_MS);
}

static int nursery_begin(void)
{
	if (pool.sock >= 0)
		return 0;
	int sock = nursery_fork(resident.cgroup_dir);

	if (sock < 0)
		return sock;
	pool.sock = sock;
	pool.watch.ready = nursery_ready;
	return watch_add(&resident.loop, &pool.watch, sock, EPOLLIN);
}

/* All buds are for the one shape. */
static void turn_to(const struct shape *shape, int config_fd)
{
	pool.unfit = false;
	pool.shape = *shape;
	ahead_forget(NULL);
	pool.stale = pool.asked;
	for (int i = 0; i < POOL_MAX; i++) {
		if (pool.bud[i].phase != BUD_FREE)
			bud_free(&pool.bud[i]);
	}
	int r = nursery_begin();

	if (r < 0)
		log_warning("pool", "no nursery: %s", strerror(-r));
	if (r < 0 || nursery_ask(NURSERY_SHAPE, config_fd) < 0)
		pool.unfit = true;
	else
		pool_refill();
}

bool pool_fits(const struct runtime_config *config, int config_fd)
{
	static struct shape shape;

	pool.hit = false;
	if (shape_of(config, &shape) < 0)
		return false;
	if (shape_same(&shape, &pool.shape)) {
		pool.hit = !pool.unfit;
		return pool.hit;
	}
	/* Those who wait are for the other shape. */
	if (pool.n_waiting == 0 &&
	    (!pool.shape.size || shape_same(&shape, &pool.last)))
		turn_to(&shape, config_fd);
	pool.last = shape;
	return false;
}

void pool_init(void)
{
	pool.sock = pool.watch.fd = -1;
	pool.refill.fire = refill_fire;
	for (int i = 0; i < POOL_MAX; i++) {
		struct bud *bud = &pool.bud[i];

		bud->watch.fd = bud->is.pidfd = bud->is.channel =
			bud->is.mounts = bud->is.cgroup_dir = -1;
	}
}
