/* The reactor: containers change state as they are accessed (DESIGN §6).
 *
 *	RUNNING  nothing said for freeze_after, nothing works   -> FROZEN
 *	FROZEN   payload, a connection, a person, an end asked  -> RUNNING
 *	FROZEN   no connection, nothing said for image_after    -> IMAGE
 *	IMAGE    a client in the listen queue, a person         -> STARTING
 *
 * Between frozen and image only it may be asleep (sleep.h).
 *
 * znet sees what is said and throws the switch (net/traffic.h); here is
 * decided whether it shall be thrown: not while a program of `znode exec` or a
 * health probe runs in the container, nor while it computes by itself. Probes
 * are not made while it is frozen, and its health stays what it was.
 *
 * Both ends hold the switch: when znet goes away, all that is frozen is thawed
 * here, and a znode that starts thaws whatever it finds. Private to app*.c,
 * reactor.c, sleep.c and server.c. */
#ifndef NODE_REACTOR_H
#define NODE_REACTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"
#include "call.h"
#include "init/init.h"
#include "znode.h"

struct app;

enum {
	REACTOR_WAKES_MAX = 128, /* that the quantiles are of */
	/* Of one processor, while nothing was asked: more is work. */
	REACTOR_BUSY_PERCENT = 5,
};

struct app_reactor {
	struct call call; /* asks zrun for the freezer */
	int freezer;	  /* -1: none yet */
	bool adopted;	  /* may be frozen from before this znode */
	bool failed;	  /* zrun gave none: not to be asked again */
	bool by_hand;	  /* a person waits for it to be frozen, */
	bool hand_frozen; /* and it is */
	bool ordered;	  /* znet was told to freeze it */
	uint32_t told_ms; /* to znet, as quiet_ms; */
	bool told_byte;	  /* as are these two */
	bool told;
	uint32_t execs;	     /* a bit for each program of ZRUN_EXEC */
	uint64_t lull_cpu;   /* ms of CPU when it fell silent, */
	uint64_t lull_ms;    /* and when that was */
	char why[64];	     /* it is awake; or why it was not frozen */
	const char *refused; /* why the last wish was; NULL: it was not */
	/* image_after: it is at rest, image only, until a client comes. */
	bool rests, may_rest;
	struct timer image; /* from frozen to there */
	uint32_t wakes;
	uint32_t us[REACTOR_WAKES_MAX]; /* from thaw to answer, a ring */
	uint32_t n_us;
};

void reactor_init(struct app *app);
/* Init told of an instance of an earlier znode; of all that it holds. */
void reactor_adopt(struct app *app);
void reactor_found(struct app *app);
/* What is wanted of it has changed. */
void reactor_want(struct app *app);
/* Brings what znet is told in line with the instance and what is wanted. */
void reactor_step(struct app *app);
/* The instance is gone, or is another's business. Thaws it. */
void reactor_end(struct app *app);
/* It is to run now, for this reason. */
void reactor_wake(struct app *app, const char *why);
/* znet is to lead no client to it once nobody is connected: sleep_closed(). */
void reactor_close(const struct app *app);
/* No client is to be led to it any more: app_is_drained() may then be asked
 * anew once no connection leads into it, or with ZNET_DRAIN_ANSWERS in flags no
 * request is in its hands. False: none is. */
bool reactor_drain(const struct app *app, uint32_t flags);
/* It is to run after all, and clients are led to it again. */
void reactor_reopen(struct app *app, const char *why);
/* It took so long from the first client until it ran. */
void reactor_woken(struct app *app, uint64_t us);
/* Wishes: freeze it now, if no request waits for an answer, put it to sleep;
 * wake it. */
void reactor_wish(struct app *app, enum znode_verb verb);
/* What init tells of a process that was executed in it. */
void reactor_exec_event(struct app *app, const struct init_event *event);
void reactor_describe(const struct app *app, struct znode_app *row);
/* Also why it would not be frozen now, which takes a look at what it uses. */
void reactor_holds(struct app *app, struct znode_app *row);

#endif
