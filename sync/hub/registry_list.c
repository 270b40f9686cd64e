/* Lists: the tags of a name, what refers to a manifest, all names, and the
 * images that operators see. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "apply.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/stamp.h"
#include "handlers.h"
#include "registry.h"

enum { PAGE_MAX = 1000, CATALOG_MAX = 10000 };

struct list {
	struct hub *hub;
	yyjson_mut_doc *doc;
	yyjson_mut_val *rows;
	size_t skip; /* bytes of the key that every row shares */
	char last[REGISTRY_REPO_SIZE];
};

static struct list list_new(struct hub *hub, const char *key)
{
	struct list l = { .hub = hub, .doc = yyjson_mut_doc_new(NULL) };
	yyjson_mut_val *root = yyjson_mut_obj(l.doc);

	store_commit(hub->store);
	yyjson_mut_doc_set_root(l.doc, root);
	l.rows = yyjson_mut_arr(l.doc);
	yyjson_mut_obj_add_val(l.doc, root, key, l.rows);
	return l;
}

static void list_reply(struct list *l, struct http_request *request,
		       const char *type, const char *link)
{
	struct http_header headers[] = { { "content-type", type },
					 { "link", link } };
	size_t size = 0;
	autofree char *json = yyjson_mut_write(l->doc, 0, &size);

	yyjson_mut_doc_free(l->doc);
	http_reply(request, json ? 200 : 500, headers, link ? 2 : 1,
		   http_bytes((struct span){ json, size }));
}

/* How many rows of a page the client wants. */
static unsigned page_size(const struct http_request *request, bool *said)
{
	char text[16];
	uint64_t n = PAGE_MAX;

	*said = http_query(request, "n", text, sizeof(text)) == 0 &&
		span_u64(span_of(text), PAGE_MAX, &n) == 0;
	return (unsigned)n;
}

/* ---- tags ---- */

static int tag_row(void *context, const struct store_entry *e)
{
	struct list *l = context;

	yyjson_mut_arr_add_strcpy(l->doc, l->rows, e->key.data + l->skip);
	text_copy(l->last, sizeof(l->last), e->key.data + l->skip);
	return 0;
}

void registry_tags(struct registry_call *call)
{
	char prefix[STORE_KEY_MAX], after[STORE_KEY_MAX] = "",
				    last[REGISTRY_TAG_SIZE], link[512];
	struct list l = list_new(call->hub, "tags");
	bool paged;
	unsigned n = page_size(call->request, &paged);

	yyjson_mut_obj_add_str(l.doc, yyjson_mut_doc_get_root(l.doc), "name",
			       call->repo);
	l.skip = (size_t)snprintf(prefix, sizeof(prefix),
				  "tag/%s:", call->repo);
	if (http_query(call->request, "last", last, sizeof(last)) == 0)
		snprintf(after, sizeof(after), "tag/%s:%s", call->repo, last);
	store_range(call->hub->store, prefix, after, n, tag_row, &l);
	if (!yyjson_mut_arr_size(l.rows) && !after[0] && n) {
		yyjson_mut_doc_free(l.doc);
		registry_fail(call->request, 404, "NAME_UNKNOWN",
			      "no such name");
		return;
	}
	snprintf(link, sizeof(link),
		 "</v2/%s/tags/list?n=%u&last=%s>; rel=\"next\"", call->repo, n,
		 l.last);
	list_reply(&l, call->request, "application/json",
		   paged && n && yyjson_mut_arr_size(l.rows) == n ? link
								  : NULL);
}

/* ---- referrers ---- */

static int referrer_row(void *context, const struct store_entry *e)
{
	struct list *l = context;
	yyjson_doc *doc = yyjson_read(e->value.data, e->value.size, 0);

	if (doc)
		yyjson_mut_arr_append(
			l->rows,
			yyjson_val_mut_copy(l->doc, yyjson_doc_get_root(doc)));
	yyjson_doc_free(doc);
	return 0;
}

