/* Paths of the registry. A name has slashes in it, so a path is taken apart
 * from its end: what stands after the last "/blobs/", "/manifests/", ... */
#define _GNU_SOURCE
#include "registry.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "upstream.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

struct registry_route {
	const char *method;
	const char *kind; /* between name and reference */
	bool push;
	void (*handle)(struct registry_call *call);
};

/* Kinds that are part of another come first. */
static const struct registry_route routes[] = {
	{ "GET", "/blobs/uploads/", true, registry_upload_status },
	{ "POST", "/blobs/uploads/", true, registry_upload_start },
	{ "PATCH", "/blobs/uploads/", true, registry_upload_add },
	{ "PUT", "/blobs/uploads/", true, registry_upload_put },
	{ "DELETE", "/blobs/uploads/", true, registry_upload_delete },
	{ "GET", "/blobs/", false, registry_blob_get },
	{ "HEAD", "/blobs/", false, registry_blob_get },
	{ "GET", "/manifests/", false, registry_manifest_get },
	{ "HEAD", "/manifests/", false, registry_manifest_get },
	{ "PUT", "/manifests/", true, registry_manifest_put },
	{ "DELETE", "/manifests/", true, registry_manifest_delete },
	{ "GET", "/tags/", false, registry_tags },
	{ "GET", "/referrers/", false, registry_referrers },
};

/* ---- replies ---- */

void registry_fail(struct http_request *request, int status, const char *code,
		   const char *text)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc), *error;
	autofree char *json = NULL;

	yyjson_mut_doc_set_root(doc, root);
	error = yyjson_mut_arr_add_obj(
		doc, yyjson_mut_obj_add_arr(doc, root, "errors"));
	yyjson_mut_obj_add_str(doc, error, "code", code);
	yyjson_mut_obj_add_str(doc, error, "message", text);
	json = yyjson_mut_write(doc, 0, NULL);
	yyjson_mut_doc_free(doc);
	http_reply_bytes(request, status, "application/json",
			 span_of(json ? json : ""));
}

void registry_fail_errno(struct http_request *request, int error)
{
	switch (error) {
	case -ENOSPC:
		registry_fail(request, 507, "DENIED", "the hub's disk is full");
		break;
	case -EMFILE:
		registry_fail(request, 429, "TOOMANYREQUESTS",
			      "too many uploads at once: try again");
		break;
	case -EBUSY:
		registry_fail(request, 409, "BLOB_UPLOAD_INVALID",
			      "another request writes to this upload");
		break;
	case -EBADMSG:
		registry_fail(request, 400, "DIGEST_INVALID",
			      "the bytes that came have another digest");
		break;
	default:
		registry_fail(request, 500, "UNKNOWN", strerror(-error));
		break;
	}
}

void registry_reply(struct http_request *request, int status,
		    const struct http_header *headers, size_t n)
{
	struct http_body none = { .kind = HTTP_BODY_NONE };

	http_reply(request, status, headers, n, none);
}

/* ---- names ---- */

