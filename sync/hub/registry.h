/* The OCI registry under /v2 (distribution-spec 1.1): what its files share.
 *
 * In the store, REPO being "team/web" and HEX a sha256:
 *	tag/REPO:TAG		"sha256:HEX"
 *	manifest/REPO@HEX	{"mediaType","size","total","at"}
 *	need/HEX/REPO:TAG	the tag needs that manifest
 *	need/HEX/REPO@HEX2	that manifest needs the blob or manifest HEX
 *	referrer/REPO@HEX/HEX2	the descriptor of a manifest about HEX
 * A blob or manifest that nothing needs is swept after a day. Of images of
 * other registries (upstream.h) a tag needs nothing, and "at" is when it was
 * last asked for, up to a day later: they are swept two weeks after that. */
#ifndef HUB_REGISTRY_H
#define HUB_REGISTRY_H

#include "api.h"
#include "cache.h"

enum {
	REGISTRY_REPO_SIZE = 201,
	REGISTRY_TAG_SIZE = 129,
	REGISTRY_MEDIA_SIZE = 256,
	REGISTRY_MANIFEST_MAX = 4 << 20,
	REGISTRY_CACHE_S = 14 * 24 * 3600,
};

/* One request; user of the http_request. */
struct registry_call {
	struct hub *hub;
	struct http_request *request; /* NULL once it is gone */
	bool may_push;
	char repo[REGISTRY_REPO_SIZE];
	char reference[REGISTRY_TAG_SIZE]; /* tag, digest or upload id */
	struct blob_upload *upload;
	struct digest digest; /* that the upload must have */
	bool finish;	      /* at the end of the body */
	bool unnamed; /* nobody knows the upload's id: it cannot go on */
	bool failed;  /* replied to, the rest is thrown away */
	char *body;   /* of a manifest */
	size_t size, room;
	char media[REGISTRY_MEDIA_SIZE];
	struct store_wait wait;
	struct cache_wait cache;     /* for a manifest of another registry */
	struct cache_reader *reader; /* of a blob that is on its way */
};

/* local: who it is on the local socket, else NULL. */
void registry_request(struct hub *hub, struct http_request *request,
		      const struct api_caller *local);

/* The name of an image as applications have it, in the terms of this registry:
 * "hub/web:1" is web and 1, "nginx" HOST/library/nginx and latest, HOST being
 * the upstream that hub.json marks "default". */
struct registry_name {
	char repo[REGISTRY_REPO_SIZE];
	char reference[REGISTRY_TAG_SIZE];
};
/* 0 or -EINVAL, also for a name without HOST where no upstream is the default.
 */
int registry_name(const struct hub *hub, const char *image,
		  struct registry_name *name);

/* What the tag or digest of a manifest is here. 0, -EINVAL, -ENOENT. */
int registry_reference_find(struct hub *hub, const char *repo,
			    const char *reference, struct digest *digest);

/* Starts to remove what nothing needs; no-op while it is under way. */
void registry_sweep(struct hub *hub, unsigned grace_s);

/* Whether the asker may pull, and push. False after a reply of 401. */
bool registry_allowed(struct hub *hub, struct http_request *request,
		      const struct api_caller *local, bool *may_push);

bool registry_repo_valid(struct span repo);
bool registry_tag_valid(struct span tag);

/* Replies {"errors":[{"code":code,"message":text}]}. */
void registry_fail(struct http_request *request, int status, const char *code,
		   const char *text);
void registry_fail_errno(struct http_request *request, int error);
/* Replies without a body; up to 8 headers. */
void registry_reply(struct http_request *request, int status,
		    const struct http_header *headers, size_t n);

/* Frees the call of a request that is gone; what every gone() does. */
void registry_call_gone(struct registry_call *call);

/* ---- handlers, by file ---- */

/* registry_blob.c */
struct registry_range {
	uint64_t first, n;
	bool partial;
};
void registry_blob_get(struct registry_call *call);
/* What of a blob of this size is wanted; false after a reply of 416. */
bool registry_range(struct registry_call *call, uint64_t size_bytes,
		    struct registry_range *range);
void registry_blob_reply(struct registry_call *call, uint64_t size_bytes,
			 const struct registry_range *range,
			 struct http_body body);

/* registry_upload.c */
void registry_upload_start(struct registry_call *call);
void registry_upload_status(struct registry_call *call);
void registry_upload_add(struct registry_call *call);
void registry_upload_put(struct registry_call *call);
void registry_upload_delete(struct registry_call *call);

/* registry_manifest.c */
void registry_manifest_get(struct registry_call *call);
void registry_manifest_put(struct registry_call *call);
void registry_manifest_delete(struct registry_call *call);
/* What registry_manifest_get() does once it is here. */
void registry_manifest_serve(struct registry_call *call);
/* A manifest that came from another registry; tag may be NULL. */
struct registry_document {
	const char *repo, *tag, *media;
	struct span body;
};
/* Keeps it in the open round; what it needs may come later. 0, -EINVAL (no
 * manifest), -errno. */
int registry_manifest_cache(struct hub *hub,
			    const struct registry_document *document,
			    struct digest *digest);
/* The size that a manifest of the repository gives for a blob. 0, -ENOENT. */
int registry_blob_size(struct hub *hub, const char *repo,
		       const struct digest *digest, uint64_t *size_bytes);
/* Forgets the manifest and what it needs. 0 or -errno of the store. */
int registry_manifest_forget(struct hub *hub, const char *repo,
			     const struct digest *digest);
/* What both files of manifests use: the digest of a descriptor (0, -EINVAL),
 * and the key that says that who needs it; mark is ':' for tags, '@' for
 * manifests. */
int registry_descriptor_digest(yyjson_val *descriptor, struct digest *digest);
void registry_need_key(const struct digest *need, const char *repo, char mark,
		       const char *who, char key[STORE_KEY_MAX]);
/* Whether anything needs it. */
bool registry_is_needed(struct hub *hub, const struct digest *digest);

/* registry_list.c */
void registry_tags(struct registry_call *call);
void registry_referrers(struct registry_call *call);
void registry_catalog(struct registry_call *call);

#endif
