/* Blobs. A fetch writes what comes into an upload, as a push would, and those
 * who asked read along from that file, each at its own pace; the last byte only
 * once the whole was verified, so that nobody takes a damaged blob for whole.
 *
 * A fetch that was begun goes on when its readers leave: others will ask. When
 * the registry breaks off it is continued from there a few times; when that
 * does not help, its readers' replies break off too, and theirs is the choice
 * to ask again. Readers that have not heard yet are told by a status. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "cache_parts.h"
#include "registry.h"
#include "upstream.h"

enum { RUNNING_MAX = 8, TRIES_MAX = 5, AGAIN_MS = 500 };

struct cache_fetch {
	struct hub *hub;
	char repo[REGISTRY_REPO_SIZE];
	struct digest digest;
	uint64_t size, have;
	struct upstream *upstream;
	struct remote_get get;
	struct blob_upload *upload; /* NULL before and after */
	int fd;			    /* its bytes, also when it is a blob */
	bool running, verified, over;
	unsigned tries;
	struct timer again;
	struct cache_reader *readers;
	struct cache_fetch *next, **prevp; /* while it is not over */
};

struct cache_reader {
	struct registry_call *call;
	struct cache_fetch *fetch;
	struct registry_range range;
	uint64_t sent;
	bool replied;
	struct cache_reader *next, **prevp;
};

static void run_next(struct hub *hub);

/* ---- readers ---- */

static void reader_del(struct cache_reader *r)
{
	*r->prevp = r->next;
	if (r->next)
		r->next->prevp = r->prevp;
	r->call->reader = NULL;
	free(r);
}

static ssize_t reader_pull(void *user, void *buf, size_t size)
{
	struct registry_call *call = user;
	struct cache_reader *r = call->reader;
	struct cache_fetch *f = r->fetch;
	uint64_t at = r->range.first + r->sent;
	uint64_t end = f->verified	   ? f->size
		       : f->have < f->size ? f->have
					   : f->size - 1;
	ssize_t n;

	if (r->sent == r->range.n)
		return 0;
	if (at >= end)
		return -EAGAIN;
	if (size > end - at)
		size = end - at;
	if (size > r->range.n - r->sent)
		size = r->range.n - r->sent;
	n = pread(f->fd, buf, size, (off_t)at);
	if (n <= 0)
		return n < 0 ? -errno : -EIO;
	r->sent += (uint64_t)n;
	return n;
}

static void reader_reply(struct cache_reader *r)
{
	r->replied = true;
	registry_blob_reply(r->call, r->fetch->size, &r->range,
			    http_pull((int64_t)r->range.n, reader_pull));
}

static void readers_wake(struct cache_fetch *f)
{
	for (struct cache_reader *r = f->readers; r; r = r->next) {
		if (r->replied)
			http_resume(r->call->request);
		else
			reader_reply(r);
	}
}

/* ---- the end ---- */

static void fetch_unlink(struct cache_fetch *f)
{
	*f->prevp = f->next;
	if (f->next)
		f->next->prevp = f->prevp;
	f->over = true;
}

static void fetch_free(struct cache_fetch *f)
{
	fd_close(&f->fd);
	free(f);
}

/* Gives back all but what its readers need. */
static void fetch_stop(struct cache_fetch *f)
{
	struct hub *hub = f->hub;

	remote_cancel(&f->get);
	timer_cancel(&f->again);
	blob_upload_forget(hub->blobs, f);
	if (f->upload)
		blob_upload_drop(f->upload);
	f->upload = NULL;
	if (f->upstream)
		upstream_release(f->upstream);
	f->upstream = NULL;
	hub->cache->n_running -= f->running;
	f->running = false;
	fetch_unlink(f);
}

static void fetch_fail(struct cache_fetch *f, int error, const char *why)
{
	struct hub *hub = f->hub;

	log_warning("upstream", "%s", why);
	fetch_stop(f);
	while (f->readers) {
		struct cache_reader *r = f->readers;
		struct registry_call *call = r->call;
		bool replied = r->replied;

		reader_del(r);
		if (replied)
			http_abort(call->request);
		else
			cache_fail(call, error, why);
	}
	fetch_free(f);
	run_next(hub);
}

/* It is a blob, or could not be made one; readers have verified bytes. */
static void stored(void *user, int error)
{
	struct cache_fetch *f = user;
	struct hub *hub = f->hub;

	if (error < 0)
		log_error("upstream", "%.200s: a blob is not kept: %s", f->repo,
			  strerror(-error));
	fetch_stop(f);
	if (!f->readers)
		fetch_free(f);
	run_next(hub);
}

/* ---- running ---- */

static void fetch_ask(struct cache_fetch *f);

static int begin(struct remote_get *get)
{
	struct cache_fetch *f = container_of(get, struct cache_fetch, get);

	if (get->offset == f->have)
		return 0;
	f->have = 0; /* the registry begins anew */
	return get->offset ? -EPROTO : blob_upload_rewind(f->upload);
}

static int data(struct remote_get *get, const void *bytes, size_t size)
{
	struct cache_fetch *f = container_of(get, struct cache_fetch, get);
	int err = blob_upload_write(f->upload, (struct span){ bytes, size });

	if (err < 0)
		return err;
	f->have += size;
	f->tries = 0;
	upstream_stats(f->hub)->bytes += size;
	readers_wake(f);
	return 0;
}

static void again_fire(struct timer *t)
{
	fetch_ask(container_of(t, struct cache_fetch, again));
}

