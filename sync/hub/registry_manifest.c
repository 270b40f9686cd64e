/* Manifests and indexes: kept as blobs, with what they need written down. Who
 * chose the bytes: whoever may push. A manifest is taken only when the blobs
 * that it needs are here, so what was pushed can be pulled; of an index the
 * manifests may be missing, since clients push single platforms. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/fd.h"
#include "base/log.h"
#include "registry.h"

enum { NEEDS_MAX = 512 };

/* What a manifest says, and where it goes. */
struct manifest {
	const char *repo, *tag; /* tag: NULL when it has none */
	struct span body;
	bool cached; /* of another registry: what it needs may come later */
	char media[REGISTRY_MEDIA_SIZE];
	struct digest need[NEEDS_MAX];
	unsigned n;
	uint64_t total; /* bytes of what it needs and of itself */
	bool has_subject;
	struct digest subject;
	char problem[160];
};

static int found_one(void *context, const struct store_entry *e)
{
	(void)e;
	*(bool *)context = true;
	return 0;
}

bool registry_is_needed(struct hub *hub, const struct digest *digest)
{
	char hex[DIGEST_HEX_SIZE], prefix[96];
	bool found = false;

	digest_hex(digest, hex);
	snprintf(prefix, sizeof(prefix), "need/%s/", hex);
	/* What cannot be looked up stays. */
	return store_range(hub->store, prefix, "", 1, found_one, &found) < 0 ||
	       found;
}

/* ---- reading one ---- */

static int problem(struct manifest *m, const char *text)
{
	snprintf(m->problem, sizeof(m->problem), "%s", text);
	return -EINVAL;
}

int registry_descriptor_digest(yyjson_val *d, struct digest *digest)
{
	yyjson_val *v = yyjson_obj_get(d, "digest");

	if (!yyjson_is_str(v))
		return -EINVAL;
	return digest_parse(
		(struct span){ yyjson_get_str(v), yyjson_get_len(v) }, digest);
}

/* Layers with "urls" lie elsewhere. */
static int need_add(struct hub *hub, struct manifest *m, yyjson_val *d,
		    bool must)
{
	uint64_t size = member_u64(d, "size", 0);
	struct digest digest;

	if (registry_descriptor_digest(d, &digest) < 0)
		return problem(m, "a descriptor without a sha256 digest");
	if (m->n == NEEDS_MAX)
		return problem(m, "too many descriptors");
	if (!m->cached && blob_stat(hub->blobs, &digest, &size) < 0) {
		if (!must || yyjson_obj_get(d, "urls"))
			return 0;
		digest_text(&digest, m->problem);
		return -ENOENT;
	}
	m->total += size;
	m->need[m->n++] = digest;
	return 0;
}

static int needs_add(struct hub *hub, struct manifest *m, yyjson_val *list,
		     bool must)
{
	yyjson_arr_iter iter;
	yyjson_val *d;
	int err = 0;

	if (list && !yyjson_is_arr(list))
		return problem(m, "want arrays of descriptors");
	yyjson_arr_iter_init(list, &iter);
	while (err == 0 && (d = yyjson_arr_iter_next(&iter)))
		err = need_add(hub, m, d, must);
	return err;
}

static int manifest_read(struct hub *hub, yyjson_val *root, struct manifest *m)
{
	yyjson_val *subject = yyjson_obj_get(root, "subject");
	char media[REGISTRY_MEDIA_SIZE];
	int err = 0;

	if (!yyjson_is_obj(root) ||
	    yyjson_get_uint(yyjson_obj_get(root, "schemaVersion")) != 2)
		return problem(m, "want a manifest of schema 2");
	if (member_text(root, "mediaType", media, sizeof(media)) < 0)
		return problem(m, "mediaType: want a string");
	if (media[0] && m->media[0] && strcmp(media, m->media) && !m->cached)
		return problem(m, "mediaType is not the content-type");
	if (media[0])
		text_copy(m->media, sizeof(m->media), media);
	m->total = m->body.size;
	if (yyjson_obj_get(root, "config"))
		err = need_add(hub, m, yyjson_obj_get(root, "config"), true);
	if (err == 0)
		err = needs_add(hub, m, yyjson_obj_get(root, "layers"), true);
	if (err == 0)
		err = needs_add(hub, m, yyjson_obj_get(root, "blobs"), true);
	if (err == 0)
		err = needs_add(hub, m, yyjson_obj_get(root, "manifests"),
				false);
	if (err == 0 && yyjson_is_obj(subject)) {
		m->has_subject = true;
		if (registry_descriptor_digest(subject, &m->subject) < 0)
			return problem(m, "subject: want a descriptor");
	}
	return err;
}

/* ---- writing down ---- */

