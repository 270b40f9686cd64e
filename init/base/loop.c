/* Timers form one list sorted by deadline: a daemon has a handful, and most
 * are set further out than those that wait, so insertion from the front is
 * short. epoll_wait gets its time-out from the first. */
#include "loop.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <time.h>

enum {
	GAP_PARTS = 8,	      /* of the mean, of which the next one is one */
	GAP_MAX_NS = 1000000, /* counted so: one pause is soon forgotten */
	CONTENDED_NS = 20000, /* for which a yield lasts if others ran */
};

static uint64_t now_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

static uint64_t now_ms(clockid_t clock)
{
	return now_ns(clock) / 1000000;
}

uint64_t clock_ms(void)
{
	/* One more, because 0 means that a timer is idle. */
	return now_ms(CLOCK_MONOTONIC) + 1;
}

uint64_t clock_us(void)
{
	return now_ns(CLOCK_MONOTONIC) / 1000;
}

uint64_t clock_boot_ms(void)
{
	return now_ms(CLOCK_BOOTTIME);
}

int loop_init(struct loop *loop)
{
	*loop = (struct loop){ .epoll_fd = epoll_create1(EPOLL_CLOEXEC) };
	return loop->epoll_fd < 0 ? -errno : 0;
}

int watch_add(struct loop *loop, struct watch *w, int fd, uint32_t events)
{
	struct epoll_event e = { .events = events, .data.ptr = w };

	w->fd = fd;
	w->events = events;
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &e) < 0) {
		w->fd = -1;
		return -errno;
	}
	return 0;
}

int watch_events(struct loop *loop, struct watch *w, uint32_t events)
{
	struct epoll_event e = { .events = events, .data.ptr = w };

	if (w->events == events)
		return 0;
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, w->fd, &e) < 0)
		return -errno;
	w->events = events;
	return 0;
}

void watch_del(struct loop *loop, struct watch *w)
{
	if (w->fd < 0)
		return;
	epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, w->fd, NULL);
	w->fd = -1;
	for (int i = 0; i < loop->n_batch; i++)
		if (loop->batch[i].data.ptr == w)
			loop->batch[i].data.ptr = NULL;
}

void timer_set(struct loop *loop, struct timer *t, uint64_t delay_ms)
{
	struct timer **p = &loop->timers;

	timer_cancel(t);
	t->deadline_ms = clock_ms() + delay_ms;
	while (*p && (*p)->deadline_ms <= t->deadline_ms)
		p = &(*p)->next;
	t->next = *p;
	t->prevp = p;
	if (t->next)
		t->next->prevp = &t->next;
	*p = t;
}

void timer_cancel(struct timer *t)
{
	if (!t->deadline_ms)
		return;
	*t->prevp = t->next;
	if (t->next)
		t->next->prevp = t->prevp;
	t->deadline_ms = 0;
	t->next = NULL;
	t->prevp = NULL;
}

static int wait_ms(const struct loop *loop, int max_wait_ms)
{
	uint64_t now, left;

	if (!loop->timers)
		return max_wait_ms;
	now = clock_ms();
	if (loop->timers->deadline_ms <= now)
		return 0;
	left = loop->timers->deadline_ms - now;
	if (left > INT_MAX)
		left = INT_MAX;
	if (max_wait_ms >= 0 && left > (uint64_t)max_wait_ms)
		return max_wait_ms;
	return (int)left;
}

/* Only those due at entry: a callback that sets a timer of 0 ms must not keep
 * the descriptors waiting. */
static void timers_fire(struct loop *loop)
{
	uint64_t now = clock_ms();

	while (loop->timers && loop->timers->deadline_ms <= now) {
		struct timer *t = loop->timers;

		timer_cancel(t);
		t->fire(t);
		if (loop->stopped)
			return;
	}
}

void loop_poll(struct loop *loop, unsigned int us)
{
	loop->poll_us = us;
	loop->gap_ns = GAP_MAX_NS;
}

