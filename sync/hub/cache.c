/* Manifests. A lookup is one question to a registry, and whoever waits for its
 * answer:
 *
 *	digest		get it
 *	tag, unknown	get it
 *	tag, known	ask for its digest alone; get that when it is another
 *
 * A registry's own limits count the first kind of request, not the last. */
#include "cache.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/log.h"
#include "cache_parts.h"
#include "registry.h"
#include "upstream.h"

struct cache_lookup {
	struct hub *hub;
	char repo[REGISTRY_REPO_SIZE], reference[REGISTRY_TAG_SIZE];
	bool known; /* and this is the newest here: */
	struct digest digest;
	struct upstream *upstream;
	struct remote_get get;
	struct store_wait settled;
	struct cache_wait *waits;
	struct cache_lookup *next, **prevp;
};

int cache_open(struct hub *hub)
{
	hub->cache = calloc(1, sizeof(*hub->cache));
	return hub->cache ? 0 : -ENOMEM;
}

static void lookup_free(struct cache_lookup *l)
{
	remote_cancel(&l->get);
	store_wait_cancel(&l->settled);
	if (l->upstream)
		upstream_release(l->upstream);
	*l->prevp = l->next;
	if (l->next)
		l->next->prevp = l->prevp;
	free(l->get.document);
	free(l);
}

void cache_close(struct hub *hub)
{
	if (!hub->cache)
		return;
	while (hub->cache->lookups) {
		struct cache_lookup *l = hub->cache->lookups;

		while (l->waits)
			cache_wait_cancel(l->waits);
		lookup_free(l);
	}
	cache_fetches_end(hub);
	free(hub->cache);
	hub->cache = NULL;
}

void cache_wait_cancel(struct cache_wait *w)
{
	if (!w->lookup)
		return;
	*w->prevp = w->next;
	if (w->next)
		w->next->prevp = w->prevp;
	w->lookup = NULL;
}

/* Tells all who wait, and is gone. */
static void lookup_end(struct cache_lookup *l, int error)
{
	while (l->waits) {
		struct cache_wait *w = l->waits;

		cache_wait_cancel(w);
		w->digest = l->digest;
		w->done(w, error, error ? l->get.text : "");
	}
	lookup_free(l);
}

/* ---- the answer ---- */

static void kept(struct store_wait *w, int error)
{
	struct cache_lookup *l = container_of(w, struct cache_lookup, settled);

	if (error < 0)
		text_copy(l->get.text, sizeof(l->get.text),
			  "the hub's disk is full");
	lookup_end(l, error);
}

static int document_keep(struct cache_lookup *l)
{
	struct registry_document document = {
		.repo = l->repo,
		.tag = strchr(l->reference, ':') ? NULL : l->reference,
		.media = l->get.media_type,
		.body = { l->get.document, l->get.document_size },
	};
	int err = registry_manifest_cache(l->hub, &document, &l->digest);

	if (err == -EINVAL)
		text_copy(l->get.text, sizeof(l->get.text),
			  "what came is no image manifest");
	else if (err < 0)
		text_copy(l->get.text, sizeof(l->get.text), strerror(-err));
	return err == -EINVAL ? -EBADMSG : err;
}

/* The registry cannot say: then what is known is as good as it gets. */
static bool serve_stale(struct cache_lookup *l, int error)
{
	if (!l->known || !(remote_is_transient(error) || error == -EPROTO))
		return false;
	log_warning("upstream", "%s; what is here is given", l->get.text);
	upstream_stats(l->hub)->served_stale++;
	return true;
}

static void lookup_ask(struct cache_lookup *l, enum remote_what what,
		       const char *reference);

static void head_done(struct cache_lookup *l)
{
	char text[DIGEST_TEXT_SIZE];

	if (digest_equal(&l->get.found, &l->digest)) {
		lookup_end(l, 0);
		return;
	}
	digest_text(&l->get.found, text);
	lookup_ask(l, REMOTE_MANIFEST, text);
}

static void manifest_done(struct cache_lookup *l)
{
	int err = document_keep(l);

	if (err < 0) {
		lookup_end(l, err);
		return;
	}
	l->settled.done = kept;
	store_settled(l->hub->store, &l->settled);
}

