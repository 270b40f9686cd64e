/* What init holds, as it changes (init/init.h, INIT_WATCH).
 *
 * Rule of use: set kind and the callbacks, then init_watch_open(). When the
 * connection breaks it is closed and `lost` is called, which decides: try again
 * (init_watch_again), or end. After a new connection everything is told anew;
 * what was not told again before INIT_EVENT_SYNCED is gone. A confined program
 * lists socket and connect among its calls. */
#ifndef BASE_INIT_WATCH_H
#define BASE_INIT_WATCH_H

#include "init/init.h"
#include "loop.h"

struct init_watch {
	enum init_kind kind;
	/* The name in the key ends somewhere; descriptors that are not taken
	 * out of fds are closed. */
	void (*event)(struct init_watch *, struct init_event *,
		      struct ipc_fds *fds);
	void (*lost)(struct init_watch *);

	/* Ours. */
	struct loop *loop;
	struct watch watch;
	struct timer again;
};

/* Connects. 0 or -errno. */
int init_watch_open(struct init_watch *w, struct loop *loop);

/* Connects anew, in a moment, and again until it succeeds. */
void init_watch_again(struct init_watch *w);

#endif
