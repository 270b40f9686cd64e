/* Starts from where an instance first listened (reactive.checkpoint): what has
 * been started from its image is written to disk by zrun serve at that moment,
 * and whoever is started later is restored from there. Not to be mistaken for
 * sleep, which is of one instance and ends it.
 *
 *	IMAGE     -> ZRUN_RESTORE: there is one  -> RUNNING
 *	             there is none of this image and config, or it is damaged
 *	          -> ZRUN_START                  -> RUNNING, clients are held
 *	             ZRUN_LISTEN ... it listens  -> ZRUN_CHECKPOINT
 *	             it is written, or cannot be -> clients are led to it
 *
 * Clients are held because a connection could not be restored. serve knows what
 * a checkpoint is of, so nothing of that is kept here; its name is that of the
 * application. One is not used, and made anew, where a person wants a restart,
 * and after an instance of it ended by itself. Private to app*.c and node.c. */
#ifndef NODE_CHECKPOINT_H
#define NODE_CHECKPOINT_H

#include <stdbool.h>

#include "base/loop.h"
#include "call.h"

struct app;

struct app_checkpoint {
	struct call call;
	struct watch listens; /* hangs up when it does */
	struct timer patience;
	bool makes;	   /* of this instance, whose clients are held */
	bool writes;	   /* criu is at work */
	bool missed;	   /* it was asked for, for this start */
	bool anew;	   /* what there is, is not to be used */
	bool is_there;	   /* as serve has last told; of the first instance */
	unsigned failures; /* in a row */
};

void checkpoint_init(struct app *app);
/* For a start, in app->call.request: whether it is to be ZRUN_RESTORE. */
bool checkpoint_prepare(struct app *app);
/* The reply to that: true where it said that the start is one from the image.
 */
bool checkpoint_is_missed(struct app *app, const struct zrun_reply *reply);
/* The start is answered, and it is about to be RUNNING. */
void checkpoint_started(struct app *app);
/* It is RUNNING: what there is to be made is begun. */
void checkpoint_begin(struct app *app);
/* It does not run any more. */
void checkpoint_end(struct app *app);
/* Whether nothing may be done with it now. */
bool checkpoint_is_busy(const struct app *app);
/* Whether the next start is from one, as far as it is known. */
bool checkpoint_is_there(const struct app *app);
/* It ended by itself, or a person wants it anew. */
void checkpoint_distrust(struct app *app);

/* Removes checkpoints that no application wants; for sweep.c. */
void checkpoint_sweep(void);

#endif
