/* Manifests that are here: what a tag or digest is, GET, HEAD, DELETE. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/fd.h"
#include "cache.h"
#include "registry.h"
#include "registry/reference.h"
#include "upstream.h"

enum { DATE_RENEW_S = 24 * 3600 };

/* ---- finding ---- */

/* What tag or digest of the path is. */
static int reference_find(struct registry_call *call, struct digest *digest)
{
	char key[STORE_KEY_MAX];
	autofree char *text = NULL;

	if (strchr(call->reference, ':'))
		return digest_parse(span_of(call->reference), digest);
	snprintf(key, sizeof(key), "tag/%s:%s", call->repo, call->reference);
	if (store_get(call->hub->store, key, &text, NULL, NULL) < 0)
		return -ENOENT;
	return digest_parse(span_of(text), digest);
}

/* The manifest itself, or NULL. */
static yyjson_doc *document_read(struct hub *hub, const struct digest *digest)
{
	autofree char *text = NULL;
	yyjson_doc *doc = NULL;
	uint64_t size;
	autoclose int fd = blob_open(hub->blobs, digest, &size);

	if (fd < 0 || size > REGISTRY_MANIFEST_MAX)
		return NULL;
	text = malloc(size + 1);
	if (text && fd_read(fd, text, size) == (ssize_t)size)
		doc = yyjson_read(text, size, 0);
	return doc;
}

/* The record of a manifest in this repository, its media type. */
static int media_find(struct hub *hub, const char *repo,
		      const struct digest *digest,
		      char media[REGISTRY_MEDIA_SIZE])
{
	char key[STORE_KEY_MAX], hex[DIGEST_HEX_SIZE];
	yyjson_doc *doc;

	digest_hex(digest, hex);
	snprintf(key, sizeof(key), "manifest/%s@%s", repo, hex);
	doc = stored_document(hub->store, key);
	if (!doc)
		return -ENOENT;
	member_text(yyjson_doc_get_root(doc), "mediaType", media,
		    REGISTRY_MEDIA_SIZE);
	yyjson_doc_free(doc);
	return 0;
}

/* ---- the size of a blob that is not here ---- */

struct sizing {
	struct hub *hub;
	const char *repo;
	const struct digest *digest;
	uint64_t *size_bytes;
};

static bool list_has(yyjson_val *list, struct sizing *s)
{
	yyjson_arr_iter iter;
	yyjson_val *d;

	yyjson_arr_iter_init(list, &iter);
	while ((d = yyjson_arr_iter_next(&iter))) {
		struct digest digest;

		if (registry_descriptor_digest(d, &digest) < 0 ||
		    !digest_equal(&digest, s->digest))
			continue;
		*s->size_bytes = member_u64(d, "size", UINT64_MAX);
		return *s->size_bytes <= INT64_MAX;
	}
	return false;
}

/* key is need/HEX/REPO@HEX2 or need/HEX/REPO:TAG. */
static int needer_look(void *context, const struct store_entry *e)
{
	struct sizing *s = context;
	const char *who = e->key.data + strlen("need/") + 64 + 1;
	size_t n = strlen(s->repo);
	struct digest digest;
	yyjson_doc *doc;
	yyjson_val *root, *config;
	bool found;

	if (strncmp(who, s->repo, n) || who[n] != '@' ||
	    digest_parse_hex(span_of(who + n + 1), &digest) < 0)
		return 0;
	doc = document_read(s->hub, &digest);
	root = yyjson_doc_get_root(doc);
	config = yyjson_obj_get(root, "config");
	found = list_has(yyjson_obj_get(root, "layers"), s) ||
		list_has(yyjson_obj_get(root, "blobs"), s);
	if (!found && registry_descriptor_digest(config, &digest) == 0 &&
	    digest_equal(&digest, s->digest)) {
		*s->size_bytes = member_u64(config, "size", UINT64_MAX);
		found = *s->size_bytes <= INT64_MAX;
	}
	yyjson_doc_free(doc);
	return found;
}

int registry_blob_size(struct hub *hub, const char *repo,
		       const struct digest *digest, uint64_t *size_bytes)
{
	struct sizing s = { hub, repo, digest, size_bytes };
	char prefix[96], hex[DIGEST_HEX_SIZE];

	digest_hex(digest, hex);
	snprintf(prefix, sizeof(prefix), "need/%s/", hex);
	return store_range(hub->store, prefix, "", 1000, needer_look, &s) == 1
		       ? 0
		       : -ENOENT;
}

/* ---- GET, HEAD ---- */

