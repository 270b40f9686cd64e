#define _GNU_SOURCE
#include "pull.h"

#include <errno.h>
#include <stdarg.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "oci/image_config.h"
#include "oci/image_index.h"

#include "layout.h"
#include "space.h"
#include "stored.h"

struct puller puller;

static void advance(struct pull *pull);

/* ------------------------------------------------------- start and the end */

static void list_remove(struct pull *pull)
{
	struct pull **p = &puller.first;

	while (*p != pull)
		p = &(*p)->sibling;
	*p = pull->sibling;
}

void pull_stop(struct pull *pull)
{
	if (!pull->busy)
		return;
	pull->busy = false;
	list_remove(pull);
	for (int i = 0; i < FETCHES_MAX; i++)
		fetch_stop(&pull->fetch[i]);
	remote_cancel(&pull->get);
	hub_ask_stop(&pull->hub);
	timer_cancel(&pull->timer);
	remote_close(pull->remote);
	pull->remote = NULL;
	if (!puller.first) {
		remote_client_close(puller.client);
		puller.client = NULL;
	}
}

/* The last that is done in a callback. */
static void end(struct pull *pull, int error)
{
	pull_stop(pull);
	pull->done(pull, error);
}

/* Writes "HOST/REPOSITORY: message" and returns error. */
__attribute__((format(printf, 3, 4))) static int say(struct pull *pull,
						     int error, const char *fmt,
						     ...)
{
	const struct reference *reference = &pull->want.reference;
	int n = snprintf(pull->text, sizeof(pull->text), "%.60s/%.60s: ",
			 pull->want.hub ? "hub" : reference->host,
			 reference->repository);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(pull->text + n, sizeof(pull->text) - (size_t)n, fmt, ap);
	va_end(ap);
	return error;
}

static void timer_fire(struct timer *t)
{
	advance(container_of(t, struct pull, timer));
}

int pull_start(struct pull *pull, const struct pull_want *want)
{
	int r;

	if (!puller.client) {
		r = remote_client_open(puller.loop, &puller.client);
		if (r)
			return r;
	}
	pull->site = 0;
	pull->want = *want;
	pull->busy = true;
	pull->state = PULL_TOP;
	pull->sibling = puller.first;
	puller.first = pull;
	pull->timer.fire = timer_fire;
	timer_set(puller.loop, &pull->timer, 0);
	return 0;
}

/* ------------------------------------------------------------ the registry */

static void hub_told(struct hub_ask *ask, int error)
{
	struct pull *pull = container_of(ask, struct pull, hub);
	struct remote_source source = {
		.host = ask->pull.registry,
		.repository = pull->want.reference.repository,
		.ca = { ask->root, ask->root_size },
		.token = ask->pull.token,
	};

	if (!error)
		error = remote_open(puller.client, &source, &pull->remote);
	free(ptr_take(&ask->root));
	explicit_bzero(ask->pull.token, sizeof(ask->pull.token));
	if (error)
		end(pull, say(pull, error, "%s",
			      ask->text[0] ? ask->text
					   : "zagent told no usable way"));
	else
		advance(pull);
}

/* Begins anew with what is there, by another way to the registry. */
static void reconnect(struct pull *pull, unsigned pause_ms)
{
	for (int i = 0; i < FETCHES_MAX; i++)
		fetch_stop(&pull->fetch[i]);
	remote_close(pull->remote);
	pull->remote = NULL;
	pull->next = 0;
	timer_set(puller.loop, &pull->timer, pause_ms);
}

/* What another registry may not answer. */
static bool is_answer(int error)
{
	return remote_is_transient(error) || error == -ENOENT ||
	       error == -EACCES || error == -EBADMSG || error == -EPROTO ||
	       error == -E2BIG;
}

static bool has_another(const struct pull *pull)
{
	return pull->want.sites && pull->site + 1 < pull->want.sites->n;
}

