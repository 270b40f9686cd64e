#define _GNU_SOURCE
#include "sweep.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"

#include "app_step.h"
#include "node.h"

/* Images are asked for one by one. After one was forgotten the numbers of the
 * others may have changed, so counting begins again, behind those that could
 * not be forgotten and are now merely wanted by a container that ends. */
static struct {
	bool begun; /* call was made ready */
	bool idle;  /* nothing changed since the last */
	struct call call;
} sweep;

static void list_done(struct call *call, const union call_reply *any, int fd);

static void list(uint32_t n)
{
	call_zrun(&sweep.call, "")->arg = n;
	sweep.call.done = list_done;
	call_send(&node.loop, &sweep.call, CALL_ZRUN, ZRUN_IMAGES, -1);
}

/* Whether an application has the image, will have it, or fetches it now. */
static bool has_image(const struct app *app, const struct digest *image)
{
	struct digest fetched, named;

	if (app->note.magic && digest_equal(&app->note.image, image))
		return true;
	if (app->ran && digest_equal(&app->ran_image, image))
		return true;
	if (app->want && (app->found || !app->local)) {
		named = app_image_manifest(app);
		if (digest_equal(&named, image))
			return true;
	}
	return call_busy(&app->fetch) && app->fetch.peer == CALL_ZRUN &&
	       digest_parse(span_of(app->fetch.request.zrun.digest),
			    &fetched) == 0 &&
	       digest_equal(&fetched, image);
}

static bool is_wanted(const struct digest *image)
{
	for (int i = 0; i < node.n_slots; i++)
		if (node.app[i].in_use && has_image(&node.app[i], image))
			return true;
	return false;
}

/* The number of the image asked for last stays in the request. */
static void forget_done(struct call *call, const union call_reply *any, int fd)
{
	const struct zrun_reply *reply = &any->zrun;
	uint32_t n = call->request.zrun.arg;

	if (reply->error)
		log_notice("images", "%s", reply->text);
	else
		log_info("images", "%s forgotten", call->request.zrun.digest);
	list(reply->error ? n + 1 : 0);
}

static void list_done(struct call *call, const union call_reply *any, int fd)
{
	const struct zrun_reply *reply = &any->zrun;
	uint32_t n = call->request.zrun.arg;
	struct digest image;

	if (reply->error || digest_parse(span_of(reply->text), &image))
		return;
	if (is_wanted(&image)) {
		list(n + 1);
		return;
	}
	digest_text(&image, call->request.zrun.digest);
	call->done = forget_done;
	call_send(&node.loop, call, CALL_ZRUN, ZRUN_FORGET, -1);
}

/* What an application of node.json names is not known before it was found; of
 * the document it is, and what is not found there is not in the store. */
static bool is_known(const struct app *app)
{
	if (app->kept || (app->alive && !app->note.magic))
		return false;
	return !app->local || app->found || app->note.magic;
}

void sweep_due(void)
{
	sweep.idle = false;
}

void sweep_consider(void)
{
	if (sweep.idle || !node.synced || !node.readable ||
	    !node.host.document.known)
		return;
	for (int i = 0; i < node.n_slots; i++)
		if (node.app[i].in_use && !is_known(&node.app[i]))
			return;
	if (!sweep.begun)
		call_init(&sweep.call);
	sweep.begun = sweep.idle = true;
	/* One under way begins anew. */
	call_cancel(&sweep.call);
	list(0);
	checkpoint_sweep();
}