int registry_reference_find(struct hub *hub, const char *repo,
			    const char *reference, struct digest *digest)
{
	struct registry_call call = { .hub = hub };
	char media[REGISTRY_MEDIA_SIZE];
	uint64_t size;
	int err;

	text_copy(call.repo, sizeof(call.repo), repo);
	text_copy(call.reference, sizeof(call.reference), reference);
	err = reference_find(&call, digest);
	if (err == 0)
		err = media_find(hub, repo, digest, media);
	return err < 0 ? err : blob_stat(hub->blobs, digest, &size);
}

/* A cached one is known by its date as long as it is used. */
static void date_renew(struct hub *hub, const char *key)
{
	yyjson_doc *old = stored_document(hub->store, key);
	uint64_t now = (uint64_t)time(NULL);
	yyjson_mut_doc *doc;

	if (member_u64(yyjson_doc_get_root(old), "at", now) + DATE_RENEW_S <
	    now) {
		doc = yyjson_doc_mut_copy(old, NULL);
		yyjson_mut_set_uint(
			yyjson_mut_obj_get(yyjson_mut_doc_get_root(doc), "at"),
			now);
		stored_put(hub->store, key, doc, STORE_ANY);
	}
	yyjson_doc_free(old);
}

static void manifest_renew(struct registry_call *call,
			   const struct digest *digest)
{
	char key[STORE_KEY_MAX], hex[DIGEST_HEX_SIZE];

	digest_hex(digest, hex);
	snprintf(key, sizeof(key), "manifest/%s@%s", call->repo, hex);
	if (upstream_named(span_of(call->repo)))
		date_renew(call->hub, key);
}

void registry_manifest_get(struct registry_call *call)
{
	struct digest digest;
	bool by_digest = strchr(call->reference, ':');

	if (upstream_named(span_of(call->repo)) &&
	    (!by_digest ||
	     registry_reference_find(call->hub, call->repo, call->reference,
				     &digest) < 0))
		cache_manifest_get(call);
	else
		registry_manifest_serve(call);
}

void registry_manifest_serve(struct registry_call *call)
{
	char text[DIGEST_TEXT_SIZE], media[REGISTRY_MEDIA_SIZE] = "";
	const struct http_header headers[] = {
		{ "content-type", media },
		{ "docker-content-digest", text },
	};
	struct digest digest;
	uint64_t size;
	int fd = -1;

	store_commit(call->hub->store);
	if (reference_find(call, &digest) == 0 &&
	    media_find(call->hub, call->repo, &digest, media) == 0)
		fd = blob_open(call->hub->blobs, &digest, &size);
	if (fd < 0) {
		registry_fail(call->request, 404, "MANIFEST_UNKNOWN",
			      "no such manifest");
		return;
	}
	if (!media[0])
		text_copy(media, sizeof(media),
			  "application/vnd.oci.image.manifest.v1+json");
	digest_text(&digest, text);
	manifest_renew(call, &digest);
	blob_check(call->hub->blobs, &digest);
	http_reply(call->request, 200, headers, 2, http_file(fd, 0, size));
}

/* ---- DELETE ---- */

static int untag(struct hub *hub, const char *repo, const char *tag,
		 const struct digest *digest)
{
	char key[STORE_KEY_MAX];
	int err;

	registry_need_key(digest, repo, ':', tag, key);
	err = store_delete(hub->store, key, STORE_ANY);
	if (err < 0 && err != -ENOENT)
		return err;
	snprintf(key, sizeof(key), "tag/%s:%s", repo, tag);
	return store_delete(hub->store, key, STORE_ANY);
}

/* What the manifest, read again, needs is no longer needed by it. */
static int needs_drop(struct hub *hub, const char *repo,
		      const struct digest *digest, yyjson_val *root)
{
	static const char *const lists[] = { "layers", "blobs", "manifests" };
	char key[STORE_KEY_MAX], hex[DIGEST_HEX_SIZE];
	struct digest need;
	int err = 0;

	digest_hex(digest, hex);
	if (registry_descriptor_digest(yyjson_obj_get(root, "config"), &need) ==
	    0) {
		registry_need_key(&need, repo, '@', hex, key);
		err = store_delete(hub->store, key, STORE_ANY);
	}
	for (size_t i = 0; i < 3; i++) {
		yyjson_arr_iter iter;
		yyjson_val *d;

		yyjson_arr_iter_init(yyjson_obj_get(root, lists[i]), &iter);
		while ((err == 0 || err == -ENOENT) &&
		       (d = yyjson_arr_iter_next(&iter))) {
			if (registry_descriptor_digest(d, &need) < 0)
				continue;
			registry_need_key(&need, repo, '@', hex, key);
			err = store_delete(hub->store, key, STORE_ANY);
		}
	}
	return err == -ENOENT ? 0 : err;
}

