/* The event loop of every daemon: level-triggered epoll, timers on
 * CLOCK_MONOTONIC, one thread.
 *
 * Rule of use: embed a struct watch or struct timer in the object that owns
 * the descriptor, find the owner with container_of(). Callbacks never block.
 * Any watch or timer may be deleted (and its owner freed) inside any callback,
 * its own included. The loop never closes a descriptor. No allocation. */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

/* The releases of clang-format differ about this minus. */
/* clang-format off */
#define container_of(ptr, type, member) \
	((type *)((char *)(ptr) - offsetof(type, member)))
/* clang-format on */

#define LOOP_BATCH 64

/* Those whose owners shall not keep others waiting have one in common: once
 * their events have taken so long in a turn of the loop, the rest of them are
 * left for the next one, after those of others. */
enum { LOOP_SHARE_US = 30 };

struct loop_share {
	uint64_t turn, spent_us; /* in that turn */
};

struct watch {
	int fd;
	uint32_t events; /* EPOLLIN | ... as registered */
	void (*ready)(struct watch *, uint32_t events);
	struct loop_share *share; /* or NULL */
};

struct timer {
	uint64_t deadline_ms; /* clock_ms() at which it fires; 0 when idle */
	void (*fire)(struct timer *);
	struct timer *next, **prevp; /* in loop.timers, by deadline */
};

struct loop {
	int epoll_fd;
	bool stopped;
	int exit_code;
	struct timer *timers;
	unsigned int poll_us; /* see loop_poll() */
	uint64_t gap_ns;      /* that events come in, the mean of the last */
	uint64_t turn;
	bool has_left;	       /* events of a spent share, in the last turn */
	int n_batch, at_batch; /* events being delivered, and which */
	struct epoll_event batch[LOOP_BATCH];
};

/* Milliseconds of CLOCK_MONOTONIC; never 0. */
uint64_t clock_ms(void);
/* Microseconds of CLOCK_MONOTONIC. */
uint64_t clock_us(void);
/* Milliseconds of CLOCK_BOOTTIME (since the kernel started, sleep counted). */
uint64_t clock_boot_ms(void);

/* 0 or -errno (epoll_create1). */
int loop_init(struct loop *loop);

/* From now on, while the mean wait for an event is shorter than `us`, waits for
 * it awake for so long: to be woken takes longer, on another core of a virtual
 * machine 20 us. Not while others wait for the processor. 0: never. Needs
 * sched_yield(). */
void loop_poll(struct loop *loop, unsigned int us);

/* Registers w->fd with w->ready set by the caller. 0 or -errno (epoll_ctl). */
int watch_add(struct loop *loop, struct watch *w, int fd, uint32_t events);
/* Changes the events; 0 means registered but silent except EPOLLHUP/ERR. */
int watch_events(struct loop *loop, struct watch *w, uint32_t events);
/* Unregisters and drops events of w not yet delivered; no-op when w->fd < 0.
 * Sets w->fd to -1; the caller closes the descriptor it still knows. */
void watch_del(struct loop *loop, struct watch *w);

/* (Re)arms t to fire once, delay_ms from now. */
void timer_set(struct loop *loop, struct timer *t, uint64_t delay_ms);
void timer_cancel(struct timer *t);

/* Delivers one round of events, waiting at most until the next timer or
 * max_wait_ms (-1: no limit). 0 or -errno. */
int loop_once(struct loop *loop, int max_wait_ms);
/* Runs until loop_stop(); returns its code, or -errno. */
int loop_run(struct loop *loop);
void loop_stop(struct loop *loop, int exit_code);

/* Blocks the given signals (a list that ends with 0) and returns a
 * non-blocking signalfd for them, or -errno. */
int signal_fd(const int *signals);

#endif
