#include "reclaim.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"

#include "app.h"
#include "node.h"

/* The one under way. */
static struct call call = { .fd = -1, .memfd = -1, .stdio = -1 };

static void next(void);

static void done(struct call *c, const union call_reply *any, int fd)
{
	const struct zrun_reply *reply = &any->zrun;

	(void)fd;
	switch (-reply->error) {
	case 0:
	case EBUSY: /* thawed meanwhile */
	case ENOENT:
	case ESRCH:
	case ECONNRESET:
	case EOPNOTSUPP: /* it is so on this machine */
	case ENOSPC:
		break;
	default:
		log_warning(c->request.zrun.id, "keeps its memory: %s",
			    reply->text[0] ? reply->text
					   : strerror(-reply->error));
	}
	next();
}

static void ask(struct app *app)
{
	app->reclaim.due = false;
	call_zrun(&call, app->id);
	call.done = done;
	(void)call_send(&node.loop, &call, CALL_ZRUN, ZRUN_RECLAIM, -1);
}

static void next(void)
{
	for (int i = 0; i < node.n_slots && !call_busy(&call); i++) {
		struct app *app = &node.app[i];

		if (app->in_use && app->reclaim.due)
			ask(app);
	}
}

static void timer_fire(struct timer *t)
{
	struct app *app = container_of(t, struct app, reclaim.timer);

	/* To write it to disk brings all of it back. */
	app->reclaim.due = app->state == ZNODE_FROZEN &&
			   !sleep_holds_ports(app) && !app->sleep.by_hand;
	next();
}

void reclaim_init(struct app *app)
{
	app->reclaim.timer.fire = timer_fire;
}

void reclaim_frozen(struct app *app, uint32_t after_ms)
{
	timer_set(&node.loop, &app->reclaim.timer, after_ms);
}

void reclaim_thawed(struct app *app)
{
	timer_cancel(&app->reclaim.timer);
	app->reclaim.due = false;
}
