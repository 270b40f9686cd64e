#define _GNU_SOURCE
#include "enrol.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/utsname.h>

#include "agent.h"
#include "base/fd.h"
#include "facts.h"
#include "identity.h"
#include "json.h"

enum { ANSWER_MS = 20000, REPLY_MAX = 64 << 10 };

static enrol_done on_done;
static int (*take)(struct span reply, char why[200]); /* what is asked for */

/* 0 when the reply is one, else what to make of it. */
static int judge(int error, int status, struct span body, char why[200])
{
	if (error < 0) {
		snprintf(why, 200, "%s", strerror(-error));
		return error;
	}
	if (status == 200)
		return 0;
	error_text(status, body, why, 200);
	switch (status) {
	case 400:
	case 401:
	case 403:
	case 404:
	case 409:
		return -EACCES;
	default:
		return -EAGAIN;
	}
}

static void replied(void *user, int error, int status, struct span body)
{
	char why[200] = "";

	(void)user;
	if (error == -ECANCELED)
		return;
	error = judge(error, status, body, why);
	if (error == 0)
		error = take(body, why);
	on_done(error, why);
}

/* Sends the object and frees doc. */
static int post(struct http_client *client, const char *path,
		yyjson_mut_doc *doc)
{
	size_t size;
	char *json = yyjson_mut_write(doc, 0, &size);
	struct http_call_config config = {
		.method = "POST",
		.path = path,
		.body = http_bytes((struct span){ json, size }),
		.timeout_ms = ANSWER_MS,
	};
	int err = json ? http_fetch(client, &config, REPLY_MAX, replied, NULL)
		       : -ENOMEM;

	if (json)
		explicit_bzero(json, size);
	free(json);
	yyjson_mut_doc_free(doc);
	return err;
}

static yyjson_mut_doc *request(const char *name)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc);
	char csr[CERT_PEM_SIZE];

	yyjson_mut_doc_set_root(doc, root);
	if (cert_request_make(identity.key, name, csr) == 0)
		yyjson_mut_obj_add_strcpy(doc, root, "csr", csr);
	return doc;
}

int enrol_ask(struct http_client *client, enrol_done done)
{
	yyjson_mut_doc *doc = request(agent.name[0] ? agent.name : "node");
	yyjson_mut_val *root = yyjson_mut_doc_get_root(doc);

	on_done = done;
	take = identity_enrolled;
	yyjson_mut_obj_add_str(doc, root, "token", agent.token.id);
	yyjson_mut_obj_add_str(doc, root, "secret", agent.token.secret);
	yyjson_mut_obj_add_str(doc, root, "name", agent.name);
	yyjson_mut_obj_add_str(doc, root, "board", facts_board());
	yyjson_mut_obj_add_str(doc, root, "arch", facts_arch());
	return post(client, "/v1/enrol", doc);
}

int renew_ask(struct http_client *client, enrol_done done)
{
	on_done = done;
	take = identity_renewed;
	return post(client, "/v1/renew", request(identity.node));
}