static void asked(struct remote_get *get, int error)
{
	struct cache_lookup *l = container_of(get, struct cache_lookup, get);

	upstream_stats(l->hub)->failed += error != 0;
	if (error == 0 && get->what == REMOTE_HEAD)
		head_done(l);
	else if (error == 0)
		manifest_done(l);
	else if (error == -EPROTO && get->what == REMOTE_HEAD)
		lookup_ask(l, REMOTE_MANIFEST, l->reference);
	else
		lookup_end(l, serve_stale(l, error) ? 0 : error);
}

static void lookup_ask(struct cache_lookup *l, enum remote_what what,
		       const char *reference)
{
	int err;

	l->get = (struct remote_get){ .what = what, .done = asked };
	text_copy(l->get.reference, sizeof(l->get.reference), reference);
	upstream_stats(l->hub)->requests++;
	err = remote_start(upstream_remote(l->upstream), &l->get);
	if (err == 0)
		return;
	text_copy(l->get.text, sizeof(l->get.text), strerror(-err));
	lookup_end(l, err);
}

/* ---- the question ---- */

static struct cache_lookup *lookup_find(struct hub *hub, const char *repo,
					const char *reference)
{
	struct cache_lookup *l = hub->cache->lookups;

	while (l && (strcmp(l->repo, repo) || strcmp(l->reference, reference)))
		l = l->next;
	return l;
}

static struct cache_lookup *lookup_new(struct hub *hub, const char *repo,
				       const char *reference)
{
	struct cache_lookup *l = calloc(1, sizeof(*l));

	if (!l)
		return NULL;
	l->hub = hub;
	text_copy(l->repo, sizeof(l->repo), repo);
	text_copy(l->reference, sizeof(l->reference), reference);
	l->next = hub->cache->lookups;
	if (l->next)
		l->next->prevp = &l->next;
	hub->cache->lookups = l;
	l->prevp = &hub->cache->lookups;
	return l;
}

static void wait_add(struct cache_lookup *l, struct cache_wait *w)
{
	w->lookup = l;
	w->next = l->waits;
	if (w->next)
		w->next->prevp = &w->next;
	l->waits = w;
	w->prevp = &l->waits;
}

static void lookup_start(struct cache_lookup *l)
{
	int err = upstream_hold(l->hub, l->repo, &l->upstream, l->get.text);

	if (err < 0) {
		lookup_end(l, err);
		return;
	}
	l->known = registry_reference_find(l->hub, l->repo, l->reference,
					   &l->digest) == 0;
	lookup_ask(l,
		   l->known && !strchr(l->reference, ':') ? REMOTE_HEAD
							  : REMOTE_MANIFEST,
		   l->reference);
}

void cache_manifest(struct hub *hub, const char *repo, const char *reference,
		    struct cache_wait *w)
{
	struct cache_lookup *l = lookup_find(hub, repo, reference);

	if (l) {
		wait_add(l, w);
		return;
	}
	l = lookup_new(hub, repo, reference);
	if (!l) {
		w->done(w, -ENOMEM, "out of memory");
		return;
	}
	wait_add(l, w);
	lookup_start(l);
}

/* ---- requests ---- */

void cache_fail(struct registry_call *call, int error, const char *why)
{
	static const struct {
		int error, status;
		const char *code;
	} rows[] = {
		{ -ENOENT, 404, "MANIFEST_UNKNOWN" },
		{ -EACCES, 403, "DENIED" },
		{ -EPERM, 403, "DENIED" },
		{ -EBADMSG, 502, "UNKNOWN" },
		{ -EPROTO, 502, "UNKNOWN" },
		{ -E2BIG, 502, "UNKNOWN" },
	};

	if (error == -ENOSPC || error == -ENOMEM || error == -EIO ||
	    error == -EMFILE) {
		registry_fail_errno(call->request, error);
		return;
	}
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		if (rows[i].error != error)
			continue;
		registry_fail(call->request, rows[i].status, rows[i].code, why);
		return;
	}
	registry_fail(call->request, 503, "UNAVAILABLE", why);
}

static void manifest_here(struct cache_wait *w, int error, const char *why)
{
	struct registry_call *call = container_of(w, struct registry_call,
						  cache);

	if (error < 0) {
		log_warning("upstream", "%s", why);
		cache_fail(call, error, why);
		return;
	}
	/* The tag may be another one by now: who asked gets what was told. */
	digest_text(&w->digest, call->reference);
	registry_manifest_serve(call);
}

void cache_manifest_get(struct registry_call *call)
{
	call->cache.done = manifest_here;
	cache_manifest(call->hub, call->repo, call->reference, &call->cache);
}
