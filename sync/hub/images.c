#include "images.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cache.h"
#include "registry.h"
#include "registry/remote.h"

struct image {
	struct images *images;
	struct registry_name name;
	struct cache_wait wait;
	unsigned app; /* the index */
	int error;
	struct digest digest;
	char why[REMOTE_TEXT_SIZE];
};

struct images {
	struct api_call *call;
	unsigned n, pending;
	struct image image[];
};

static void images_gone(struct api_call *call)
{
	struct images *images = call->state;

	for (unsigned i = 0; i < images->n; i++)
		cache_wait_cancel(&images->image[i].wait);
	free(images);
	call->state = NULL;
}

static void image_known(struct cache_wait *w, int error, const char *why)
{
	struct image *image = container_of(w, struct image, wait);
	struct images *images = image->images;

	image->error = error;
	image->digest = w->digest;
	text_copy(image->why, sizeof(image->why), why);
	if (--images->pending == 0)
		images->call->route->handle(images->call);
}

static struct images *images_new(struct api_call *call,
				 const struct desired *apps)
{
	struct images *images = calloc(
		1, sizeof(*images) + apps->n_apps * sizeof(images->image[0]));

	if (!images)
		return NULL;
	images->call = call;
	for (unsigned i = 0; i < apps->n_apps; i++) {
		struct image *image = &images->image[images->n];

		if (apps->app[i].has_digest)
			continue;
		registry_name(call->hub, apps->app[i].image, &image->name);
		image->images = images;
		image->app = i;
		image->wait.done = image_known;
		images->n++;
	}
	call->state = images;
	call->gone = images_gone;
	return images;
}

/* Whether all are known already. */
static bool images_ask(struct images *images)
{
	images->pending = images->n + 1;
	for (unsigned i = 0; i < images->n; i++)
		cache_manifest(images->call->hub, images->image[i].name.repo,
			       images->image[i].name.reference,
			       &images->image[i].wait);
	return --images->pending == 0;
}

int images_resolve(struct api_call *call, struct desired *apps,
		   char problem[API_ERROR_SIZE], int *status)
{
	struct images *images = call->state;

	if (!images) {
		images = images_new(call, apps);
		if (!images)
			return -ENOMEM;
		if (!images_ask(images))
			return -EINPROGRESS;
	}
	for (unsigned i = 0; i < images->n; i++) {
		const struct image *image = &images->image[i];
		struct desired_app *app = &apps->app[image->app];

		if (image->error) {
			snprintf(problem, API_ERROR_SIZE, "%s: %s", app->name,
				 image->why);
			*status = remote_is_transient(image->error) ? 503
				  : image->error == -ENOSPC	    ? 507
								    : 400;
			return -EINVAL;
		}
		app->digest = image->digest;
		app->has_digest = true;
	}
	return 0;
}
