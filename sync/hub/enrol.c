/* Enrolment, renewal, time, revocation.
 *
 * Who chose the bytes: whoever can connect. They must not get a certificate
 * without a token, nor one for a name that another node has, nor use a token
 * twice. But a node whose reply was lost asks again with the same key, and gets
 * its certificate again: the key is remembered with the token that let it in.
 */
#define _GNU_SOURCE
#include "enrol.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "api.h"
#include "apply.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/stamp.h"
#include "handlers.h"
#include "oci/envelope.h"
#include "secret.h"
#include "token.h"
#include "wire/sign.h"

/* What a node asks with. */
struct enrolment {
	char token[64], secret[64], name[64], board[64], arch[32];
	const char *csr;
	struct cert_public public;
	char key[65];
};

static int enrolment_read(struct api_call *call, yyjson_val *body,
			  struct enrolment *e)
{
	if (member_text(body, "token", e->token, sizeof(e->token)) < 0 ||
	    member_text(body, "secret", e->secret, sizeof(e->secret)) < 0 ||
	    member_text(body, "name", e->name, sizeof(e->name)) < 0 ||
	    member_text(body, "board", e->board, sizeof(e->board)) < 0 ||
	    member_text(body, "arch", e->arch, sizeof(e->arch)) < 0 ||
	    (e->name[0] && !id_valid(span_of(e->name)))) {
		api_fail(call, 400,
			 "want token, secret, csr, name, board, "
			 "arch");
		return -EINVAL;
	}
	e->csr = yyjson_get_str(yyjson_obj_get(body, "csr"));
	return 0;
}

/* The key of the request, proved to be the asker's. */
static int csr_read(struct api_call *call, const char *csr,
		    struct cert_public *public, char key[65])
{
	uint8_t pin[CHAIN_PIN_SIZE];
	int err = csr ? cert_request_read(span_of(csr), public) : -EINVAL;

	if (err < 0) {
		api_fail(call, 400,
			 "csr: want a signed request for a P-256 "
			 "key in PEM");
		return err;
	}
	cert_pin(public, pin);
	cert_pin_text(pin, key);
	return 0;
}

static void node_id_make(char id[64])
{
	uint8_t random[7];

	wire_random(random, sizeof(random));
	text_copy(id, 64, "n-");
	for (size_t i = 0; i < sizeof(random); i++)
		snprintf(id + 2 + 2 * i, 3, "%02x", random[i]);
}

/* ---- the reply ---- */

static yyjson_mut_doc *welcome(struct hub *hub, const char *id,
			       const char *name, const char *chain)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc), *list;

	yyjson_mut_doc_set_root(doc, root);
	yyjson_mut_obj_add_strcpy(doc, root, "node", id);
	yyjson_mut_obj_add_strcpy(doc, root, "name", name);
	yyjson_mut_obj_add_strcpy(doc, root, "chain", chain);
	yyjson_mut_obj_add_str(doc, root, "root", hub->ca.root_pem);
	list = yyjson_mut_obj_add_arr(doc, root, "hub");
	for (unsigned i = 0; i < hub->config.n_addresses; i++)
		yyjson_mut_arr_add_str(doc, list, hub->config.address[i]);
	yyjson_mut_obj_add_uint(doc, root, "epoch", store_epoch(hub->store));
	return doc;
}

static int certificate(struct hub *hub, const char *id, const char *name,
		       const char *place, const struct cert_public *public,
		       char **chain)
{
	char uri[CHAIN_URI_SIZE];

	snprintf(uri, sizeof(uri), "zooid:///%s%s%s", place,
		 place[0] ? "/" : "", name);
	return ca_issue_client(&hub->ca, id, uri, ca_end_of(CA_NODE_DAYS),
			       public, chain);
}

static void welcome_reply(struct api_call *call, const struct node *node,
			  const char *place, const struct enrolment *e)
{
	autofree char *chain = NULL;
	int err = certificate(call->hub, node->id, node->name, place,
			      &e->public, &chain);

	if (err < 0) {
		api_fail_errno(call, err);
		return;
	}
	api_settle(call, 200, welcome(call->hub, node->id, node->name, chain));
}

/* ---- enrolment ---- */

