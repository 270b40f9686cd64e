/* How the image of an application gets into zrun's store: out of a layout on
 * the ZOOID partition, or pulled by zpull; and how it is found there again
 * without any network. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"

#include "app_step.h"

enum {
	REFETCH_MIN_MS = 100,
	/* Once the hub is back it must not take longer. */
	REFETCH_MAX_MS = 8000,
	/* What the registry must mend first. */
	REFETCH_FINAL_MS = 60000,
	/* Smaller images are unpacked in a moment once they are there, and
	 * turning to and fro costs a small node more than it brings. */
	FOLLOW_MIN_BYTES = 16 << 20,
};

/* What another attempt does not change soon: the image is damaged or refused
 * as it is. */
static bool is_final(int code)
{
	return code == -EBADMSG || code == -EINVAL || code == -EPERM ||
	       code == -ENOTSUP || code == -E2BIG || code == -ENOENT ||
	       code == -EACCES;
}

static uint32_t wait_longer(struct app *app, int code)
{
	uint32_t wait = app->refetch_ms * 2;

	if (wait < REFETCH_MIN_MS)
		wait = REFETCH_MIN_MS;
	if (wait > REFETCH_MAX_MS)
		wait = REFETCH_MAX_MS;
	if (is_final(code))
		wait = REFETCH_FINAL_MS;
	else
		app->refetch_ms = wait;
	wait = app_jitter(wait);
	timer_set(app->host->loop, &app->refetch, wait);
	return wait;
}

/* A layout on the ZOOID partition does not mend itself. `text` may be
 * app->reason itself. */
static int fetch_fail(struct app *app, int code, const char *text)
{
	if (text != app->reason)
		text_copy(app->reason, sizeof(app->reason),
			  text[0] ? text : strerror(-code));
	app->final = app->local && is_final(code) && !app->alive;
	if (app->final)
		log_error(app->name, "%s", app->reason);
	else
		log_error(app->name, "%s; next attempt in %u ms", app->reason,
			  wait_longer(app, code));
	return code;
}

static void fetched(struct app *app)
{
	app->pulled = true;
	app->suspect = false;
	app->refetch_ms = 0;
	app->reason[0] = '\0';
}

/* --------------------------------------------------------------- reading */

/* The document names it, or an index that says which is for this node. */
struct digest app_image_manifest(const struct app *app)
{
	char error[NODE_IMAGE_ERROR_SIZE];
	const struct digest *named = &app->want->digest;
	autofree char *text = NULL;
	struct digest manifest;
	size_t size;

	if (app->found)
		return app->manifest;
	if (document_index_read(&app->host->document, named, &text, &size) ==
		    0 &&
	    node_index_pick((struct span){ text, size }, named, &manifest,
			    error) == 0)
		return manifest;
	return *named;
}

static int read_wanted(const struct app *app, struct node_image *image,
		       char *error)
{
	struct digest manifest;

	if (app->local)
		return node_image_find(app->host->boot, app->local->image,
				       app->local->tag, image, error);
	manifest = app_image_manifest(app);
	return node_image_load(app->host->images, &manifest, image, error);
}

struct node_image *app_image_read(struct app *app, int *error)
{
	struct node_image *image = malloc(sizeof(*image));

	*error = -ENOMEM;
	if (!image) {
		strcpy(app->reason, "out of memory");
		return NULL;
	}
	*error = read_wanted(app, image, app->reason);
	if (*error) {
		node_image_free(image);
		free(image);
		return NULL;
	}
	app->found = true;
	app->manifest = image->manifest;
	app->image_bytes = image->bytes;
	app_health_set(app, &image->config);
	return image;
}

struct node_image *app_image_of_instance(struct app *app)
{
	struct node_image *image = malloc(sizeof(*image));
	char error[NODE_IMAGE_ERROR_SIZE];
	int r;

	if (!image)
		return NULL;
	r = node_image_load(app->host->images, &app->note.image, image, error);
	if (r && app->local) {
		node_image_free(image);
		r = read_wanted(app, image, error);
	}
	if (!r)
		return image;
	node_image_free(image);
	free(image);
	return NULL;
}

bool app_image_comes(const struct app *app)
{
	return call_busy(&app->fetch) || call_busy(&app->unpack);
}

/* The worker that follows the layers ends by itself. */
static void follow_stop(struct app *app)
{
	call_cancel(&app->unpack);
	fd_close(&app->unpack_pipe);
	app->unpacked = false;
}

