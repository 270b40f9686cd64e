/* Who chose the bytes: any process of this node. It gets the state; a token
 * only zpull gets, and root. One request for a token is under way at the hub
 * however many wait for it. */
#define _GNU_SOURCE
#include "server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent.h"
#include "base/fd.h"
#include "base/peer.h"
#include "base/service.h"
#include "clock.h"
#include "identity.h"
#include "json.h"
#include "link.h"
#include "wire/seal.h"

enum { CONNECTIONS = 16, SPARE_S = 60, ANSWER_MS = 10000 };

struct connection {
	struct peer peer;
	bool waits; /* for a token */
};

static struct connection connections[CONNECTIONS];
static struct peer_queue listener;
static uid_t own_uid;

static struct {
	bool under_way;
	/* From an earlier connection: a hub that began anew knows it no more,
	 * and answers with the same one if it does. */
	bool old;
	struct zagent_pull pull;
} token;

static void connection_close(struct connection *c)
{
	peer_queue_close(&listener, &c->peer);
	c->waits = false;
}

static void reply_send(struct connection *c, uint32_t verb,
		       struct zagent_reply *reply, int memfd)
{
	reply->head = (struct ipc_head){ sizeof(*reply), verb };
	if (ipc_send(c->peer.fd, reply, sizeof(*reply), &memfd, memfd >= 0) < 0)
		connection_close(c);
}

static void refuse(struct connection *c, uint32_t verb, int error,
		   const char *text)
{
	struct zagent_reply reply = { .error = error };

	text_copy(reply.text, sizeof(reply.text), text);
	reply_send(c, verb, &reply, -1);
}

/* ---- tokens ---- */

static void token_give(struct connection *c)
{
	struct zagent_reply reply = { .pull = token.pull };
	autoclose int root = memfd_sealed("root", identity.root,
					  strlen(identity.root));

	c->waits = false;
	if (root < 0)
		refuse(c, ZAGENT_PULL_TOKEN, root, strerror(-root));
	else
		reply_send(c, ZAGENT_PULL_TOKEN, &reply, root);
}

static void token_deny(const char *why)
{
	for (int i = 0; i < CONNECTIONS; i++) {
		if (!connections[i].waits)
			continue;
		connections[i].waits = false;
		refuse(&connections[i], ZAGENT_PULL_TOKEN, -ENOTCONN, why);
	}
}

static int token_read(struct span body, struct zagent_pull *pull)
{
	yyjson_doc *doc = yyjson_read(body.data, body.size, 0);
	yyjson_val *root = yyjson_doc_get_root(doc);
	char expires[32];
	int err = member_text(root, "token", pull->token, sizeof(pull->token));

	if (err == 0)
		err = member_text(root, "expires", expires, sizeof(expires));
	if (err == 0)
		err = time_parse(span_of(expires), &pull->expires);
	if (err == 0)
		err = member_text(root, "registry", pull->registry,
				  sizeof(pull->registry));
	yyjson_doc_free(doc);
	return err;
}

static void token_answered(void *user, int error, int status, struct span body)
{
	char why[200] = "the hub's answer cannot be read";
	struct zagent_pull pull = { .expires = 0 };

	(void)user;
	token.under_way = false;
	if (error == -ETIMEDOUT)
		link_suspect();
	if (error < 0)
		snprintf(why, sizeof(why), "the hub: %s", strerror(-error));
	else if (status != 200)
		error_text(status, body, why, sizeof(why));
	if (error < 0 || status != 200 || token_read(body, &pull) < 0) {
		token_deny(why);
		return;
	}
	token.pull = pull;
	token.old = false;
	for (int i = 0; i < CONNECTIONS; i++)
		if (connections[i].waits)
			token_give(&connections[i]);
}

static void token_ask(void)
{
	char path[128];
	struct http_call_config config = {
		.method = "POST",
		.path = path,
		.timeout_ms = ANSWER_MS,
	};

	snprintf(path, sizeof(path), "/v1/nodes/%s/pull-token", identity.node);
	if (http_fetch(link_client(), &config, 16384, token_answered, NULL) < 0)
		token_deny("the connection to the hub is going away");
	else
		token.under_way = true;
}