static int record_put(struct hub *hub, const struct digest *digest,
		      const struct manifest *m)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc);
	char key[STORE_KEY_MAX], hex[DIGEST_HEX_SIZE];

	digest_hex(digest, hex);
	snprintf(key, sizeof(key), "manifest/%s@%s", m->repo, hex);
	yyjson_mut_doc_set_root(doc, root);
	yyjson_mut_obj_add_str(doc, root, "mediaType", m->media);
	yyjson_mut_obj_add_uint(doc, root, "size", m->body.size);
	yyjson_mut_obj_add_uint(doc, root, "total", m->total);
	yyjson_mut_obj_add_uint(doc, root, "at", (uint64_t)time(NULL));
	return stored_put(hub->store, key, doc, STORE_ANY);
}

void registry_need_key(const struct digest *need, const char *repo, char mark,
		       const char *who, char key[STORE_KEY_MAX])
{
	char hex[DIGEST_HEX_SIZE];

	digest_hex(need, hex);
	snprintf(key, STORE_KEY_MAX, "need/%s/%s%c%s", hex, repo, mark, who);
}

static int needs_put(struct hub *hub, const struct digest *digest,
		     const struct manifest *m)
{
	char key[STORE_KEY_MAX], hex[DIGEST_HEX_SIZE];
	int err = 0;

	digest_hex(digest, hex);
	for (unsigned i = 0; i < m->n && err == 0; i++) {
		registry_need_key(&m->need[i], m->repo, '@', hex, key);
		err = store_put(hub->store, key, span_of("1"), STORE_ANY, NULL);
	}
	return err;
}

/* The descriptor that /referrers will list. */
static int referrer_put(struct hub *hub, yyjson_val *manifest,
			const struct digest *digest, const struct manifest *m)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc);
	char key[STORE_KEY_MAX], subject[DIGEST_HEX_SIZE], hex[DIGEST_HEX_SIZE],
		text[DIGEST_TEXT_SIZE];
	yyjson_val *type = yyjson_obj_get(manifest, "artifactType");

	if (!yyjson_is_str(type))
		type = yyjson_obj_get(yyjson_obj_get(manifest, "config"),
				      "mediaType");
	digest_hex(&m->subject, subject);
	digest_hex(digest, hex);
	digest_text(digest, text);
	yyjson_mut_doc_set_root(doc, root);
	yyjson_mut_obj_add_str(doc, root, "mediaType", m->media);
	yyjson_mut_obj_add_str(doc, root, "digest", text);
	yyjson_mut_obj_add_uint(doc, root, "size", m->body.size);
	if (yyjson_is_str(type))
		yyjson_mut_obj_add_val(doc, root, "artifactType",
				       yyjson_val_mut_copy(doc, type));
	if (yyjson_is_obj(yyjson_obj_get(manifest, "annotations")))
		yyjson_mut_obj_add_val(
			doc, root, "annotations",
			yyjson_val_mut_copy(
				doc, yyjson_obj_get(manifest, "annotations")));
	snprintf(key, sizeof(key), "referrer/%s@%s/%s", m->repo, subject, hex);
	return stored_put(hub->store, key, doc, STORE_ANY);
}

static int tag_put(struct hub *hub, const struct manifest *m,
		   const struct digest *digest)
{
	const char *repo = m->repo, *tag = m->tag;
	char key[STORE_KEY_MAX], need[STORE_KEY_MAX], text[DIGEST_TEXT_SIZE];
	autofree char *old = NULL;
	struct digest before;
	int err;

	snprintf(key, sizeof(key), "tag/%s:%s", repo, tag);
	digest_text(digest, text);
	/* One of another registry keeps nothing here. */
	if (m->cached)
		return store_put(hub->store, key, span_of(text), STORE_ANY,
				 NULL);
	if (store_get(hub->store, key, &old, NULL, NULL) == 0 &&
	    digest_parse(span_of(old), &before) == 0) {
		registry_need_key(&before, repo, ':', tag, need);
		err = store_delete(hub->store, need, STORE_ANY);
		if (err < 0 && err != -ENOENT)
			return err;
	}
	err = store_put(hub->store, key, span_of(text), STORE_ANY, NULL);
	registry_need_key(digest, repo, ':', tag, need);
	return err < 0 ? err
		       : store_put(hub->store, need, span_of("1"), STORE_ANY,
				   NULL);
}

static int manifest_keep(struct hub *hub, yyjson_val *root,
			 const struct manifest *m, struct digest *digest)
{
	int err = blob_put(hub->blobs, m->body, digest);

	if (err == 0)
		err = record_put(hub, digest, m);
	if (err == 0)
		err = needs_put(hub, digest, m);
	if (err == 0 && m->has_subject)
		err = referrer_put(hub, root, digest, m);
	if (err == 0 && m->tag)
		err = tag_put(hub, m, digest);
	return err;
}

int registry_manifest_cache(struct hub *hub,
			    const struct registry_document *from,
			    struct digest *digest)
{
	struct manifest *m = calloc(1, sizeof(*m));
	yyjson_doc *doc = yyjson_read(from->body.data, from->body.size, 0);
	yyjson_val *root = yyjson_doc_get_root(doc);
	int err = -ENOMEM;