void app_image_drop(struct app *app)
{
	call_cancel(&app->fetch);
	follow_stop(app);
	app->found = app->pulled = false;
	app->image_bytes = 0;
}

/* Whether it is here and can be read. */
static int image_find(struct app *app)
{
	int r;
	struct node_image *image = app_image_read(app, &r);

	if (image)
		node_image_free(image);
	free(image);
	return r;
}

/* -------------------------------------------------------------- fetching */

static int ask(struct app *app, enum call_peer peer, uint32_t verb,
	       void (*done)(struct call *, const union call_reply *, int fd))
{
	int r;

	app->fetch.done = done;
	r = call_send(app->host->loop, &app->fetch, peer, verb, -1);
	if (r) {
		snprintf(app->reason, sizeof(app->reason),
			 "%s does not answer: %s",
			 peer == CALL_ZRUN ? "zrun" : "zpull", strerror(-r));
		/* It is being replaced, or not there yet. */
		return fetch_fail(app, -EAGAIN, app->reason);
	}
	return 0;
}

static void drop_done(struct call *call, const union call_reply *reply, int fd)
{
	struct app *app = container_of(call, struct app, fetch);

	if (reply->zpull.error && reply->zpull.error != -ENOENT)
		log_warning(app->name, "zpull: %s", reply->zpull.text);
	app_step(app);
	app->host->fetched(app);
}

/* zpull may remove what it fetched. */
static void layout_drop(struct app *app, const char *path)
{
	struct zpull_request *q = &app->fetch.request.zpull;
	char kept[sizeof(q->path)];

	text_copy(kept, sizeof(kept), path);
	memset(q, 0, sizeof(*q));
	text_copy(q->path, sizeof(q->path), kept);
	app->fetch.done = drop_done;
	app->fetch.progress = NULL;
	call_send(app->host->loop, &app->fetch, CALL_ZPULL, ZPULL_DROP, -1);
}

/* zrun has it, out of layout `path`, or has said why not. */
static void unpack_end(struct app *app, int r, const char *text,
		       const char *path)
{
	if (r)
		fetch_fail(app, r, text);
	else if (!app->local && (r = image_find(app)))
		fetch_fail(app, r, app->reason);
	else
		fetched(app);
	/* What is to be tried again soon need not come over the network. */
	if (!app->local && (!r || is_final(r)))
		layout_drop(app, path);
	app_step(app);
	app->host->fetched(app);
}

static void unpack_done(struct call *call, const union call_reply *any, int fd)
{
	unpack_end(container_of(call, struct app, fetch), any->zrun.error,
		   any->zrun.text, call->request.zrun.path);
}

static void unpack_ask(struct zrun_request *q, const struct digest *manifest,
		       const char *path, uint32_t flags)
{
	memset(q, 0, sizeof(*q));
	digest_text(manifest, q->digest);
	text_copy(q->path, sizeof(q->path), path);
	q->flags = flags;
}

static int unpack(struct app *app, const struct digest *manifest,
		  const char *path, uint32_t flags)
{
	unpack_ask(&app->fetch.request.zrun, manifest, path, flags);
	return ask(app, CALL_ZRUN, ZRUN_UNPACK, unpack_done);
}

/* ------------------------------------------------ unpacking what still comes
 */

/* While the pull goes on its end decides. What could not be unpacked so is
 * tried once more when all of it is there. */
static void follow_done(struct call *call, const union call_reply *any, int fd)
{
	struct app *app = container_of(call, struct app, unpack);
	char path[sizeof(call->request.zrun.path)];
	struct digest manifest;

	app->unpacked = any->zrun.error == 0;
	if (call_busy(&app->fetch))
		return;
	text_copy(path, sizeof(path), call->request.zrun.path);
	if (app->unpacked)
		unpack_end(app, 0, "", path);
	else if (digest_parse(span_of(call->request.zrun.digest), &manifest) ==
		 0)
		unpack(app, &manifest, path, ZRUN_UNPACK_PULLED);
	app_step(app);
}

/* Where that is not possible the layers are unpacked at the end. */
static void follow(struct app *app, const struct digest *manifest,
		   const char *path)
{
	autoclose int end = -1;
	int pair[2];

	if (call_busy(&app->unpack) || pipe2(pair, O_CLOEXEC) < 0)
		return;
	end = pair[0];
	fd_close(&app->unpack_pipe);
	app->unpack_pipe = pair[1];
	unpack_ask(&app->unpack.request.zrun, manifest, path,
		   ZRUN_UNPACK_PULLED);
	app->unpack.done = follow_done;
	if (call_send(app->host->loop, &app->unpack, CALL_ZRUN, ZRUN_UNPACK,
		      end))
		fd_close(&app->unpack_pipe);
}