static bool is_alnum(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

bool registry_repo_valid(struct span repo)
{
	if (upstream_named(repo))
		return upstream_repo_valid(repo);
	if (!repo.size || repo.size >= REGISTRY_REPO_SIZE)
		return false;
	for (size_t i = 0; i < repo.size; i++) {
		char c = repo.data[i];
		bool inner = i && i + 1 < repo.size &&
			     is_alnum(repo.data[i + 1]);

		if (is_alnum(c))
			continue;
		if (c == '/' || c == '.') {
			if (!inner || !is_alnum(repo.data[i - 1]))
				return false;
		} else if (c == '-' || c == '_') {
			if (!i || i + 1 == repo.size || repo.data[i - 1] == '/')
				return false;
		} else {
			return false;
		}
	}
	return true;
}

bool registry_tag_valid(struct span tag)
{
	if (!tag.size || tag.size >= REGISTRY_TAG_SIZE || tag.data[0] == '.' ||
	    tag.data[0] == '-')
		return false;
	for (size_t i = 0; i < tag.size; i++) {
		char c = tag.data[i];

		if (!is_alnum(c) && !(c >= 'A' && c <= 'Z') && c != '.' &&
		    c != '-' && c != '_')
			return false;
	}
	return true;
}

/* The last place of needle in text. */
static const char *last_of(const char *text, const char *needle)
{
	const char *found = NULL, *p = text;

	while ((p = strstr(p, needle)))
		found = p++;
	return found;
}

/* ---- routing ---- */

void registry_call_gone(struct registry_call *call)
{
	call->request = NULL;
	store_wait_cancel(&call->wait);
	cache_call_gone(call);
	blob_upload_forget(call->hub->blobs, call);
	if (call->upload && call->unnamed)
		blob_upload_drop(call->upload);
	else if (call->upload)
		blob_upload_close(call->upload);
	free(call->body);
	free(call);
}

static void call_gone(struct http_request *request, bool complete)
{
	(void)complete;
	registry_call_gone(request->user);
}

static void call_nobody(struct http_request *request, struct span bytes)
{
	http_consumed(request, bytes.size);
}

static const struct http_request_on plain_on = {
	.body = call_nobody,
	.gone = call_gone,
};

static const struct registry_route *route_find(
	const struct http_request *request, struct registry_call *call,
	int *status)
{
	const char *path = request->path + strlen("/v2");

	*status = 404;
	for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
		const char *at = last_of(path, routes[i].kind);
		struct span repo;

		if (!at || at == path)
			continue;
		repo = (struct span){ path + 1, (size_t)(at - path - 1) };
		if (!registry_repo_valid(repo) ||
		    span_copy(call->reference, sizeof(call->reference),
			      span_of(at + strlen(routes[i].kind))) < 0)
			continue;
		span_copy(call->repo, sizeof(call->repo), repo);
		if (!strcmp(routes[i].method, request->method))
			return &routes[i];
		*status = 405;
	}
	return NULL;
}

static void base_request(struct hub *hub, struct http_request *request)
{
	static const struct http_header headers[] = {
		{ "docker-distribution-api-version", "registry/2.0" },
		{ "content-type", "application/json" },
	};
	struct registry_call call = { .hub = hub, .request = request };

	if (!strcmp(request->path, "/v2/_catalog"))
		registry_catalog(&call);
	else
		http_reply(request, 200, headers, 2, http_bytes(span_of("{}")));
}

void registry_request(struct hub *hub, struct http_request *request,
		      const struct api_caller *local)
{
	const struct registry_route *route;
	struct registry_call *call;
	bool may_push;
	int status;

	if (!registry_allowed(hub, request, local, &may_push))
		return;
	if (!strcmp(request->path, "/v2") || !strcmp(request->path, "/v2/") ||
	    !strcmp(request->path, "/v2/_catalog")) {
		base_request(hub, request);
		return;
	}
	call = calloc(1, sizeof(*call));
	if (!call) {
		registry_fail(request, 503, "UNKNOWN", "out of memory");
		return;
	}
	route = route_find(request, call, &status);
	if (route && route->push && upstream_named(span_of(call->repo)) &&
	    strcmp(request->method, "DELETE")) {
		free(call);
		registry_fail(request, 403, "DENIED",
			      "that name is of another registry: push there");
		return;
	}
	if (!route || (route->push && !may_push)) {
		free(call);
		if (route)
			registry_fail(request, 403, "DENIED",
				      "you may pull, not push");
		else
			registry_fail(request, status,
				      status == 405 ? "UNSUPPORTED"
						    : "NAME_UNKNOWN",
				      status == 405 ? "no such method here"
						    : "no such path");
		return;
	}
	call->hub = hub;
	call->request = request;
	call->may_push = may_push;
	request->on = &plain_on;
	request->user = call;
	route->handle(call);
}
