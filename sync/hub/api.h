/* Requests under /v1: who may ask what, bodies collected whole, replies in
 * JSON, errors as {"error":"one line"}.
 *
 * Rule of use: a handler gets a call whose caller is allowed and whose body is
 * complete. It answers now with api_reply() or api_fail(); or, after it changed
 * the store, with api_settle(), which answers once that is on stable storage;
 * or it keeps the call until `gone`. */
#ifndef HUB_API_H
#define HUB_API_H

#include "hub.h"

enum api_access {
	ACCESS_ANYONE,
	ACCESS_RENEW, /* a node, even one whose certificate is outdated */
	ACCESS_NODE,  /* a node; the first '*' of the path is its id */
	ACCESS_READ,  /* operators and viewers */
	ACCESS_WRITE, /* operators */
};

enum api_role { ROLE_NONE, ROLE_NODE, ROLE_VIEWER, ROLE_OPERATOR };

struct api_caller {
	enum api_role role;
	char name[CHAIN_NAME_SIZE]; /* node id or name of the operator */
};

enum { API_ARGUMENTS_MAX = 2, API_ERROR_SIZE = 300 };

struct api_call;

struct api_route {
	const char *method;
	const char *path; /* "*" stands for one segment */
	enum api_access access;
	uint32_t body_max;
	void (*handle)(struct api_call *call);
};

struct api_call {
	struct hub *hub;
	struct http_request *request; /* NULL once it is gone */
	const struct api_route *route;
	struct api_caller caller;
	char argument[API_ARGUMENTS_MAX][64];
	char *body; /* with a NUL after size bytes */
	size_t size, room;
	struct store_wait wait; /* of api_settle() */
	int status;
	yyjson_mut_doc *reply;
	/* Called when the request is gone, before the call is freed. */
	void (*gone)(struct api_call *call);
	void *state; /* the handler's */
};

/* The handler of every request of a server; user is the hub. */
void api_request(struct http_request *request, void *hub);
/* The same on the local socket, whose clients are operators. */
void api_request_local(struct http_request *request, void *hub);

/* Who the peer is. False, and replied to, when its certificate is not good
 * (any more): outdated, revoked, of an unknown kind. No certificate is
 * ROLE_NONE. */
bool api_caller(struct hub *hub, struct http_request *request,
		bool outdated_too, struct api_caller *caller);

/* The body as a JSON object, or NULL after a reply of 400. The caller frees
 * it. */
yyjson_doc *api_body(struct api_call *call);

/* Replies; frees reply (NULL: {}). */
void api_reply(struct api_call *call, int status, yyjson_mut_doc *reply);
__attribute__((format(printf, 3, 4))) void api_fail(struct api_call *call,
						    int status, const char *fmt,
						    ...);
/* Says what -errno of the store or of blobs means. */
void api_fail_errno(struct api_call *call, int error);
/* Replies once the open round is on stable storage, or says that it is not. */
void api_settle(struct api_call *call, int status, yyjson_mut_doc *reply);

/* The request becomes somebody else's: frees the call without a reply. */
void api_call_leave(struct api_call *call);

/* A plain error for any request: {"error":text}. */
void api_refuse(struct http_request *request, int status, const char *text);

#endif
