#define _GNU_SOURCE
#include "sweep.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"

#include "node.h"

/* Images are asked for one by one. After one was forgotten the numbers of the
 * others may have changed, so counting begins again, behind those that could
 * not be forgotten and are now merely wanted by a container that ends. */
static struct {
	bool begun;
	struct call call;
} sweep;

static void list_done(struct call *call, const struct zrun_reply *reply);

static void list(uint32_t n)
{
	memset(&sweep.call.request, 0, sizeof(sweep.call.request));
	sweep.call.request.arg = n;
	sweep.call.done = list_done;
	call_send(&node.loop, &sweep.call, ZRUN_IMAGES, -1);
}

/* The digest of the image that an application has or will have. */
static const struct digest *image_of(const struct app *app)
{
	if (app->image)
		return &app->image->manifest;
	return app->note.magic ? &app->note.image : NULL;
}

static bool is_wanted(const struct digest *image)
{
	for (int i = 0; i < NODE_SLOTS; i++) {
		const struct app *app = &node.app[i];
		const struct digest *own = app->in_use ? image_of(app) : NULL;

		if (own && digest_equal(own, image))
			return true;
	}
	return false;
}

/* The number of the image asked for last stays in the request. */
static void forget_done(struct call *call, const struct zrun_reply *reply)
{
	uint32_t n = call->request.arg;

	if (reply->error)
		log_notice("images", "%s", reply->text);
	else
		log_info("images", "%s forgotten", call->request.digest);
	list(reply->error ? n + 1 : 0);
}

static void list_done(struct call *call, const struct zrun_reply *reply)
{
	uint32_t n = call->request.arg;
	struct digest image;

	if (reply->error || digest_parse(span_of(reply->text), &image))
		return;
	if (is_wanted(&image)) {
		list(n + 1);
		return;
	}
	digest_text(&image, call->request.digest);
	call->done = forget_done;
	call_send(&node.loop, call, ZRUN_FORGET, -1);
}

void sweep_consider(void)
{
	if (sweep.begun || !node.readable)
		return;
	for (int i = 0; i < NODE_SLOTS; i++)
		if (node.app[i].in_use && !image_of(&node.app[i]))
			return;
	sweep.begun = true;
	call_init(&sweep.call);
	list(0);
}
