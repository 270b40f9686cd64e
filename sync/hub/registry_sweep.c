/* Removing what was pushed and is no longer needed. First the manifests that no
 * tag, no index and no application names; then the blobs that no manifest
 * needs. Both only when older than a push can last. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "apply.h"
#include "base/log.h"
#include "oci/desired.h"
#include "registry.h"
#include "upstream.h"

enum { USED_MAX = 4096 };

struct sweep {
	struct hub *hub;
	unsigned grace_s;
	struct digest used[USED_MAX]; /* by applications */
	unsigned n_used, n_manifests;
};

static int application_uses(void *context, const char *name, yyjson_val *record)
{
	struct sweep *s = context;
	yyjson_arr_iter iter;
	yyjson_val *app;

	(void)name;
	yyjson_arr_iter_init(yyjson_obj_get(record, "apps"), &iter);
	while ((app = yyjson_arr_iter_next(&iter))) {
		char text[DIGEST_TEXT_SIZE];

		if (member_text(app, "digest", text, sizeof(text)) < 0 ||
		    digest_parse(span_of(text), &s->used[s->n_used]) < 0)
			continue;
		if (++s->n_used == USED_MAX)
			return -E2BIG;
	}
	return 0;
}

static bool is_used(const struct sweep *s, const struct digest *digest)
{
	for (unsigned i = 0; i < s->n_used; i++)
		if (digest_equal(&s->used[i], digest))
			return true;
	return false;
}

/* key is manifest/REPO@HEX. */
static int manifest_sweep(void *context, const struct store_entry *e)
{
	struct sweep *s = context;
	char repo[STORE_KEY_MAX], *at;
	struct digest digest;
	yyjson_doc *doc;
	uint64_t pushed, grace_s;
	int err;

	text_copy(repo, sizeof(repo), e->key.data + strlen("manifest/"));
	at = strrchr(repo, '@');
	if (!at || digest_parse_hex(span_of(at + 1), &digest) < 0)
		return 0;
	*at = '\0';
	doc = yyjson_read(e->value.data, e->value.size, 0);
	pushed = member_u64(yyjson_doc_get_root(doc), "at", 0);
	yyjson_doc_free(doc);
	grace_s = upstream_named(span_of(repo)) && s->grace_s ? REGISTRY_CACHE_S
							      : s->grace_s;
	if (pushed + grace_s > (uint64_t)time(NULL) || is_used(s, &digest) ||
	    registry_is_needed(s->hub, &digest))
		return 0;
	err = registry_manifest_forget(s->hub, repo, &digest);
	s->n_manifests += err == 0;
	return err == -ENOENT ? 0 : err;
}

/* Tags of other registries whose manifest is gone; key is tag/REPO:TAG. */
static int tag_sweep(void *context, const struct store_entry *e)
{
	struct sweep *s = context;
	char repo[STORE_KEY_MAX], *colon;
	struct digest digest;

	text_copy(repo, sizeof(repo), e->key.data + strlen("tag/"));
	colon = strrchr(repo, ':');
	if (!colon || !upstream_named(span_of(repo)))
		return 0;
	*colon = '\0';
	if (registry_reference_find(s->hub, repo, colon + 1, &digest) == 0)
		return 0;
	return store_delete(s->hub->store, e->key.data, STORE_ANY);
}

/* A manifest that is still known needs itself. */
static bool blob_needed(void *user, const struct digest *digest)
{
	struct sweep *s = user;

	return is_used(s, digest) || registry_is_needed(s->hub, digest);
}

static void sweep_done(void *user, unsigned n, uint64_t size_bytes)
{
	struct sweep *s = user;

	if (n || s->n_manifests)
		log_notice("registry",
			   "removed %u manifests, %u blobs, %llu "
			   "bytes that nothing needs",
			   s->n_manifests, n, (unsigned long long)size_bytes);
	free(s);
}

void registry_sweep(struct hub *hub, unsigned grace_s)
{
	struct sweep *s = calloc(1, sizeof(*s));
	struct blobs_sweep blobs = { .needed = blob_needed,
				     .done = sweep_done,
				     .user = s,
				     .grace_s = grace_s };
	int err;

	if (!s)
		return;
	s->hub = hub;
	s->grace_s = grace_s;
	err = applications_each(hub, application_uses, s);
	if (err == 0)
		err = store_range(hub->store, "manifest/", "", UINT32_MAX,
				  manifest_sweep, s);
	if (err == 0)
		err = store_range(hub->store, "tag/", "", UINT32_MAX, tag_sweep,
				  s);
	if (err == 0)
		err = store_commit(hub->store);
	if (err == 0)
		err = blobs_sweep_start(hub->blobs, &blobs);
	if (err < 0) {
		if (err != -EALREADY)
			log_error("registry", "cannot sweep: %s",
				  strerror(-err));
		free(s);
	}
}