static int loop_wait(struct loop *loop, int ms)
{
	return epoll_wait(loop->epoll_fd, loop->batch, LOOP_BATCH, ms);
}

/* Events that are there at once or come within poll_us; 0: neither. */
static int loop_wait_awake(struct loop *loop, uint64_t began)
{
	uint64_t now = began, before;
	int n = loop_wait(loop, 0);

	while (n == 0 && now - began < loop->poll_us * UINT64_C(1000)) {
		before = now;
		sched_yield();
		n = loop_wait(loop, 0);
		now = now_ns(CLOCK_MONOTONIC);
		if (now - before < CONTENDED_NS)
			continue;
		loop->gap_ns = GAP_MAX_NS;
		break;
	}
	return n;
}

/* The mean wait counts all waits, slept through or not. */
static int loop_wait_polling(struct loop *loop, int ms)
{
	uint64_t began = now_ns(CLOCK_MONOTONIC), gap;
	int n = 0;

	if (loop->gap_ns < loop->poll_us * UINT64_C(1000))
		n = loop_wait_awake(loop, began);
	if (n == 0)
		n = loop_wait(loop, ms);
	gap = now_ns(CLOCK_MONOTONIC) - began;
	if (gap > GAP_MAX_NS)
		gap = GAP_MAX_NS;
	loop->gap_ns = (loop->gap_ns * (GAP_PARTS - 1) + gap) / GAP_PARTS;
	return n;
}

static bool share_is_spent(const struct loop *loop, const struct loop_share *s)
{
	return s->turn == loop->turn && s->spent_us >= LOOP_SHARE_US;
}

static void share_spend(const struct loop *loop, struct loop_share *s,
			uint64_t us)
{
	if (s->turn != loop->turn)
		s->spent_us = 0;
	s->turn = loop->turn;
	s->spent_us += us;
}

static void event_deliver(struct loop *loop, const struct epoll_event *e)
{
	struct watch *w = e->data.ptr;
	struct loop_share *share = w ? w->share : NULL;
	uint64_t began;

	if (!share) {
		if (w)
			w->ready(w, e->events);
		return;
	}
	if (share_is_spent(loop, share)) {
		loop->has_left = true;
		return;
	}
	began = clock_us();
	w->ready(w, e->events);
	share_spend(loop, share, clock_us() - began);
}

/* In their order; after events were left, from another one on each time: the
 * order of those that come again is the same, and some would be left for
 * ever. */
static void batch_deliver(struct loop *loop)
{
	unsigned int n = (unsigned int)loop->n_batch;
	unsigned int first;

	loop->turn++;
	first = loop->has_left && n ? (unsigned int)(loop->turn % n) : 0;
	loop->has_left = false;
	for (unsigned int i = 0; i < n && !loop->stopped; i++) {
		loop->at_batch = (int)((first + i) % n);
		event_deliver(loop, &loop->batch[loop->at_batch]);
	}
	loop->n_batch = 0;
}

int loop_once(struct loop *loop, int max_wait_ms)
{
	int ms = wait_ms(loop, max_wait_ms);
	int n = loop->poll_us && ms ? loop_wait_polling(loop, ms)
				    : loop_wait(loop, ms);

	if (n < 0 && errno != EINTR)
		return -errno;
	loop->n_batch = n > 0 ? n : 0;
	batch_deliver(loop);
	if (!loop->stopped)
		timers_fire(loop);
	return 0;
}

int loop_run(struct loop *loop)
{
	while (!loop->stopped) {
		int err = loop_once(loop, -1);

		if (err < 0)
			return err;
	}
	return loop->exit_code;
}

void loop_stop(struct loop *loop, int exit_code)
{
	loop->stopped = true;
	loop->exit_code = exit_code;
}

int signal_fd(const int *signals)
{
	sigset_t set;
	int fd;

	sigemptyset(&set);
	for (; *signals; signals++)
		sigaddset(&set, *signals);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return fd < 0 ? -errno : fd;
}