static void serve_token(struct connection *c)
{
	struct zagent_status status = { .state = 0 };
	char why[280];

	if (c->peer.uid != 0 && c->peer.uid != UID_ZPULL &&
	    c->peer.uid != own_uid) {
		refuse(c, ZAGENT_PULL_TOKEN, -EPERM, "only zpull may have it");
	} else if (token.pull.expires > clock_now() + SPARE_S &&
		   (!token.old || !link_client())) {
		token_give(c);
	} else if (link_client()) {
		c->waits = true;
		if (!token.under_way)
			token_ask();
	} else {
		link_status(&status);
		snprintf(why, sizeof(why), "%s",
			 status.state == ZAGENT_NONE ? "node.json names no hub"
			 : status.reason[0]	     ? status.reason
						     : "not connected yet");
		refuse(c, ZAGENT_PULL_TOKEN, -ENOTCONN, why);
	}
}

/* ---- secrets ---- */

static int secret_read(int fd, char **secret, size_t *size)
{
	autofree char *text = NULL;
	size_t n;
	int r = fd < 0 ? -EBADMSG
		       : memfd_read(fd, ZAGENT_SEALED_MAX, &text, &n);

	if (r < 0)
		return r;
	if (!identity.key)
		return -ENOKEY;
	return unseal(identity.key, (struct span){ text, n }, secret, size);
}

static void serve_unseal(struct connection *c, int fd)
{
	struct zagent_reply reply = { .error = 0 };
	autoclose int memfd = -1;
	char *secret = NULL;
	size_t size;
	int r = -EPERM;

	if (c->peer.uid == 0 || c->peer.uid == UID_ZNODE ||
	    c->peer.uid == own_uid)
		r = secret_read(fd, &secret, &size);
	if (r == 0) {
		r = memfd = memfd_sealed("secret", secret, size);
		explicit_bzero(secret, size);
	}
	free(secret);
	if (r < 0)
		refuse(c, ZAGENT_UNSEAL, r,
		       r == -EPERM	    ? "only znode may ask"
		       : r == -EKEYREJECTED ? "it is sealed to another key"
		       : r == -ENOKEY	    ? "this node has no key yet"
					    : strerror(-r));
	else
		reply_send(c, ZAGENT_UNSEAL, &reply, memfd);
}

/* What was given to an identity that is no more is of no use. */
void server_offline(void)
{
	token.old = true;
	token_deny("the connection to the hub broke");
}

/* ---- connections ---- */

static void serve(struct connection *c, uint32_t verb, struct ipc_fds *fds)
{
	struct zagent_reply reply = { .error = 0 };

	switch (verb) {
	case ZAGENT_STATUS:
		link_status(&reply.status);
		reply_send(c, verb, &reply, -1);
		break;
	case ZAGENT_PULL_TOKEN:
		serve_token(c);
		break;
	case ZAGENT_UNSEAL:
		serve_unseal(c, fds->n == 1 ? fds->fd[0] : -1);
		break;
	default:
		refuse(c, verb, -ENOSYS, "no such verb");
		break;
	}
}

static void connection_ready(struct watch *w, uint32_t events)
{
	struct connection *c = container_of(w, struct connection, peer.watch);
	struct zagent_request request;
	struct ipc_fds fds = { 0 };
	int n = ipc_recv(c->peer.fd, &request, sizeof(request), &fds);

	(void)events;
	if (n == -EAGAIN)
		return;
	if (n == 1 && !c->waits)
		serve(c, request.head.verb, &fds);
	else
		connection_close(c);
	ipc_fds_close(&fds);
}

static struct peer *room(void)
{
	for (int i = 0; i < CONNECTIONS; i++) {
		if (connections[i].peer.fd < 0)
			return &connections[i].peer;
	}
	return NULL;
}

int server_open(int fd)
{
	for (int i = 0; i < CONNECTIONS; i++)
		peer_init(&connections[i].peer);
	own_uid = geteuid();
	listener.room = room;
	listener.ready = connection_ready;
	return peer_queue_open(&listener, &agent.loop, fd);
}
