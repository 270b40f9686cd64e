/* Two connections: one tells of changes (ZNODE_WATCH), one carries a request
 * at a time. When either breaks both are opened anew, and all is asked again:
 * the revision, the rows, and a document that was not answered for. init holds
 * znode's socket, so to connect while znode is being replaced is to wait in
 * its queue. */
#define _GNU_SOURCE
#include "node.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent.h"
#include "base/fd.h"
#include "base/log.h"
#include "identity.h"
#include "observe.h"
#include "oci/desired.h"
#include "watch.h"

enum {
	AGAIN_MS = 2000,     /* without znode */
	DOCUMENT_MS = 10000, /* until a document is offered again */
	ROWS_MAX = 2 * DESIRED_APPS_MAX,
};

static struct {
	int requests_fd, events_fd;
	struct watch requests, events;
	struct timer again, document_again;
	uint32_t busy; /* verb under way, 0: none */
	bool want_revision, want_rows, want_document;
	char *document; /* not yet taken */
	size_t document_size;
	bool newer; /* than the one under way */
	char refusal[ZNODE_TEXT_SIZE];
	struct znode_app *rows;
	unsigned n_rows;
	bool absent; /* was told so */
} node = { .requests_fd = -1, .events_fd = -1 };

static void next(void);

/* ---- connections ---- */

static void rows_forget(void)
{
	free(node.rows);
	node.rows = NULL;
	node.n_rows = 0;
}

static void lost(int error)
{
	if (error != -EAGAIN && !node.absent)
		log_warning("znode", "%s: waiting for it", strerror(-error));
	node.absent = true;
	watch_del(&agent.loop, &node.requests);
	watch_del(&agent.loop, &node.events);
	fd_close(&node.requests_fd);
	fd_close(&node.events_fd);
	rows_forget();
	node.busy = 0;
	node.want_document = node.document != NULL;
	timer_set(&agent.loop, &node.again, AGAIN_MS);
}

static int send(int fd, uint32_t verb, uint32_t arg, const int *fds, int n_fds)
{
	struct znode_request request = {
		.head = { sizeof(request), verb },
		.arg = arg,
	};

	return ipc_send(fd, &request, sizeof(request), fds, n_fds);
}

/* ---- replies ---- */

static void row_took(const struct znode_reply *reply)
{
	struct znode_app *rows;

	if (reply->error < 0 || node.n_rows == ROWS_MAX) {
		observe_rows(node.rows, node.n_rows);
		rows_forget();
		return;
	}
	rows = reallocarray(node.rows, node.n_rows + 1, sizeof(*rows));
	if (!rows) {
		rows_forget();
		return;
	}
	node.rows = rows;
	rows[node.n_rows] = reply->app;
	if (send(node.requests_fd, ZNODE_APP, ++node.n_rows, NULL, 0) == 0)
		node.busy = ZNODE_APP;
}

static void document_drop(void)
{
	free(node.document);
	node.document = NULL;
}

/* Why the newest was not taken, or "": told to the log and to the hub. */
static void refusal_set(const char *why)
{
	if (!strcmp(why, node.refusal))
		return;
	text_copy(node.refusal, sizeof(node.refusal), why);
	if (why[0])
		log_error("document", "not taken: %s", why);
	observe_changed();
}

/* What is refused for good waits for the next one of the hub. */
static void document_took(const struct znode_reply *reply)
{
	bool has_it = reply->error == 0 || reply->error == -ESTALE;
	bool for_good = has_it || reply->error == -EKEYREJECTED ||
			reply->error == -EBADMSG;

	if (has_it) {
		watch_acknowledge(reply->epoch, reply->revision);
		refusal_set("");
		observe_changed();
	} else {
		refusal_set(reply->text[0] ? reply->text
					   : strerror(-reply->error));
	}
	if (node.newer)
		return;
	if (for_good)
		document_drop();
	else
		timer_set(&agent.loop, &node.document_again, DOCUMENT_MS);
}

static void replied(const struct znode_reply *reply)
{
	uint32_t verb = node.busy;

	node.busy = 0;
	switch ((enum znode_verb)verb) {
	case ZNODE_REVISION:
		if (reply->error == 0)
			watch_revision(reply->epoch, reply->revision);
		break;
	case ZNODE_DESIRED:
		document_took(reply);
		break;
	case ZNODE_APP:
		row_took(reply);
		break;
	case ZNODE_STOP:
	case ZNODE_START:
	case ZNODE_RESTART:
	case ZNODE_INSPECT:
	case ZNODE_FREEZE:
	case ZNODE_THAW:
	case ZNODE_SLEEP:
	case ZNODE_WATCH:
		break;
	}
	next();
}

