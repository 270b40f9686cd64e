#define _GNU_SOURCE
#include "token.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "api.h"
#include "base/base64.h"
#include "base/fd.h"
#include "base/stamp.h"
#include "handlers.h"
#include "oci/digest/digest.h"

enum {
	USES_MAX = 100000,
	EXPIRES_S = 24 * 3600,
	EXPIRES_MAX_S = 366 * 24 * 3600,
};

void random_text(char *out, size_t bytes)
{
	uint8_t random[64];

	wire_random(random, bytes);
	base64url_encode(random, bytes, out);
	explicit_bzero(random, sizeof(random));
}

static void secret_hash(const char *secret, char hex[DIGEST_HEX_SIZE])
{
	struct digest d = digest_of(secret, strlen(secret));

	digest_hex(&d, hex);
}

/* In a time that does not tell where they differ. */
static bool hex_equal(const char *a, const char *b)
{
	unsigned char differ = strlen(a) != 64 || strlen(b) != 64;

	for (size_t i = 0; i < 64 && !differ; i++)
		differ |= (unsigned char)(a[i] ^ b[i]);
	return !differ;
}

/* ---- making ---- */

bool token_place_valid(const char *place)
{
	struct span rest = span_of(place), segment;
	bool first = true;

	while (place[0] && span_cut(&rest, '/', &segment)) {
		if (!id_valid(segment))
			return false;
		if (first && (span_is(segment, "operator") ||
			      span_is(segment, "viewer")))
			return false;
		first = false;
	}
	return true;
}

static int enrol_text(const struct hub *hub, const char *id, const char *secret,
		      char text[TOKEN_TEXT_SIZE])
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc), *list;
	autofree char *json = NULL;
	size_t size = 0;

	yyjson_mut_doc_set_root(doc, root);
	list = yyjson_mut_obj_add_arr(doc, root, "hub");
	for (unsigned i = 0; i < hub->config.n_addresses; i++)
		yyjson_mut_arr_add_str(doc, list, hub->config.address[i]);
	yyjson_mut_obj_add_str(doc, root, "pin", hub->ca.pin_text);
	yyjson_mut_obj_add_str(doc, root, "id", id);
	yyjson_mut_obj_add_str(doc, root, "secret", secret);
	json = yyjson_mut_write(doc, 0, &size);
	yyjson_mut_doc_free(doc);
	if (!json)
		return -ENOMEM;
	if (size > (TOKEN_TEXT_SIZE - 16) / 4 * 3)
		return -E2BIG;
	text_copy(text, TOKEN_TEXT_SIZE, "zooid1.");
	base64url_encode(json, size, text + strlen(text));
	return 0;
}

static yyjson_mut_doc *record_make(const struct token_plan *plan,
				   const char *hash)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc);
	char at[STAMP_SIZE];

	stamp_make(time(NULL), at);
	yyjson_mut_doc_set_root(doc, root);
	yyjson_mut_obj_add_str(doc, root, "kind", plan->kind);
	yyjson_mut_obj_add_strcpy(doc, root, "secret", hash);
	yyjson_mut_obj_add_uint(doc, root, "uses", plan->uses);
	yyjson_mut_obj_add_uint(doc, root, "expires",
				(uint64_t)time(NULL) + plan->expires_s);
	if (plan->place[0])
		yyjson_mut_obj_add_strcpy(doc, root, "place", plan->place);
	if (plan->labels)
		yyjson_mut_obj_add_val(doc, root, "labels",
				       yyjson_val_mut_copy(doc, plan->labels));
	yyjson_mut_obj_add_strcpy(doc, root, "by", plan->by);
	yyjson_mut_obj_add_strcpy(doc, root, "at", at);
	return doc;
}

int token_make(struct hub *hub, const struct token_plan *plan,
	       char id[TOKEN_ID_SIZE], char text[TOKEN_TEXT_SIZE])
{
	char secret[TOKEN_SECRET_SIZE], hash[DIGEST_HEX_SIZE], key[64];
	uint8_t random[(TOKEN_ID_SIZE - 1) / 2];
	int err = 0;

	wire_random(random, sizeof(random));
	for (size_t i = 0; i < sizeof(random); i++)
		snprintf(id + 2 * i, 3, "%02x", random[i]);
	random_text(secret, 32);
	secret_hash(secret, hash);
	if (!strcmp(plan->kind, "enrol"))
		err = enrol_text(hub, id, secret, text);
	else
		snprintf(text, TOKEN_TEXT_SIZE, "%s.%s", id, secret);
	explicit_bzero(secret, sizeof(secret));
	if (err < 0)
		return err;
	snprintf(key, sizeof(key), "token/%s", id);
	return stored_put(hub->store, key, record_make(plan, hash), STORE_NEW);
}

/* ---- using ---- */

enum token_verdict token_check(struct hub *hub, const char *kind,
			       const char *id, const char *secret,
			       yyjson_doc **out)
{
	char hash[DIGEST_HEX_SIZE], stored[DIGEST_HEX_SIZE], is[16], key[96];
	yyjson_val *root;
	yyjson_doc *doc;

	*out = NULL;
	if (!id_valid(span_of(id)))
		return TOKEN_UNKNOWN;
	snprintf(key, sizeof(key), "token/%s", id);
	doc = stored_document(hub->store, key);
	root = yyjson_doc_get_root(doc);
	secret_hash(secret, hash);
	if (!doc || member_text(root, "secret", stored, sizeof(stored)) < 0 ||
	    member_text(root, "kind", is, sizeof(is)) < 0 || strcmp(is, kind) ||
	    !hex_equal(hash, stored)) {
		yyjson_doc_free(doc);
		return TOKEN_UNKNOWN;
	}
	*out = doc;
	if (member_u64(root, "expires", 0) <= (uint64_t)time(NULL))
		return TOKEN_EXPIRED;
	return member_u64(root, "uses", 0) ? TOKEN_GOOD : TOKEN_USED;
}

