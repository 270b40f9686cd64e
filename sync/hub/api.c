/* Routing, access, bodies, replies. Who chose the bytes: anyone who can connect
 * for enrol and time; else a node or an operator. Path and query were decoded
 * by the wire; nothing here is longer than its buffer or it is a 404. */
#define _GNU_SOURCE
#include "api.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/fd.h"
#include "base/log.h"
#include "handlers.h"
#include "metrics.h"
#include "node.h"
#include "operator.h"
#include "registry.h"
#include "stream.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

enum { SMALL = 16 << 10, OBSERVED_MAX = 1 << 20, APPS_MAX = 512 << 10 };

static const struct api_route routes[] = {
	{ "POST", "/v1/enrol", ACCESS_ANYONE, SMALL, enrol_handle },
	{ "POST", "/v1/renew", ACCESS_RENEW, SMALL, renew_handle },
	{ "GET", "/v1/time", ACCESS_ANYONE, 0, time_handle },
	{ "GET", "/v1/nodes/*/desired", ACCESS_NODE, 0, desired_handle },
	{ "POST", "/v1/nodes/*/acknowledged", ACCESS_NODE, SMALL,
	  acknowledged_handle },
	{ "PUT", "/v1/nodes/*/observed", ACCESS_NODE, OBSERVED_MAX,
	  observed_handle },
	{ "POST", "/v1/nodes/*/pull-token", ACCESS_NODE, SMALL,
	  pull_token_handle },
	{ "GET", "/v1/nodes", ACCESS_READ, 0, nodes_handle },
	{ "GET", "/v1/ps", ACCESS_READ, 0, ps_handle },
	{ "GET", "/v1/apps", ACCESS_READ, 0, apps_handle },
	{ "GET", "/v1/apps/*", ACCESS_READ, 0, app_handle },
	{ "PUT", "/v1/apps/*", ACCESS_WRITE, APPS_MAX, app_put_handle },
	{ "DELETE", "/v1/apps/*", ACCESS_WRITE, 0, app_delete_handle },
	{ "GET", "/v1/tokens", ACCESS_READ, 0, tokens_handle },
	{ "POST", "/v1/tokens", ACCESS_WRITE, SMALL, token_make_handle },
	{ "DELETE", "/v1/tokens/*", ACCESS_WRITE, 0, token_delete_handle },
	{ "GET", "/v1/events", ACCESS_READ, 0, events_handle },
	{ "GET", "/v1/images", ACCESS_READ, 0, images_handle },
	{ "GET", "/v1/nodes/*/logs/*", ACCESS_READ, 0, logs_handle },
	{ "GET", "/v1/nodes/*/devices", ACCESS_READ, 0, devices_handle },
	{ "POST", "/v1/nodes/*/wish/*", ACCESS_WRITE, SMALL, wish_handle },
	{ "POST", "/v1/nodes/*/revoke", ACCESS_WRITE, SMALL, revoke_handle },
	{ "POST", "/v1/operators/*", ACCESS_WRITE, SMALL,
	  operator_issue_handle },
	{ "POST", "/v1/operators/*/revoke", ACCESS_WRITE, SMALL,
	  operator_revoke_handle },
	{ "GET", "/v1/status", ACCESS_READ, 0, status_handle },
};

/* ---- replies ---- */

void api_refuse(struct http_request *request, int status, const char *text)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc);
	autofree char *json = NULL;

	yyjson_mut_doc_set_root(doc, root);
	yyjson_mut_obj_add_str(doc, root, "error", text);
	json = yyjson_mut_write(doc, YYJSON_WRITE_NEWLINE_AT_END, NULL);
	yyjson_mut_doc_free(doc);
	http_reply_bytes(request, status, "application/json",
			 span_of(json ? json : ""));
}

/* What an operator did is kept in the log, done or not. */
static void audit(const struct api_call *call, int status)
{
	if (call->route->access != ACCESS_WRITE)
		return;
	log_notice("audit", "%s %s %s from %s: %d", call->caller.name,
		   call->request->method, call->request->path,
		   call->request->remote, status);
}

void api_reply(struct api_call *call, int status, yyjson_mut_doc *reply)
{
	autofree char *json = NULL;
	size_t size = 3;

	if (reply) {
		json = yyjson_mut_write(reply, YYJSON_WRITE_NEWLINE_AT_END,
					&size);
		yyjson_mut_doc_free(reply);
		if (!json) {
			api_fail(call, 500, "out of memory");
			return;
		}
	}
	if (!call->request)
		return;
	audit(call, status);
	http_reply_bytes(call->request, status, "application/json",
			 (struct span){ json ? json : "{}\n", size });
}