/* The node that has this key already, let in by this token; or NULL. */
static struct node *enrolled_before(struct hub *hub, const struct enrolment *e,
				    char place[128])
{
	autofree char *id = NULL;
	char key[96], token[64];
	struct node *node;
	yyjson_doc *doc;

	snprintf(key, sizeof(key), "key/%s", e->key);
	if (store_get(hub->store, key, &id, NULL, NULL) < 0)
		return NULL;
	node = node_find(hub, id);
	if (!node || node->revoked)
		return NULL;
	snprintf(key, sizeof(key), "node/%s", id);
	doc = stored_document(hub->store, key);
	if (!doc ||
	    member_text(yyjson_doc_get_root(doc), "token", token,
			sizeof(token)) < 0 ||
	    member_text(yyjson_doc_get_root(doc), "place", place, 128) < 0 ||
	    strcmp(token, e->token))
		node = NULL;
	yyjson_doc_free(doc);
	return node;
}

static void newcomer(struct api_call *call, const struct enrolment *e,
		     yyjson_doc *token)
{
	yyjson_val *grant = yyjson_doc_get_root(token);
	struct node_record r = { .labels = yyjson_obj_get(grant, "labels") };
	struct hub *hub = call->hub;
	struct node *node, *other;
	int err;

	node_id_make(r.id);
	text_copy(r.name, sizeof(r.name), e->name[0] ? e->name : r.id);
	text_copy(r.board, sizeof(r.board), e->board);
	text_copy(r.arch, sizeof(r.arch), e->arch);
	text_copy(r.key, sizeof(r.key), e->key);
	text_copy(r.token, sizeof(r.token), e->token);
	member_text(grant, "place", r.place, sizeof(r.place));
	other = node_named(hub, r.name);
	if (other) {
		log_warning(r.name,
			    "enrolment refused from %s: %s has that "
			    "name",
			    call->request->remote, other->id);
		api_fail(call, 409,
			 "the name %s is taken by node %s: choose "
			 "another, or revoke that one",
			 r.name, other->id);
		return;
	}
	err = token_use(hub, e->token, token);
	if (err == 0)
		err = node_add(hub, &r, &node);
	if (err == 0)
		err = secret_node_key(hub, r.id, &e->public);
	if (err < 0) {
		api_fail_errno(call, err);
		return;
	}
	node_forget_unless_settled(node);
	desired_mark(hub, node);
	event_add(hub, &(struct event){ .what = "enrolled",
					.node = r.name,
					.text = r.id });
	welcome_reply(call, node, r.place, e);
}

static void enrol_with(struct api_call *call, const struct enrolment *e)
{
	static const char *const refusal[] = {
		[TOKEN_UNKNOWN] = "unknown token",
		[TOKEN_USED] = "this token was used up: make another",
		[TOKEN_EXPIRED] = "this token has expired: make another",
	};
	enum token_verdict verdict;
	yyjson_doc *token;
	struct node *node;
	char place[128];

	verdict = token_check(call->hub, "enrol", e->token, e->secret, &token);
	node = token ? enrolled_before(call->hub, e, place) : NULL;
	if (node) {
		welcome_reply(call, node, place, e);
	} else if (verdict == TOKEN_GOOD) {
		newcomer(call, e, token);
	} else {
		log_warning(e->name[0] ? e->name : NULL,
			    "enrolment refused from %s: %s",
			    call->request->remote, refusal[verdict]);
		api_fail(call, 403, "%s", refusal[verdict]);
	}
	yyjson_doc_free(token);
}

void enrol_handle(struct api_call *call)
{
	struct enrolment e = { 0 };
	yyjson_doc *body;

	if (!limit_take(&call->hub->enrol)) {
		api_fail(call, 429, "too many enrolments at once: try again");
		return;
	}
	body = api_body(call);
	if (!body)
		return;
	if (enrolment_read(call, yyjson_doc_get_root(body), &e) == 0 &&
	    csr_read(call, e.csr, &e.public, e.key) == 0)
		enrol_with(call, &e);
	yyjson_doc_free(body);
	explicit_bzero(e.secret, sizeof(e.secret));
}

/* ---- renewal ---- */

/* "zooid:///tokyo/n7": the name, and before it the place. */
static void uri_split(const char *uri, char name[64], char place[128])
{
	const char *path = uri + strlen("zooid:///");
	const char *slash = strrchr(path, '/');
	struct span before = { path, slash ? (size_t)(slash - path) : 0 };

	text_copy(name, 64, slash ? slash + 1 : path);
	if (span_copy(place, 128, before) < 0)
		place[0] = '\0';
}