/* A mirror that has not, or does not do, what is wanted is passed over. A hub
 * that restarted knows its tokens no more, and zagent learns of that only once
 * it is connected again: the token is asked for anew a few times. */
static void refused(struct pull *pull, int error)
{
	int pause_ms = error == -EACCES && pull->want.hub
			       ? retry_pause_ms(&pull->token_retry, 0, 0)
			       : -1;

	if (is_answer(error) && has_another(pull)) {
		log_notice(pull->want.sites->site[pull->site++].host,
			   "passed over as a mirror: %s", pull->text);
		pull->retry = (struct retry){ 0 };
		pause_ms = 0;
	}
	if (pause_ms < 0)
		end(pull, error);
	else
		reconnect(pull, (unsigned)pause_ms);
}

static bool site_open(struct pull *pull)
{
	const struct site *site = &pull->want.sites->site[pull->site];
	const struct remote_source source =
		site_source(site, pull->want.reference.repository);
	int r = remote_open(puller.client, &source, &pull->remote);

	if (r)
		end(pull, say(pull, r, "%s", strerror(-r)));
	return !r;
}

/* True once there is a way to the registry. */
static bool connected(struct pull *pull)
{
	int r;

	if (pull->remote || pull->hub.loop)
		return pull->remote != NULL;
	if (pull->want.sites)
		return site_open(pull);
	pull->hub.done = hub_told;
	r = hub_ask(puller.loop, &pull->hub);
	if (r)
		end(pull, say(pull, r, "%s", pull->hub.text));
	return false;
}

/* --------------------------------------------------------------- documents */

static void to_blobs(struct pull *pull)
{
	pull->total_bytes = pull->document.config.size;
	for (unsigned i = 0; i < pull->document.n_layers; i++)
		pull->total_bytes += pull->document.layer[i].size;
	stored_find(puller.stored, &pull->document, pull->stored);
	pull->retry = (struct retry){ 0 };
	pull->next = 0;
	pull->state = PULL_CONFIG;
	advance(pull);
}

static void manifest_take(struct pull *pull, struct span text,
			  const struct digest *digest)
{
	char why[IMAGE_ERROR_SIZE];
	int r = image_manifest_parse(text, &pull->document, why);

	if (!r)
		r = layout_write(pull->want.layout, digest, text);
	if (r < 0 && !why[0])
		text_copy(why, sizeof(why), strerror(-r));
	if (r) {
		end(pull, say(pull, r == -EINVAL ? -EBADMSG : r, "%s", why));
		return;
	}
	pull->manifest.digest = *digest;
	pull->manifest.size = text.size;
	to_blobs(pull);
}

static void index_take(struct pull *pull, struct span text,
		       const struct digest *digest,
		       const struct image_index *index)
{
	char why[IMAGE_ERROR_SIZE];
	int i, r;

	if (pull->state == PULL_PLATFORM) {
		end(pull, say(pull, -ENOTSUP, "an index within an index"));
		return;
	}
	i = image_index_pick(index, "", pull->want.platform, why);
	if (i < 0) {
		end(pull, say(pull, -ENOTSUP, "%s", why));
		return;
	}
	r = layout_write(pull->want.layout, digest, text);
	pull->index = r ? NULL : malloc(text.size);
	if (!pull->index) {
		end(pull, say(pull, r ? r : -ENOMEM, "%s",
			      strerror(r ? -r : ENOMEM)));
		return;
	}
	memcpy(pull->index, text.data, text.size);
	pull->index_size = text.size;
	pull->manifest = index->entry[i].descriptor;
	pull->state = PULL_PLATFORM;
	advance(pull);
}

/* A verified document: what has a list "manifests" is an index, whatever the
 * registry calls it. */
static void document_take(struct pull *pull, struct span text,
			  const struct digest *digest)
{
	autofree struct image_index *index = malloc(sizeof(*index));
	char why[IMAGE_ERROR_SIZE];

	if (!index)
		end(pull, say(pull, -ENOMEM, "out of memory"));
	else if (image_index_parse(text, index, why) == 0)
		index_take(pull, text, digest, index);
	else
		manifest_take(pull, text, digest);
}