/* What zpull found for this node. It reads the network, so where the document
 * names an index, the index itself must say so. */
static int check_pulled(struct app *app, const struct zpull_reply *reply,
			int fd, struct digest *manifest)
{
	const struct digest *named = &app->want->digest;
	struct digest told;
	autofree char *text = NULL;
	size_t size = 0;
	int r = digest_parse(span_of(reply->digest), &told);

	if (!r && digest_equal(&told, named)) {
		*manifest = told;
		return 0;
	}
	if (!r)
		r = memfd_read(fd, IMAGE_DOCUMENT_MAX, &text, &size);
	if (r) {
		snprintf(app->reason, sizeof(app->reason),
			 "zpull told neither the digest nor its index: %s",
			 strerror(-r));
		return -EBADMSG;
	}
	r = node_index_pick((struct span){ text, size }, named, manifest,
			    app->reason);
	if (!r && !digest_equal(&told, manifest)) {
		snprintf(app->reason, sizeof(app->reason),
			 "zpull fetched another manifest than the index names");
		return -EBADMSG;
	}
	if (!r)
		r = document_index_store(&app->host->document, named,
					 (struct span){ text, size });
	if (r && !app->reason[0])
		snprintf(app->reason, sizeof(app->reason),
			 "image index not stored: %s", strerror(-r));
	return r;
}

static void pull_progress(struct call *call, const struct zpull_reply *reply,
			  int fd)
{
	struct app *app = container_of(call, struct app, fetch);
	unsigned long long done = reply->done_bytes / 1000000,
			   total = reply->total_bytes / 1000000;
	struct digest manifest;

	if (reply->head.verb == ZPULL_BEGUN) {
		if (reply->total_bytes >= FOLLOW_MIN_BYTES &&
		    check_pulled(app, reply, fd, &manifest) == 0)
			follow(app, &manifest, reply->path);
		return;
	}
	if (reply->total_bytes)
		snprintf(app->reason, sizeof(app->reason),
			 "pulling: %llu of %llu MB", done, total);
	else
		snprintf(app->reason, sizeof(app->reason), "pulling: %llu MB",
			 done);
	app->host->changed(app);
}

static void pull_done(struct call *call, const union call_reply *any, int fd)
{
	struct app *app = container_of(call, struct app, fetch);
	const struct zpull_reply *reply = &any->zpull;
	struct digest manifest;
	int r = reply->error;

	app->reason[0] = '\0';
	if (r)
		fetch_fail(app, r, reply->text);
	else if ((r = check_pulled(app, reply, fd, &manifest)))
		fetch_fail(app, r, app->reason);
	fd_close(&app->unpack_pipe);
	if (r)
		follow_stop(app);
	else if (app->unpacked)
		unpack_end(app, 0, "", reply->path);
	else if (!call_busy(&app->unpack))
		unpack(app, &manifest, reply->path, ZRUN_UNPACK_PULLED);
	app_step(app);
}

static int pull(struct app *app)
{
	struct zpull_request *q = &app->fetch.request.zpull;
	const char *image = app->want->image;
	const char *registry = app->host->document.desired.registry;
	size_t n = strlen(registry);

	memset(q, 0, sizeof(*q));
	if (n && strncmp(image, registry, n) == 0 && image[n] == '/') {
		q->flags = ZPULL_HUB;
		image += n + 1;
	}
	text_copy(q->image, sizeof(q->image), image);
	digest_text(&app->want->digest, q->digest);
	app->unpacked = false;
	app->fetch.progress = pull_progress;
	return ask(app, CALL_ZPULL, ZPULL_PULL, pull_done);
}

/* zrun answers at once for an image that it has. */
static int need_local(struct app *app)
{
	int r = image_find(app);

	return r ? fetch_fail(app, r, app->reason)
		 : unpack(app, &app->manifest, app->local->image, 0);
}

static int need_from_hub(struct app *app)
{
	if (!app->suspect && image_find(app) == 0) {
		fetched(app);
		return 1;
	}
	app->reason[0] = '\0';
	return app->host->others_fetch(app) ? 0 : pull(app);
}

int app_image_need(struct app *app)
{
	if (app->pulled)
		return 1;
	if (app->refetch.deadline_ms || app->final)
		return -EAGAIN;
	if (app_image_comes(app))
		return 0;
	return app->local ? need_local(app) : need_from_hub(app);
}
