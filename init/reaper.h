/* Every process that ends below init.
 *
 * Rule of use: reaper_init() once. A child is a service (svc.c), a container's
 * process in the store, or an orphan of which only the number is kept. */
#ifndef INIT_REAPER_H
#define INIT_REAPER_H

#include "base/loop.h"
#include "store.h"

/* 0 or -errno. */
int reaper_init(struct loop *loop);

/* Watches the pidfd of a process just put into the store. */
void reaper_watch(struct store_entry *e);

/* A bud that nobody wants is dropped, when its process has ended. */
void reaper_drop(struct store_entry *e);

/* Takes the end of e's process, if it came: what a pidfd told others is not
 * denied here because the loop has not turned yet. */
void reaper_look(struct store_entry *e);

/* Calls `ended` when child `pid`, started with spawn_call(), has ended.
 * One at a time. */
void reaper_expect(pid_t pid, void (*ended)(int status));

/* The pid behind a pidfd; -ESRCH once it was reaped, -EBADF if it is none. */
int pidfd_pid(int pidfd);

#endif
