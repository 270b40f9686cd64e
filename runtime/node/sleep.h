/* An instance asleep: no client is led to it, and zrun has written it to disk
 * (ZRUN_SLEEP), so it holds no memory, and init knows nothing of it. The first
 * client, or a person, has it woken (ZRUN_WAKE); what cannot be woken is
 * started from its image, which says so.
 *
 *	FROZEN    closed for clients, sleep_after is over  -> ASLEEP
 *	ASLEEP    a client, a person                       -> STARTING
 *	STARTING  woken                                    -> RUNNING
 *	STARTING  it cannot be                             -> IMAGE
 *	ASLEEP    image_after is over                      -> IMAGE
 *
 * Dozing is the request under way, in state FROZEN still, until init has told
 * of the end of its process. Who comes meanwhile waits in the listen queue, and
 * it is woken as soon as it sleeps; one that could not be written is thawed,
 * with the reason, and frozen again, but not tried again before somebody has
 * used it.
 *
 * zrun serve keeps the note of what sleeps, which init does for what runs: a
 * znode that starts asks for it (sleep_search). What it finds and nobody wants
 * any more, or not as it is, is removed. Private to app*.c, reactor.c and
 * node.c. */
#ifndef NODE_SLEEP_H
#define NODE_SLEEP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/loop.h"

struct app;
struct app_note;

struct app_sleep {
	struct timer timer; /* from frozen to there; then to image only */
	bool due;	    /* it sleeps once it is closed for clients */
	bool by_hand;	    /* a person waits for that */
	bool failed;	    /* not tried again before somebody used it */
	bool ends;	    /* it was thawed to end its connections, once */
	bool dozing;
	bool wake;	   /* somebody waits for it to be awake */
	bool waking;	   /* ZRUN_WAKE is under way */
	bool found;	   /* it slept before this znode was started */
	uint64_t asked_us; /* CLOCK_MONOTONIC, when somebody did; or 0 */
	char why_not[160]; /* said last */
};

void sleep_init(struct app *app);
/* It was frozen; it was thawed. */
void sleep_frozen(struct app *app);
void sleep_thawed(struct app *app);
/* znet leads no client to it any more; of `left` connections only the clients
 * have gone. False: not for its sake. */
bool sleep_closed(struct app *app, uint32_t left);
/* In state FROZEN: whether it goes to sleep, and nothing else may be done. */
bool sleep_is_dozing(struct app *app);
/* Whether its ports are held, and znode told of who comes. */
bool sleep_holds_ports(const struct app *app);
/* Somebody wants it awake; false: it neither dozes nor sleeps. */
bool sleep_wake(struct app *app);
/* A person wants it asleep, which it is not. */
void sleep_wish(struct app *app);
/* Init forgot its process, without telling of its end first. */
void sleep_gone(struct app *app);

/* Once before anything is started, when it is known what init holds: calls
 * `found` for each that sleeps in zrun serve, then `done`. What `found` has no
 * use for is removed there, and so is what has ended and init knows nothing of.
 */
void sleep_search(struct loop *loop,
		  bool (*found)(const char *id, const struct app_note *note),
		  void (*done)(void));
/* Where `found` has noted so: it is asleep. */
void sleep_found(struct app *app);

#endif
