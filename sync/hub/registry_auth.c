/* Who may use the registry: by client certificate, or by a token as a bearer or
 * as the password of basic authentication, since that is what clients of
 * registries have. A node's certificate, and the token it asked for, let it
 * pull. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "base/base64.h"
#include "base/fd.h"
#include "base/stamp.h"
#include "enrol.h"
#include "handlers.h"
#include "node.h"
#include "registry.h"
#include "token.h"

enum { PULL_TOKEN_S = 3600, CREDENTIAL_SIZE = 256 };

/* "ID.SECRET" out of the authorization field. */
static int credential(const struct http_request *request,
		      char out[CREDENTIAL_SIZE])
{
	const char *field = http_header(request, "authorization");
	char pair[CREDENTIAL_SIZE];
	const char *password;
	ssize_t n;

	if (!field)
		return -ENOENT;
	if (!strncasecmp(field, "bearer ", 7))
		return span_copy(out, CREDENTIAL_SIZE, span_of(field + 7));
	if (strncasecmp(field, "basic ", 6))
		return -EINVAL;
	n = base64_decode(span_of(field + 6), pair, sizeof(pair) - 1);
	if (n < 0)
		return -EINVAL;
	pair[n] = '\0';
	password = strchr(pair, ':');
	return password ? span_copy(out, CREDENTIAL_SIZE, span_of(password + 1))
			: -EINVAL;
}

static bool pull_token_fits(struct hub *hub, const char *id, const char *secret)
{
	const struct node *node = node_find(hub, id);
	unsigned char differ = 0;

	if (!node || node->revoked || !node->pull_token[0] ||
	    node->pull_expires <= time(NULL) ||
	    strlen(secret) != strlen(node->pull_token))
		return false;
	for (size_t i = 0; secret[i]; i++)
		differ |= (unsigned char)(secret[i] ^ node->pull_token[i]);
	return !differ;
}

/* 401, and how to do better. */
static bool refuse(struct http_request *request, const char *text)
{
	static const struct http_header headers[] = {
		{ "www-authenticate", "Basic realm=\"zooid\"" },
		{ "content-type", "application/json" },
		{ "docker-distribution-api-version", "registry/2.0" },
	};
	char json[200];

	snprintf(
		json, sizeof(json),
		"{\"errors\":[{\"code\":\"UNAUTHORIZED\",\"message\":\"%s\"}]}",
		text);
	http_reply(request, 401, headers, 3, http_bytes(span_of(json)));
	return false;
}

static bool allowed_by_token(struct hub *hub, struct http_request *request,
			     bool *may_push)
{
	char text[CREDENTIAL_SIZE], *dot;
	enum token_verdict verdict;
	yyjson_doc *doc;
	int err = credential(request, text);

	if (err == -ENOENT)
		return refuse(request, "a client certificate or a token is "
				       "needed");
	dot = err < 0 ? NULL : strchr(text, '.');
	if (!dot)
		return refuse(request, "not a token");
	*dot = '\0';
	*may_push = false;
	if (pull_token_fits(hub, text, dot + 1))
		return true;
	verdict = token_check(hub, "registry", text, dot + 1, &doc);
	yyjson_doc_free(doc);
	*may_push = true;
	if (verdict == TOKEN_GOOD)
		return true;
	return refuse(request, verdict == TOKEN_EXPIRED
				       ? "this token has expired"
				       : "unknown token");
}

bool registry_allowed(struct hub *hub, struct http_request *request,
		      const struct api_caller *local, bool *may_push)
{
	struct api_caller caller;

	if (local)
		caller = *local;
	else if (!api_caller(hub, request, false, &caller))
		return false;
	*may_push = caller.role == ROLE_OPERATOR;
	return caller.role != ROLE_NONE ||
	       allowed_by_token(hub, request, may_push);
}

/* ---- POST /v1/nodes/ID/pull-token ---- */

/* A node pulls by the name under which it reached us. */
void pull_token_handle(struct api_call *call)
{
	struct node *node = node_adopt(call->hub, call->request->peer);
	const char *host = http_header(call->request, "host");
	char token[160], expires[STAMP_SIZE];
	yyjson_mut_doc *doc;
	yyjson_mut_val *root;

	if (!node) {
		api_fail(call, 500, "out of memory");
		return;
	}
	/* Pulls that began with the last one go on with it. */
	if (!node->pull_token[0] ||
	    node->pull_expires < time(NULL) + PULL_TOKEN_S / 2) {
		random_text(node->pull_token, 32);
		node->pull_expires = time(NULL) + PULL_TOKEN_S;
	}
	snprintf(token, sizeof(token), "%s.%s", node->id, node->pull_token);
	stamp_make(node->pull_expires, expires);
	doc = yyjson_mut_doc_new(NULL);
	root = yyjson_mut_obj(doc);
	yyjson_mut_doc_set_root(doc, root);
	yyjson_mut_obj_add_strcpy(doc, root, "token", token);
	yyjson_mut_obj_add_strcpy(doc, root, "expires", expires);
	yyjson_mut_obj_add_strcpy(doc, root, "registry",
				  host ? host : call->hub->config.address[0]);
	api_reply(call, 200, doc);
}