void api_fail(struct api_call *call, int status, const char *fmt, ...)
{
	char text[API_ERROR_SIZE];
	va_list args;

	if (!call->request)
		return;
	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	audit(call, status);
	api_refuse(call->request, status, text);
}

void api_fail_errno(struct api_call *call, int error)
{
	switch (error) {
	case -ENOSPC:
		api_fail(call, 507, "the hub's disk is full");
		break;
	case -EAGAIN:
		api_fail(call, 409, "changed meanwhile: try again");
		break;
	case -ENOENT:
		api_fail(call, 404, "no such thing");
		break;
	default:
		api_fail(call, 500, "the hub cannot: %s", strerror(-error));
		break;
	}
}

static void settled(struct store_wait *w, int error)
{
	struct api_call *call = container_of(w, struct api_call, wait);
	yyjson_mut_doc *reply = call->reply;

	call->reply = NULL;
	if (error == 0) {
		api_reply(call, call->status, reply);
		return;
	}
	yyjson_mut_doc_free(reply);
	api_fail_errno(call, error);
}

void api_settle(struct api_call *call, int status, yyjson_mut_doc *reply)
{
	call->status = status;
	call->reply = reply;
	call->wait.done = settled;
	store_settled(call->hub->store, &call->wait);
}

/* ---- access ---- */

/* The kind of a caller is said by the URI in its certificate; a node may be
 * called "operator" and is "zooid:///operator" then, without a name behind. */
static enum api_role role_of(const char *uri)
{
	static const struct {
		const char *prefix;
		enum api_role role;
	} kinds[] = {
		{ "zooid:///operator/", ROLE_OPERATOR },
		{ "zooid:///viewer/", ROLE_VIEWER },
		{ "zooid:///", ROLE_NODE },
	};

	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (!strncmp(uri, kinds[i].prefix, strlen(kinds[i].prefix)))
			return kinds[i].role;
	return ROLE_NONE;
}

/* What its owner can do about it. */
static void refuse_outdated(struct http_request *request,
			    const struct api_caller *caller)
{
	char text[API_ERROR_SIZE];

	if (request->peer->not_after >= time(NULL))
		text_copy(text, sizeof(text),
			  "your certificate is not valid yet: the clock of "
			  "this hub is behind");
	else if (caller->role == ROLE_NODE)
		text_copy(text, sizeof(text),
			  "your certificate is outdated: renew it with POST "
			  "/v1/renew");
	else
		snprintf(text, sizeof(text),
			 "your certificate is outdated: have `zhub operator "
			 "%s%s` make another",
			 caller->role == ROLE_VIEWER ? "--viewer " : "",
			 caller->name);
	api_refuse(request, 403, text);
}

bool api_caller(struct hub *hub, struct http_request *request,
		bool outdated_too, struct api_caller *caller)
{
	const struct tls_peer *peer = request->peer;

	*caller = (struct api_caller){ .role = ROLE_NONE };
	if (!peer || !peer->present)
		return true;
	caller->role = role_of(peer->uri);
	text_copy(caller->name, sizeof(caller->name), peer->name);
	if (!id_valid(span_of(caller->name)) || caller->role == ROLE_NONE) {
		api_refuse(request, 403, "a certificate of an unknown kind");
		return false;
	}
	if (peer->expired && !outdated_too) {
		refuse_outdated(request, caller);
		return false;
	}
	if (caller->role == ROLE_NODE
		    ? node_is_revoked(hub, caller->name)
		    : operator_is_revoked(hub, caller->name, peer->not_after)) {
		api_refuse(request, 403, "your certificate was revoked");
		return false;
	}
	return true;
}

static bool is_allowed(const struct api_call *call)
{
	const struct api_caller *caller = &call->caller;

	switch (call->route->access) {
	case ACCESS_ANYONE:
		return true;
	case ACCESS_RENEW:
		return caller->role == ROLE_NODE;
	case ACCESS_NODE:
		return caller->role == ROLE_NODE &&
		       !strcmp(caller->name, call->argument[0]);
	case ACCESS_READ:
		return caller->role == ROLE_VIEWER ||
		       caller->role == ROLE_OPERATOR;
	case ACCESS_WRITE:
		return caller->role == ROLE_OPERATOR;
	}
	return false;
}

/* ---- bodies ---- */

