#include "operator.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "handlers.h"

struct record {
	uint64_t issued_until, revoked_until; /* seconds since 1970; 0: none */
};

static struct record record_get(struct hub *hub, const char *name)
{
	struct record r;
	yyjson_doc *doc;
	char key[96];

	snprintf(key, sizeof(key), "operator/%s", name);
	doc = stored_document(hub->store, key);
	r.issued_until = member_u64(yyjson_doc_get_root(doc), "issued_until",
				    0);
	r.revoked_until = member_u64(yyjson_doc_get_root(doc), "revoked_until",
				     0);
	yyjson_doc_free(doc);
	return r;
}

static int record_put(struct hub *hub, const char *name, struct record r)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc);
	char key[96];

	snprintf(key, sizeof(key), "operator/%s", name);
	yyjson_mut_doc_set_root(doc, root);
	yyjson_mut_obj_add_uint(doc, root, "issued_until", r.issued_until);
	yyjson_mut_obj_add_uint(doc, root, "revoked_until", r.revoked_until);
	return stored_put(hub->store, key, doc, STORE_ANY);
}

static uint64_t later(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

bool operator_is_revoked(struct hub *hub, const char *name, int64_t not_after)
{
	return (uint64_t)not_after <= record_get(hub, name).revoked_until;
}

int operator_issue(struct hub *hub, const char *name, const char *by,
		   int64_t *not_after)
{
	struct record r = record_get(hub, name);
	uint64_t end = later((uint64_t)ca_end_of(CA_OPERATOR_DAYS),
			     r.revoked_until + 1);
	int err;

	r.issued_until = later(r.issued_until, end);
	err = record_put(hub, name, r);
	if (err < 0)
		return err;
	if (by)
		event_add(hub, &(struct event){ .what = "operator made",
						.by = by,
						.text = name });
	*not_after = (int64_t)end;
	return 0;
}

/* Those of hubs that kept no record yet. */
static bool has_credential(const struct hub *hub, const char *name)
{
	char path[96];

	snprintf(path, sizeof(path), "%s.d/client.cert", name);
	return faccessat(hub->dir, path, F_OK, 0) == 0;
}

int operator_revoke(struct hub *hub, const char *name, const char *by,
		    bool *known)
{
	struct record r = record_get(hub, name);
	int err;

	*known = r.issued_until || has_credential(hub, name);
	r.revoked_until = later((uint64_t)ca_end_of(CA_OPERATOR_DAYS),
				r.issued_until);
	err = record_put(hub, name, r);
	if (err == 0)
		event_add(hub, &(struct event){ .what = "operator revoked",
						.by = by,
						.text = name });
	return err;
}

void operator_unknown(const char *name, char text[API_ERROR_SIZE])
{
	snprintf(text, API_ERROR_SIZE,
		 "no operator %s: should there be one, it is refused from now "
		 "on",
		 name);
}

void operator_issue_handle(struct api_call *call)
{
	yyjson_mut_doc *doc;
	int64_t not_after;
	int err = operator_issue(call->hub, call->argument[0],
				 call->caller.name, &not_after);

	if (err < 0) {
		api_fail_errno(call, err);
		return;
	}
	doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_doc_set_root(doc, yyjson_mut_obj(doc));
	yyjson_mut_obj_add_sint(doc, yyjson_mut_doc_get_root(doc), "not_after",
				not_after);
	api_settle(call, 201, doc);
}

void operator_revoke_handle(struct api_call *call)
{
	char unknown[API_ERROR_SIZE];
	yyjson_mut_doc *doc = NULL;
	bool known;
	int err = operator_revoke(call->hub, call->argument[0],
				  call->caller.name, &known);

	if (err < 0) {
		api_fail_errno(call, err);
		return;
	}
	if (!known) {
		operator_unknown(call->argument[0], unknown);
		doc = yyjson_mut_doc_new(NULL);
		yyjson_mut_doc_set_root(doc, yyjson_mut_obj(doc));
		yyjson_mut_obj_add_strcpy(doc, yyjson_mut_doc_get_root(doc),
					  "error", unknown);
	}
	api_settle(call, known ? 200 : 404, doc);
}