int token_use(struct hub *hub, const char *id, yyjson_doc *doc)
{
	yyjson_mut_doc *copy = yyjson_doc_mut_copy(doc, NULL);
	yyjson_mut_val *root = yyjson_mut_doc_get_root(copy);
	char key[96];

	snprintf(key, sizeof(key), "token/%s", id);
	yyjson_mut_set_uint(yyjson_mut_obj_get(root, "uses"),
			    member_u64(yyjson_doc_get_root(doc), "uses", 1) -
				    1);
	return stored_put(hub->store, key, copy, STORE_ANY);
}

/* ---- handlers ---- */

static int plan_read(struct api_call *call, yyjson_val *body,
		     struct token_plan *plan, char place[128], char kind[16])
{
	yyjson_val *uses = yyjson_obj_get(body, "uses");
	yyjson_val *expires = yyjson_obj_get(body, "expires");

	if (member_text(body, "place", place, 128) < 0 ||
	    !token_place_valid(place)) {
		api_fail(call, 400, "place: want ids with / between");
		return -EINVAL;
	}
	if (member_text(body, "kind", kind, 16) < 0 ||
	    (kind[0] && strcmp(kind, "enrol") && strcmp(kind, "registry"))) {
		api_fail(call, 400, "kind: want enrol or registry");
		return -EINVAL;
	}
	if ((uses && (!yyjson_is_uint(uses) || !yyjson_get_uint(uses) ||
		      yyjson_get_uint(uses) > USES_MAX)) ||
	    (expires &&
	     (!yyjson_is_uint(expires) || !yyjson_get_uint(expires) ||
	      yyjson_get_uint(expires) > EXPIRES_MAX_S))) {
		api_fail(call, 400,
			 "uses: want 1 to %d; expires: seconds, at "
			 "most a year",
			 USES_MAX);
		return -EINVAL;
	}
	plan->kind = kind[0] ? kind : "enrol";
	plan->uses = yyjson_is_uint(uses) ? yyjson_get_uint(uses) : 1;
	plan->expires_s = yyjson_is_uint(expires) ? yyjson_get_uint(expires)
						  : EXPIRES_S;
	plan->place = place;
	plan->labels = yyjson_obj_get(body, "labels");
	if (plan->labels && !yyjson_is_obj(plan->labels)) {
		api_fail(call, 400, "labels: want an object");
		return -EINVAL;
	}
	return 0;
}

void token_make_handle(struct api_call *call)
{
	char id[TOKEN_ID_SIZE], text[TOKEN_TEXT_SIZE], place[128], kind[16];
	struct token_plan plan = { .by = call->caller.name };
	yyjson_doc *body = api_body(call);
	yyjson_mut_doc *doc;
	yyjson_mut_val *root;
	int err;

	if (!body)
		return;
	if (plan_read(call, yyjson_doc_get_root(body), &plan, place, kind) <
	    0) {
		yyjson_doc_free(body);
		return;
	}
	err = token_make(call->hub, &plan, id, text);
	yyjson_doc_free(body);
	if (err < 0) {
		api_fail_errno(call, err);
		return;
	}
	event_add(call->hub, &(struct event){ .what = "token made",
					      .by = call->caller.name,
					      .text = id });
	doc = yyjson_mut_doc_new(NULL);
	root = yyjson_mut_obj(doc);
	yyjson_mut_doc_set_root(doc, root);
	yyjson_mut_obj_add_strcpy(doc, root, "id", id);
	yyjson_mut_obj_add_strcpy(doc, root, "token", text);
	api_settle(call, 201, doc);
	explicit_bzero(text, sizeof(text));
}

static int token_show(void *context, const struct store_entry *e)
{
	yyjson_mut_doc *doc = context;
	yyjson_mut_val *list = yyjson_mut_obj_get(yyjson_mut_doc_get_root(doc),
						  "tokens");
	yyjson_doc *record = yyjson_read(e->value.data, e->value.size, 0);
	yyjson_mut_val *o;

	if (!record)
		return 0;
	o = yyjson_val_mut_copy(doc, yyjson_doc_get_root(record));
	yyjson_doc_free(record);
	yyjson_mut_obj_remove_key(o, "secret");
	yyjson_mut_obj_add_strcpy(doc, o, "id", e->key.data + strlen("token/"));
	yyjson_mut_arr_append(list, o);
	return 0;
}

void tokens_handle(struct api_call *call)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc);

	store_commit(call->hub->store);
	yyjson_mut_doc_set_root(doc, root);
	yyjson_mut_obj_add_arr(doc, root, "tokens");
	store_range(call->hub->store, "token/", "", 10000, token_show, doc);
	api_reply(call, 200, doc);
}

void token_delete_handle(struct api_call *call)
{
	char key[96];
	int err;

	snprintf(key, sizeof(key), "token/%s", call->argument[0]);
	err = store_delete(call->hub->store, key, STORE_ANY);
	if (err < 0) {
		api_fail_errno(call, err);
		return;
	}
	event_add(call->hub, &(struct event){ .what = "token deleted",
					      .by = call->caller.name,
					      .text = call->argument[0] });
	api_settle(call, 200, NULL);
}