struct node *node_adopt(struct hub *hub, const struct tls_peer *peer)
{
	struct node_record r = { .labels = NULL };
	struct node *node = node_find(hub, peer->name);

	if (node)
		return node;
	text_copy(r.id, sizeof(r.id), peer->name);
	uri_split(peer->uri, r.name, r.place);
	if (!id_valid(span_of(r.name)) || node_named(hub, r.name))
		text_copy(r.name, sizeof(r.name), r.id);
	if (node_add(hub, &r, &node) < 0)
		return NULL;
	desired_mark(hub, node);
	event_add(hub,
		  &(struct event){ .what = "adopted",
				   .node = r.name,
				   .text = "its certificate is good, but this "
					   "store is older" });
	return node;
}

void renew_handle(struct api_call *call)
{
	const struct tls_peer *peer = call->request->peer;
	yyjson_doc *body = api_body(call);
	autofree char *chain = NULL;
	struct cert_public public;
	struct node *node;
	yyjson_mut_doc *doc;
	char key[65];
	int err;

	if (!body)
		return;
	err = csr_read(call,
		       yyjson_get_str(yyjson_obj_get(yyjson_doc_get_root(body),
						     "csr")),
		       &public, key);
	yyjson_doc_free(body);
	if (err < 0)
		return;
	node = node_adopt(call->hub, peer);
	if (!node) {
		api_fail(call, 500, "out of memory");
		return;
	}
	err = secret_node_key(call->hub, node->id, &public);
	if (err < 0) {
		api_fail_errno(call, err);
		return;
	}
	/* Says nothing new unless the key is. */
	desired_mark(call->hub, node);
	err = ca_issue_client(&call->hub->ca, peer->name, peer->uri,
			      ca_end_of(CA_NODE_DAYS), &public, &chain);
	if (err < 0) {
		api_fail_errno(call, err);
		return;
	}
	log_notice(peer->name, "renewed its certificate%s",
		   peer->expired ? ", which was outdated" : "");
	doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_doc_set_root(doc, yyjson_mut_obj(doc));
	yyjson_mut_obj_add_strcpy(doc, yyjson_mut_doc_get_root(doc), "chain",
				  chain);
	api_settle(call, 200, doc);
}

/* ---- time ---- */

/* A signature for whoever asks costs CPU: those without a certificate share
 * what `anonymous` lets through. */
void time_handle(struct api_call *call)
{
	autofree char *envelope = NULL;
	char nonce[65], at[STAMP_SIZE], payload[160];
	size_t size;
	int err;

	if (call->caller.role == ROLE_NONE &&
	    !limit_take(&call->hub->anonymous)) {
		api_fail(call, 429, "too many at once: try again");
		return;
	}
	if (http_query(call->request, "nonce", nonce, sizeof(nonce)) < 0 ||
	    strlen(nonce) != strspn(nonce,
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdef"
				    "ghijklmnopqrstuvwxyz0123456789-_")) {
		api_fail(call, 400,
			 "nonce: want up to 64 letters, digits, - "
			 "and _");
		return;
	}
	stamp_make(time(NULL), at);
	snprintf(payload, sizeof(payload), "{\"time\":\"%s\",\"nonce\":\"%s\"}",
		 at, nonce);
	err = envelope_sign(
		ENVELOPE_TIME, span_of(payload), call->hub->ca.sign_key,
		span_of(call->hub->ca.sign_chain), &envelope, &size);
	if (err < 0) {
		api_fail_errno(call, err);
		return;
	}
	http_reply_bytes(call->request, 200, "application/json",
			 (struct span){ envelope, size });
}

/* ---- revocation ---- */

void revoke_handle(struct api_call *call)
{
	struct node *node = node_either(call->hub, call->argument[0]);
	int err;

	if (!node) {
		api_fail(call, 404, "no node %s", call->argument[0]);
		return;
	}
	err = node_revoke(call->hub, node);
	if (err < 0) {
		api_fail_errno(call, err);
		return;
	}
	event_add(call->hub, &(struct event){ .what = "revoked",
					      .node = node->name,
					      .by = call->caller.name });
	api_settle(call, 200, NULL);
}