void registry_referrers(struct registry_call *call)
{
	static const char type[] = "application/vnd.oci.image.index.v1+json";
	char prefix[STORE_KEY_MAX], hex[DIGEST_HEX_SIZE];
	struct digest digest;
	yyjson_mut_val *root;
	struct list l;

	if (digest_parse(span_of(call->reference), &digest) < 0) {
		registry_fail(call->request, 400, "DIGEST_INVALID",
			      "want sha256: and 64 hex digits");
		return;
	}
	l = list_new(call->hub, "manifests");
	root = yyjson_mut_doc_get_root(l.doc);
	yyjson_mut_obj_add_int(l.doc, root, "schemaVersion", 2);
	yyjson_mut_obj_add_str(l.doc, root, "mediaType", type);
	digest_hex(&digest, hex);
	snprintf(prefix, sizeof(prefix), "referrer/%s@%s/", call->repo, hex);
	store_range(call->hub->store, prefix, "", PAGE_MAX, referrer_row, &l);
	list_reply(&l, call->request, type, NULL);
}

/* ---- names ---- */

static int repo_row(void *context, const struct store_entry *e)
{
	struct list *l = context;
	const char *repo = e->key.data + strlen("tag/");
	const char *colon = strrchr(repo, ':');
	size_t n = colon ? (size_t)(colon - repo) : strlen(repo);

	if (n >= sizeof(l->last) ||
	    (strlen(l->last) == n && !strncmp(l->last, repo, n)))
		return 0;
	span_copy(l->last, sizeof(l->last), (struct span){ repo, n });
	yyjson_mut_arr_add_strcpy(l->doc, l->rows, l->last);
	return 0;
}

void registry_catalog(struct registry_call *call)
{
	struct list l = list_new(call->hub, "repositories");

	store_range(call->hub->store, "tag/", "", CATALOG_MAX, repo_row, &l);
	list_reply(&l, call->request, "application/json", NULL);
}

/* ---- GET /v1/images ---- */

static void image_facts(struct list *l, yyjson_mut_val *row, const char *repo,
			const char *digest)
{
	char key[STORE_KEY_MAX], at[STAMP_SIZE];
	yyjson_doc *doc;
	yyjson_val *root;

	snprintf(key, sizeof(key), "manifest/%.200s@%.64s", repo,
		 digest + strlen("sha256:"));
	doc = stored_document(l->hub->store, key);
	root = yyjson_doc_get_root(doc);
	yyjson_mut_obj_add_val(
		l->doc, row, "media_type",
		yyjson_val_mut_copy(l->doc, yyjson_obj_get(root, "mediaType")));
	yyjson_mut_obj_add_uint(l->doc, row, "size",
				member_u64(root, "total", 0));
	stamp_make((int64_t)member_u64(root, "at", 0), at);
	yyjson_mut_obj_add_strcpy(l->doc, row, "pushed", at);
	yyjson_doc_free(doc);
}

static int image_row(void *context, const struct store_entry *e)
{
	struct list *l = context;
	char repo[STORE_KEY_MAX], *colon;
	yyjson_mut_val *row;

	text_copy(repo, sizeof(repo), e->key.data + strlen("tag/"));
	colon = strrchr(repo, ':');
	if (!colon || e->value.size != DIGEST_TEXT_SIZE - 1)
		return 0;
	*colon = '\0';
	row = yyjson_mut_arr_add_obj(l->doc, l->rows);
	yyjson_mut_obj_add_strcpy(l->doc, row, "repository", repo);
	yyjson_mut_obj_add_strcpy(l->doc, row, "tag", colon + 1);
	yyjson_mut_obj_add_strcpy(l->doc, row, "digest", e->value.data);
	image_facts(l, row, repo, e->value.data);
	return 0;
}

void images_handle(struct api_call *call)
{
	struct list l = list_new(call->hub, "images");

	store_range(call->hub->store, "tag/", "", CATALOG_MAX, image_row, &l);
	api_reply(call, 200, l.doc);
}