static void document_came(struct remote_get *get, int error)
{
	struct pull *pull = container_of(get, struct pull, get);
	autofree char *text = error ? NULL : ptr_take(&get->document);
	int pause_ms = -1;

	if (error) {
		text_copy(pull->text, sizeof(pull->text), get->text);
		if (remote_is_transient(error) && !has_another(pull))
			pause_ms = retry_pause_ms(&pull->retry, 0,
						  get->retry_after_s);
		if (pause_ms < 0)
			refused(pull, error);
		else
			timer_set(puller.loop, &pull->timer,
				  (uint64_t)pause_ms);
		return;
	}
	text_copy(pull->media_type, sizeof(pull->media_type), get->media_type);
	document_take(pull, (struct span){ text, get->document_size },
		      &get->found);
}

static void document_get(struct pull *pull, const struct digest *digest)
{
	int r;

	if (!connected(pull))
		return;
	pull->get = (struct remote_get){ .what = REMOTE_MANIFEST,
					 .done = document_came };
	if (digest)
		digest_text(digest, pull->get.reference);
	else
		text_copy(pull->get.reference, sizeof(pull->get.reference),
			  pull->want.reference.tag);
	r = remote_start(pull->remote, &pull->get);
	if (r)
		end(pull, say(pull, r, "%s", strerror(-r)));
}

/* From the layout where it is there, else from the registry. */
static void document_want(struct pull *pull)
{
	const struct reference *reference = &pull->want.reference;
	const struct digest *digest = pull->state == PULL_PLATFORM
					      ? &pull->manifest.digest
				      : reference->has_digest
					      ? &reference->digest
					      : NULL;
	autofree char *text = NULL;
	size_t size;

	if (digest && layout_read(pull->want.layout, digest, IMAGE_DOCUMENT_MAX,
				  &text, &size) == 0)
		document_take(pull, (struct span){ text, size }, digest);
	else
		document_get(pull, digest);
}

/* ------------------------------------------------------------------- blobs */

/* Layers that the image store has are not unpacked again (import.c). */
static bool is_there(const struct pull *pull, unsigned layer)
{
	return pull->stored[layer] ||
	       layout_has(pull->want.layout, &pull->document.layer[layer]);
}

static uint64_t bytes_missing(const struct pull *pull)
{
	const struct image_manifest *m = &pull->document;
	uint64_t missing = 0;

	for (unsigned i = 0; i < m->n_layers; i++)
		if (!is_there(pull, i))
			missing += m->layer[i].size;
	return missing;
}

void pull_count(struct pull *pull)
{
	uint64_t done = pull->total_bytes - bytes_missing(pull);

	if (!layout_has(pull->want.layout, &pull->document.config))
		done -= pull->document.config.size;
	for (int i = 0; i < FETCHES_MAX; i++)
		if (pull->fetch[i].blob)
			done += pull->fetch[i].part_bytes;
	pull->done_bytes = done > pull->total_bytes ? pull->total_bytes : done;
}

static bool wants_all(const char *name)
{
	(void)name;
	return true;
}

/* What the beginnings of blobs take is counted twice: little, on the safe
 * side. */
static int check_space(struct pull *pull)
{
	uint64_t need = bytes_missing(pull), left = 0;
	int r = puller.root >= 0
			? space_make(puller.root, need, puller.is_wanted, &left)
			: space_make(pull->want.layout, need, wants_all, &left);

	if (r == -ENOSPC)
		say(pull, r,
		    "needs %llu MB, %llu MB are left above the node's "
		    "reserve: remove an image",
		    (unsigned long long)(need >> 20) + 1,
		    (unsigned long long)left >> 20);
	else if (r)
		say(pull, r, "free space: %s", strerror(-r));
	return r;
}