static void call_body(struct http_request *request, struct span bytes)
{
	struct api_call *call = request->user;

	http_consumed(request, bytes.size);
	if (call->size + bytes.size > call->route->body_max) {
		if (call->room != SIZE_MAX)
			api_fail(call, 413, "more than %u bytes",
				 call->route->body_max);
		call->room = SIZE_MAX; /* replied to */
		return;
	}
	if (call->size + bytes.size + 1 > call->room) {
		size_t room = 2 * (call->size + bytes.size) + 512;
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
	call->body[call->size] = '\0';
}

static void call_end(struct http_request *request)
{
	struct api_call *call = request->user;

	if (call->room != SIZE_MAX)
		call->route->handle(call);
}

static void call_gone(struct http_request *request, bool complete)
{
	struct api_call *call = request->user;

	(void)complete;
	call->request = NULL;
	store_wait_cancel(&call->wait);
	if (call->gone)
		call->gone(call);
	yyjson_mut_doc_free(call->reply);
	free(call->body);
	free(call);
}

void api_call_leave(struct api_call *call)
{
	call->request->on = NULL;
	call->request->user = NULL;
	free(call->body);
	free(call);
}

static const struct http_request_on call_on = {
	.body = call_body,
	.end = call_end,
	.gone = call_gone,
};

yyjson_doc *api_body(struct api_call *call)
{
	yyjson_read_err error;
	yyjson_doc *doc = NULL;

	if (call->size)
		doc = yyjson_read_opts(call->body, call->size, 0, NULL, &error);
	if (doc && yyjson_is_obj(yyjson_doc_get_root(doc)))
		return doc;
	yyjson_doc_free(doc);
	api_fail(call, 400, "the body is not a JSON object");
	return NULL;
}

/* ---- routing ---- */

/* Whether path is like pattern; what stands for '*' goes into the call. */
static bool path_matches(const char *pattern, const char *path,
			 struct api_call *call)
{
	struct span p = span_of(pattern), s = span_of(path), want, have;
	size_t n = 0;

	while (span_cut(&p, '/', &want)) {
		if (!span_cut(&s, '/', &have))
			return false;
		if (!span_is(want, "*")) {
			if (want.size != have.size ||
			    memcmp(want.data, have.data, want.size))
				return false;
			continue;
		}
		if (!id_valid(have))
			return false;
		span_copy(call->argument[n++], sizeof(call->argument[0]), have);
	}
	return !s.data;
}

static const struct api_route *route_find(struct http_request *request,
					  struct api_call *call, int *status)
{
	*status = 404;
	for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
		if (!path_matches(routes[i].path, request->path, call))
			continue;
		if (!strcmp(routes[i].method, request->method))
			return &routes[i];
		*status = 405;
	}
	return NULL;
}

static void route_request(struct hub *hub, struct http_request *request,
			  const struct api_caller *local)
{
	struct api_call *call = calloc(1, sizeof(*call));
	int status = 503;

	if (call)
		call->route = route_find(request, call, &status);
	if (!call || !call->route) {
		free(call);
		api_refuse(request, status,
			   status == 405 ? "no such method here"
					 : "no such path");
		return;
	}
	call->hub = hub;
	call->request = request;
	if (local)
		call->caller = *local;
	else if (!api_caller(hub, request,
			     call->route->access == ACCESS_RENEW ||
				     call->route->access == ACCESS_ANYONE,
			     &call->caller)) {
		free(call);
		return;
	}
	if (!is_allowed(call)) {
		api_refuse(request, call->caller.role == ROLE_NONE ? 401 : 403,
			   call->caller.role == ROLE_NONE
				   ? "a client certificate is needed"
				   : "this is not for you");
		free(call);
		return;
	}
	request->on = &call_on;
	request->user = call;
}

static void dispatch(struct hub *hub, struct http_request *request,
		     const struct api_caller *local)
{
	if (!strncmp(request->path, "/v2", 3) &&
	    (!request->path[3] || request->path[3] == '/'))
		registry_request(hub, request, local);
	else if (!strncmp(request->path, STREAM_PATH, strlen(STREAM_PATH)))
		stream_request(hub, request);
	else if (!strcmp(request->path, "/metrics"))
		metrics_request(hub, request);
	else
		route_request(hub, request, local);
}

void api_request(struct http_request *request, void *hub)
{
	dispatch(hub, request, NULL);
}

void api_request_local(struct http_request *request, void *hub)
{
	static const struct api_caller local = { ROLE_OPERATOR, "local" };

	dispatch(hub, request, &local);
}