static int referrer_drop(struct hub *hub, const char *repo,
			 const struct digest *digest, yyjson_val *root)
{
	char key[STORE_KEY_MAX], subject[DIGEST_HEX_SIZE], hex[DIGEST_HEX_SIZE];
	struct digest about;
	int err;

	if (registry_descriptor_digest(yyjson_obj_get(root, "subject"),
				       &about) < 0)
		return 0;
	digest_hex(&about, subject);
	digest_hex(digest, hex);
	snprintf(key, sizeof(key), "referrer/%s@%s/%s", repo, subject, hex);
	err = store_delete(hub->store, key, STORE_ANY);
	return err == -ENOENT ? 0 : err;
}

int registry_manifest_forget(struct hub *hub, const char *repo,
			     const struct digest *digest)
{
	char key[STORE_KEY_MAX], hex[DIGEST_HEX_SIZE];
	yyjson_doc *doc = document_read(hub, digest);
	int err = 0;

	if (doc) {
		err = needs_drop(hub, repo, digest, yyjson_doc_get_root(doc));
		if (err == 0)
			err = referrer_drop(hub, repo, digest,
					    yyjson_doc_get_root(doc));
	}
	yyjson_doc_free(doc);
	if (err < 0)
		return err;
	digest_hex(digest, hex);
	snprintf(key, sizeof(key), "manifest/%s@%s", repo, hex);
	return store_delete(hub->store, key, STORE_ANY);
}

static void delete_settled(struct store_wait *w, int error)
{
	struct registry_call *call = container_of(w, struct registry_call,
						  wait);

	if (error < 0)
		registry_fail_errno(call->request, error);
	else
		registry_reply(call->request, 202, NULL, 0);
}

/* The tags of a manifest that goes by its digest go with it. */
static int tags_drop(void *context, const struct store_entry *e)
{
	struct registry_call *call = context;
	const char *who = e->key.data + strlen("need/") + 64 + 1;
	size_t n = strlen(call->repo);

	if (strncmp(who, call->repo, n) || who[n] != ':' ||
	    !registry_tag_valid(span_of(who + n + 1)))
		return 0;
	return untag(call->hub, call->repo, who + n + 1, &call->digest);
}

void registry_manifest_delete(struct registry_call *call)
{
	char prefix[96], hex[DIGEST_HEX_SIZE];
	int err = reference_find(call, &call->digest);

	if (err == 0 && !strchr(call->reference, ':')) {
		err = untag(call->hub, call->repo, call->reference,
			    &call->digest);
	} else if (err == 0) {
		digest_hex(&call->digest, hex);
		snprintf(prefix, sizeof(prefix), "need/%s/", hex);
		err = store_range(call->hub->store, prefix, "", UINT32_MAX,
				  tags_drop, call);
		if (err == 0)
			err = registry_manifest_forget(call->hub, call->repo,
						       &call->digest);
	}
	if (err == -ENOENT || err == -EINVAL) {
		registry_fail(call->request, 404, "MANIFEST_UNKNOWN",
			      "no such manifest");
		return;
	}
	if (err < 0) {
		registry_fail_errno(call->request, err);
		return;
	}
	call->wait.done = delete_settled;
	store_settled(call->hub->store, &call->wait);
}

/* ---- names ---- */

/* "NAME", "NAME:TAG" or "NAME@DIGEST" of this hub. */
static int own_name(const char *name, struct registry_name *out)
{
	const char *mark = strchr(name, '@'), *slash = strrchr(name, '/');
	struct span repo;

	if (!mark) {
		mark = strrchr(name, ':');
		mark = mark && slash && mark < slash ? NULL : mark;
	}
	repo = (struct span){ name,
			      mark ? (size_t)(mark - name) : strlen(name) };
	if (!registry_repo_valid(repo) ||
	    span_copy(out->repo, sizeof(out->repo), repo) < 0)
		return -EINVAL;
	return span_copy(out->reference, sizeof(out->reference),
			 span_of(mark ? mark + 1 : "latest"));
}

static const char *default_host(const struct config *config)
{
	for (unsigned i = 0; i < config->n_upstreams; i++)
		if (config->upstream[i].is_default)
			return config->upstream[i].host;
	return NULL;
}

int registry_name(const struct hub *hub, const char *image,
		  struct registry_name *out)
{
	struct reference r;
	char digest[DIGEST_TEXT_SIZE];
	const char *host;
	int n;

	if (!strncmp(image, "hub/", 4))
		return own_name(image + 4, out) < 0 ? -EINVAL : 0;
	if (reference_parse(span_of(image), &r) < 0)
		return -EINVAL;
	host = r.host[0] ? r.host : default_host(&hub->config);
	if (!host)
		return -EINVAL;
	digest_text(&r.digest, digest);
	n = snprintf(out->repo, sizeof(out->repo), "%s/%s", host, r.repository);
	text_copy(out->reference, sizeof(out->reference),
		  r.has_digest ? digest : r.tag);
	return n < (int)sizeof(out->repo) ? 0 : -EINVAL;
}