static void finish(struct pull *pull)
{
	const char *type = pull->media_type;
	int r;

	if (image_media_parse(span_of(type)) != IMAGE_MEDIA_MANIFEST)
		type = "application/vnd.oci.image.manifest.v1+json";
	r = layout_finish(pull->want.layout, &pull->manifest, type,
			  pull->want.reference.tag);
	if (r) {
		end(pull, say(pull, r, "index.json: %s", strerror(-r)));
		return;
	}
	pull->done_bytes = pull->total_bytes;
	end(pull, 0);
}

/* Before megabytes of layers come: can this machine run it at all? */
static int check_platform(struct pull *pull)
{
	const struct image_platform *own = pull->want.platform;
	struct image_config *config = malloc(sizeof(*config));
	char why[IMAGE_ERROR_SIZE] = "out of memory";
	autofree char *text = NULL;
	size_t size;
	int r = config ? layout_read(pull->want.layout,
				     &pull->document.config.digest,
				     IMAGE_CONFIG_MAX, &text, &size)
		       : -ENOMEM;

	if (!config)
		return r;
	memset(config, 0, sizeof(*config));
	if (r)
		text_copy(why, sizeof(why), strerror(-r));
	else
		r = image_config_parse((struct span){ text, size }, config,
				       why);
	if (r)
		say(pull, r, "%s", why);
	else if (!image_platform_fits(&config->platform, own)) {
		say(pull, -ENOTSUP, "made for %s/%s, wanted for %s/%s",
		    config->platform.os, config->platform.architecture, own->os,
		    own->architecture);
		r = -ENOTSUP;
	}
	image_config_free(config);
	free(config);
	return r == -EINVAL ? -EBADMSG : r;
}

static void config_want(struct pull *pull)
{
	const struct image_descriptor *config = &pull->document.config;
	int r;

	if (!layout_has(pull->want.layout, config)) {
		if (config->size > IMAGE_CONFIG_MAX)
			end(pull, say(pull, -E2BIG, "its config has %llu bytes",
				      (unsigned long long)config->size));
		else if (connected(pull) && !pull->fetch[0].blob)
			fetch_start(&pull->fetch[0], pull, config);
		return;
	}
	r = check_platform(pull);
	if (!r)
		r = check_space(pull);
	if (r) {
		end(pull, r);
		return;
	}
	pull->state = PULL_LAYERS;
	if (pull->begun)
		pull->begun(pull);
	advance(pull);
}

static struct fetch *idle_fetch(struct pull *pull)
{
	for (int i = 0; i < FETCHES_MAX; i++)
		if (!pull->fetch[i].blob)
			return &pull->fetch[i];
	return NULL;
}

static bool is_fetching(const struct pull *pull)
{
	for (int i = 0; i < FETCHES_MAX; i++)
		if (pull->fetch[i].blob)
			return true;
	return false;
}

static void layers_want(struct pull *pull)
{
	const struct image_manifest *m = &pull->document;
	struct fetch *fetch;

	while (pull->next < m->n_layers) {
		const struct image_descriptor *layer = &m->layer[pull->next];

		if (is_there(pull, pull->next)) {
			pull->next++;
			continue;
		}
		fetch = idle_fetch(pull);
		if (!fetch || !connected(pull))
			return;
		fetch_start(fetch, pull, layer);
		pull->next++;
	}
	if (!is_fetching(pull))
		finish(pull);
}

void pull_fetched(struct pull *pull, struct fetch *fetch, int error)
{
	(void)fetch;
	if (error)
		refused(pull, error);
	else
		advance(pull);
}

static void advance(struct pull *pull)
{
	switch (pull->state) {
	case PULL_TOP:
	case PULL_PLATFORM:
		document_want(pull);
		return;
	case PULL_CONFIG:
		config_want(pull);
		return;
	case PULL_LAYERS:
		layers_want(pull);
		return;
	}
}