	if (m) {
		m->repo = from->repo;
		m->tag = from->tag;
		m->body = from->body;
		m->cached = true;
		text_copy(m->media, sizeof(m->media), from->media);
		err = manifest_read(hub, root, m);
		if (err == 0)
			err = manifest_keep(hub, root, m, digest);
	}
	yyjson_doc_free(doc);
	free(m);
	return err;
}

/* ---- PUT ---- */

static void put_settled(struct store_wait *w, int error)
{
	struct registry_call *call = container_of(w, struct registry_call,
						  wait);
	char where[400], digest[DIGEST_TEXT_SIZE];
	const struct http_header headers[] = {
		{ "location", where },
		{ "docker-content-digest", digest },
		{ "oci-subject", call->media },
	};

	if (error < 0) {
		registry_fail_errno(call->request, error);
		return;
	}
	digest_text(&call->digest, digest);
	snprintf(where, sizeof(where), "/v2/%s/manifests/%s", call->repo,
		 digest);
	registry_reply(call->request, 201, headers, call->media[0] ? 3 : 2);
}

static void put_fail(struct registry_call *call, const struct manifest *m,
		     int error)
{
	char text[300];

	if (error == -ENOENT) {
		snprintf(text, sizeof(text), "%s is not here: push it first",
			 m->problem);
		registry_fail(call->request, 400, "MANIFEST_BLOB_UNKNOWN",
			      text);
	} else if (error == -EINVAL) {
		registry_fail(call->request, 400, "MANIFEST_INVALID",
			      m->problem);
	} else {
		registry_fail_errno(call->request, error);
	}
}

static int reference_check(const struct registry_call *call)
{
	struct digest named, actual = digest_of(call->body, call->size);

	if (!strchr(call->reference, ':'))
		return registry_tag_valid(span_of(call->reference)) ? 0
								    : -EINVAL;
	if (digest_parse(span_of(call->reference), &named) < 0)
		return -EINVAL;
	return digest_equal(&named, &actual) ? 0 : -EBADMSG;
}

static void put_do(struct registry_call *call, struct manifest *m)
{
	yyjson_doc *doc = yyjson_read(call->body, call->size, 0);
	yyjson_val *root = yyjson_doc_get_root(doc);
	int err = reference_check(call);

	if (err == -EINVAL)
		problem(m, "want a tag or a digest in the path");
	if (err == 0)
		err = manifest_read(call->hub, root, m);
	if (err == 0)
		err = manifest_keep(call->hub, root, m, &call->digest);
	yyjson_doc_free(doc);
	if (err < 0) {
		put_fail(call, m, err);
		return;
	}
	call->media[0] = '\0';
	if (m->has_subject)
		digest_text(&m->subject, call->media);
	call->wait.done = put_settled;
	store_settled(call->hub->store, &call->wait);
	if (!strchr(call->reference, ':'))
		log_notice("registry", "%s:%s pushed", call->repo,
			   call->reference);
}

static void put_end(struct http_request *request)
{
	struct registry_call *call = request->user;
	struct manifest *m;

	if (call->failed)
		return;
	m = calloc(1, sizeof(*m));
	if (!m || !call->size) {
		free(m);
		registry_fail(request, m ? 400 : 503, "MANIFEST_INVALID",
			      m ? "no manifest in the body" : "out of memory");
		return;
	}
	text_copy(m->media, sizeof(m->media), call->media);
	m->repo = call->repo;
	m->tag = strchr(call->reference, ':') ? NULL : call->reference;
	m->body = (struct span){ call->body, call->size };
	put_do(call, m);
	free(m);
}

static void put_body(struct http_request *request, struct span bytes)
{
	struct registry_call *call = request->user;

	http_consumed(request, bytes.size);
	if (call->failed)
		return;
	if (call->size + bytes.size > REGISTRY_MANIFEST_MAX) {
		call->failed = true;
		registry_fail(request, 413, "MANIFEST_INVALID",
			      "a manifest of more than 4 MB");
		return;
	}
	if (call->size + bytes.size > call->room) {
		size_t room = 2 * (call->size + bytes.size);
		char *grown = realloc(call->body, room);

		if (!grown) {
			http_abort(request);
			return;
		}
		call->body = grown;
		call->room = room;
	}
	memcpy(call->body + call->size, bytes.data, bytes.size);
	call->size += bytes.size;
}

static void put_gone(struct http_request *request, bool complete)
{
	(void)complete;
	registry_call_gone(request->user);
}

static const struct http_request_on put_on = {
	.body = put_body,
	.end = put_end,
	.gone = put_gone,
};

void registry_manifest_put(struct registry_call *call)
{
	const char *type = http_header(call->request, "content-type");
	struct span media = span_of(type ? type : ""), word;

	span_cut(&media, ';', &word);
	if (span_copy(call->media, sizeof(call->media), word) < 0)
		call->media[0] = '\0';
	call->request->on = &put_on;
}
