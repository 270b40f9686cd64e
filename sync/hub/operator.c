#include "operator.h"

#include <stdio.h>
#include <time.h>

#include "api.h"
#include "handlers.h"

enum { DAY_S = 24 * 3600 };

bool operator_is_revoked(struct hub *hub, const char *name, int64_t not_after)
{
	char key[96];
	yyjson_doc *doc;
	uint64_t until;

	snprintf(key, sizeof(key), "operator/%s", name);
	doc = stored_document(hub->store, key);
	until = member_u64(yyjson_doc_get_root(doc), "revoked_until", 0);
	yyjson_doc_free(doc);
	return (uint64_t)not_after <= until;
}

int operator_revoke(struct hub *hub, const char *name, const char *by)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc);
	char key[96];
	int err;

	snprintf(key, sizeof(key), "operator/%s", name);
	yyjson_mut_doc_set_root(doc, root);
	yyjson_mut_obj_add_sint(doc, root, "revoked_until",
				time(NULL) + (int64_t)CA_OPERATOR_DAYS * DAY_S);
	err = stored_put(hub->store, key, doc, STORE_ANY);
	if (err == 0)
		event_add(hub, &(struct event){ .what = "operator revoked",
						.by = by,
						.text = name });
	return err;
}

void operator_revoke_handle(struct api_call *call)
{
	int err = operator_revoke(call->hub, call->argument[0],
				  call->caller.name);

	if (err < 0)
		api_fail_errno(call, err);
	else
		api_settle(call, 200, NULL);
}