static void done(struct remote_get *get, int error)
{
	struct cache_fetch *f = container_of(get, struct cache_fetch, get);
	struct blob_upload *upload = f->upload;
	uint64_t wait_ms;

	upstream_stats(f->hub)->failed += error != 0;
	if (error == 0) {
		f->verified = true;
		readers_wake(f);
		f->upload = NULL; /* consumed */
		blob_upload_finish(upload, &f->digest, stored, f);
	} else if (remote_is_transient(error) && f->have &&
		   ++f->tries < TRIES_MAX) {
		f->again.fire = again_fire;
		wait_ms = get->retry_after_s * UINT64_C(1000);
		timer_set(&f->hub->loop, &f->again,
			  wait_ms ? wait_ms : (uint64_t)AGAIN_MS << f->tries);
	} else {
		fetch_fail(f, error, get->text);
	}
}

static void fetch_ask(struct cache_fetch *f)
{
	int err;

	upstream_stats(f->hub)->requests++;
	err = remote_start(upstream_remote(f->upstream), &f->get);
	if (err < 0)
		fetch_fail(f, err, strerror(-err));
}

static int fetch_prepare(struct cache_fetch *f)
{
	int err = upstream_hold(f->hub, f->repo, &f->upstream, f->get.text);

	if (err < 0)
		return err;
	err = blob_upload_new(f->hub->blobs, f->size, &f->upload);
	if (err == 0) {
		f->fd = blob_upload_reader(f->upload);
		err = f->fd < 0 ? f->fd : 0;
	}
	if (err < 0)
		snprintf(f->get.text, sizeof(f->get.text), "%.200s: %s",
			 f->repo,
			 err == -ENOSPC ? "the disk is full: free some space"
					: strerror(-err));
	return err;
}

static void fetch_run(struct cache_fetch *f)
{
	char why[UPSTREAM_WHY_SIZE];
	int err;

	f->running = true;
	f->hub->cache->n_running++;
	err = fetch_prepare(f);
	if (err < 0) {
		text_copy(why, sizeof(why), f->get.text);
		fetch_fail(f, err, why);
		return;
	}
	f->get.what = REMOTE_BLOB;
	f->get.digest = f->digest;
	f->get.size = f->size;
	f->get.begin = begin;
	f->get.data = data;
	f->get.done = done;
	fetch_ask(f);
}

static void run_next(struct hub *hub)
{
	struct cache_fetch *f = hub->cache->fetches;

	while (f && f->running)
		f = f->next;
	if (f && hub->cache->n_running < RUNNING_MAX)
		fetch_run(f);
}

void cache_fetches_end(struct hub *hub)
{
	while (hub->cache->fetches) {
		struct cache_fetch *f = hub->cache->fetches;

		fetch_stop(f);
		fetch_free(f);
	}
}

/* ---- requests ---- */

static struct cache_fetch *fetch_find(struct hub *hub,
				      const struct digest *digest)
{
	struct cache_fetch *f = hub->cache->fetches;

	while (f && !digest_equal(&f->digest, digest))
		f = f->next;
	return f;
}

static struct cache_fetch *fetch_new(struct registry_call *call,
				     const struct digest *digest, uint64_t size)
{
	struct cache_fetch *f = calloc(1, sizeof(*f));
	struct cache_fetch **p = &call->hub->cache->fetches;

	if (!f)
		return NULL;
	f->hub = call->hub;
	f->fd = -1;
	f->digest = *digest;
	f->size = size;
	text_copy(f->repo, sizeof(f->repo), call->repo);
	while (*p)
		p = &(*p)->next;
	*p = f;
	f->prevp = p;
	return f;
}

static bool reader_add(struct registry_call *call, struct cache_fetch *f,
		       const struct registry_range *range)
{
	struct cache_reader *r = calloc(1, sizeof(*r));

	if (!r)
		return false;
	r->call = call;
	r->fetch = f;
	r->range = *range;
	r->next = f->readers;
	if (r->next)
		r->next->prevp = &r->next;
	f->readers = r;
	r->prevp = &f->readers;
	call->reader = r;
	return true;
}

void cache_blob_get(struct registry_call *call, const struct digest *digest)
{
	struct cache_fetch *f = fetch_find(call->hub, digest);
	struct registry_range range;
	uint64_t size;

	if (registry_blob_size(call->hub, call->repo, digest, &size) < 0) {
		registry_fail(call->request, 404, "BLOB_UNKNOWN",
			      "no manifest here has such a blob: ask for the "
			      "manifest first");
		return;
	}
	if (!registry_range(call, f ? f->size : size, &range))
		return;
	if (!strcmp(call->request->method, "HEAD")) {
		registry_blob_reply(call, size, &range,
				    http_pull((int64_t)range.n, reader_pull));
		return;
	}
	if (!f)
		f = fetch_new(call, digest, size);
	if (!f || !reader_add(call, f, &range)) {
		registry_fail(call->request, 503, "UNKNOWN", "out of memory");
		return;
	}
	if (f->have)
		reader_reply(call->reader);
	run_next(call->hub);
}

void cache_call_gone(struct registry_call *call)
{
	struct cache_reader *r = call->reader;
	struct cache_fetch *f;

	cache_wait_cancel(&call->cache);
	if (!r)
		return;
	f = r->fetch;
	reader_del(r);
	if (f->over && !f->readers)
		fetch_free(f);
}