static void requests_ready(struct watch *w, uint32_t events)
{
	struct znode_reply reply;
	int n = ipc_recv(node.requests_fd, &reply, sizeof(reply), NULL);

	(void)w;
	(void)events;
	if (n == -EAGAIN)
		return;
	if (n != 1 || !node.busy || reply.head.verb != node.busy) {
		lost(n < 0 ? n : -ECONNRESET);
		return;
	}
	node.absent = false;
	reply.text[sizeof(reply.text) - 1] = '\0';
	replied(&reply);
}

static void events_ready(struct watch *w, uint32_t events)
{
	struct znode_reply reply;
	int n = ipc_recv(node.events_fd, &reply, sizeof(reply), NULL);

	(void)w;
	(void)events;
	if (n == -EAGAIN)
		return;
	if (n != 1 || reply.error < 0) {
		lost(n < 0 ? n : n ? reply.error : -ECONNRESET);
		return;
	}
	observe_changed();
}

/* ---- requests, one at a time ---- */

static int chain_memfd(void)
{
	autofree char *pem = NULL;
	int n = asprintf(&pem, "%s%s", identity.chain, identity.root);

	if (n < 0) {
		pem = NULL;
		return -ENOMEM;
	}
	return memfd_sealed("chain", pem, (size_t)n);
}

static int document_send(void)
{
	autoclose int envelope = memfd_sealed("desired", node.document,
					      node.document_size);
	autoclose int chain = chain_memfd();
	int fds[2] = { envelope, chain };

	if (envelope < 0 || chain < 0)
		return envelope < 0 ? envelope : chain;
	node.newer = false;
	return send(node.requests_fd, ZNODE_DESIRED, 0, fds, 2);
}

static void next(void)
{
	int err = 0;

	if (node.busy || node.requests_fd < 0)
		return;
	if (node.want_revision) {
		node.want_revision = false;
		node.busy = ZNODE_REVISION;
		err = send(node.requests_fd, ZNODE_REVISION, 0, NULL, 0);
	} else if (node.want_document) {
		node.want_document = false;
		node.busy = ZNODE_DESIRED;
		err = document_send();
	} else if (node.want_rows) {
		node.want_rows = false;
		node.busy = ZNODE_APP;
		rows_forget();
		err = send(node.requests_fd, ZNODE_APP, 0, NULL, 0);
	}
	if (err < 0)
		lost(err);
}

static int connection_open(int *fd, struct watch *w)
{
	*fd = ipc_connect("znode");
	if (*fd < 0)
		return *fd;
	if (fcntl(*fd, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	return watch_add(&agent.loop, w, *fd, EPOLLIN);
}

static void connect_both(struct timer *t)
{
	int err;

	(void)t;
	err = connection_open(&node.requests_fd, &node.requests);
	if (err == 0)
		err = connection_open(&node.events_fd, &node.events);
	if (err == 0)
		err = send(node.events_fd, ZNODE_WATCH, 0, NULL, 0);
	if (err < 0) {
		lost(err);
		return;
	}
	node.want_revision = true;
	next();
}

void node_open(void)
{
	node.requests = (struct watch){ .fd = -1, .ready = requests_ready };
	node.events = (struct watch){ .fd = -1, .ready = events_ready };
	node.again.fire = connect_both;
	connect_both(NULL);
}

/* ---- for others ---- */

static void document_again(struct timer *t)
{
	(void)t;
	node.want_document = node.document != NULL;
	next();
}

void node_desired(struct span envelope)
{
	char *copy = malloc(envelope.size ? envelope.size : 1);

	if (!copy) {
		log_error("document", "out of memory");
		return;
	}
	memcpy(copy, envelope.data, envelope.size);
	document_drop();
	node.document = copy;
	node.document_size = envelope.size;
	node.newer = true;
	node.want_document = true;
	node.document_again.fire = document_again;
	timer_cancel(&node.document_again);
	next();
}

const char *node_refusal(void)
{
	return node.refusal;
}

void node_list(void)
{
	node.want_rows = true;
	next();
}
