/* The OCI registry under /v2 (distribution-spec 1.1): what its files share.
 *
 * In the store, REPO being "team/web" and HEX a sha256:
 *	tag/REPO:TAG		"sha256:HEX"
 *	manifest/REPO@HEX	{"mediaType","size","total","at"}
 *	need/HEX/REPO:TAG	the tag needs that manifest
 *	need/HEX/REPO@HEX2	that manifest needs the blob or manifest HEX
 *	referrer/REPO@HEX/HEX2	the descriptor of a manifest about HEX
 * A blob or manifest that nothing needs is swept after a day. */
#ifndef HUB_REGISTRY_H
#define HUB_REGISTRY_H

#include "api.h"

enum {
	REGISTRY_REPO_SIZE = 201,
	REGISTRY_TAG_SIZE = 129,
	REGISTRY_MEDIA_SIZE = 256,
	REGISTRY_MANIFEST_MAX = 4 << 20,
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
};

/* local: who it is on the local socket, else NULL. */
void registry_request(struct hub *hub, struct http_request *request,
		      const struct api_caller *local);

/* What the tag or digest of "hub/REPO:TAG" or "hub/REPO@sha256:HEX" is here.
 * 0, -EINVAL (no such reference), -ENOENT. */
int registry_resolve(struct hub *hub, const char *image, struct digest *digest);

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
void registry_blob_get(struct registry_call *call);

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
/* Forgets the manifest and what it needs. 0 or -errno of the store. */
int registry_manifest_forget(struct hub *hub, const char *repo,
			     const struct digest *digest);
/* Whether anything needs it. */
bool registry_is_needed(struct hub *hub, const struct digest *digest);

/* registry_list.c */
void registry_tags(struct registry_call *call);
void registry_referrers(struct registry_call *call);
void registry_catalog(struct registry_call *call);

#endif
