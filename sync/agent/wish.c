/* One connection to znode each, for znode answers when the wish has led
 * somewhere. */
#define _GNU_SOURCE
#include "wish.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

#include "agent.h"
#include "base/fd.h"
#include "node/znode.h"
#include "report.h"

enum { WISHES_MAX = 8, ANSWER_BYTES = 160 };

static const struct {
	const char *name;
	enum znode_verb verb;
} wishes[] = {
	{ "freeze", ZNODE_FREEZE },
	{ "thaw", ZNODE_THAW },
	{ "wake", ZNODE_THAW },
	{ "sleep", ZNODE_SLEEP },
};

struct wish {
	struct http_client *client;
	int fd;
	struct watch watch;
	struct wish *next, **prevp;
	char stream[64];
};

static struct wish *all;
static unsigned n_all;

static void wish_free(struct wish *w)
{
	watch_del(&agent.loop, &w->watch);
	fd_close(&w->fd);
	*w->prevp = w->next;
	if (w->next)
		w->next->prevp = w->prevp;
	n_all--;
	free(w);
}

/* {"error":text}, or {"state":text}. */
static void answer(struct http_client *client, const char *stream, int status,
		   const char *text)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc);
	autofree char *json = NULL;
	char line[ANSWER_BYTES];

	snprintf(line, sizeof(line), "%s", text);
	yyjson_mut_doc_set_root(doc, root);
	yyjson_mut_obj_add_str(doc, root, status == 200 ? "state" : "error",
			       line);
	json = yyjson_mut_write(doc,
				YYJSON_WRITE_ESCAPE_UNICODE |
					YYJSON_WRITE_ALLOW_INVALID_UNICODE,
				NULL);
	yyjson_mut_doc_free(doc);
	ask_refuse(client, stream, status, json ? json : "{}");
}

static int status_of(int error)
{
	switch (error) {
	case 0:
		return 200;
	case -ENOENT:
		return 404;
	case -EBUSY:
		return 409;
	default:
		return 503;
	}
}

static void znode_ready(struct watch *watch, uint32_t events)
{
	struct wish *w = container_of(watch, struct wish, watch);
	struct znode_reply reply;
	int n = ipc_recv(w->fd, &reply, sizeof(reply), NULL);

	(void)events;
	if (n == -EAGAIN)
		return;
	reply.text[sizeof(reply.text) - 1] = '\0';
	if (n != 1)
		answer(w->client, w->stream, 503, "znode was started anew");
	else
		answer(w->client, w->stream, status_of(reply.error),
		       reply.error == 0 ? znode_state_name(reply.app.state)
		       : reply.text[0]	? reply.text
					: strerror(-reply.error));
	wish_free(w);
}

static int znode_ask(struct wish *w, const struct ask *ask)
{
	struct znode_request request = { .head.size = sizeof(request) };
	int err;

	for (size_t i = 0; i < sizeof(wishes) / sizeof(*wishes); i++)
		if (!strcmp(ask->verb, wishes[i].name))
			request.head.verb = wishes[i].verb;
	text_copy(request.name, sizeof(request.name), ask->app);
	w->fd = ipc_connect("znode");
	if (w->fd < 0)
		return w->fd;
	err = ipc_send(w->fd, &request, sizeof(request), NULL, 0);
	if (err == 0 && fcntl(w->fd, F_SETFL, O_NONBLOCK) < 0)
		err = -errno;
	return err ? err : watch_add(&agent.loop, &w->watch, w->fd, EPOLLIN);
}

bool wish_is(const struct ask *ask)
{
	for (size_t i = 0; i < sizeof(wishes) / sizeof(*wishes); i++)
		if (!strcmp(ask->verb, wishes[i].name))
			return true;
	return false;
}

void wish_open(struct http_client *client, const struct ask *ask)
{
	struct wish *w = n_all < WISHES_MAX ? calloc(1, sizeof(*w)) : NULL;

	if (!w) {
		answer(client, ask->stream, 503,
		       "this node is asked too much at once");
		return;
	}
	w->client = client;
	w->fd = w->watch.fd = -1;
	w->watch.ready = znode_ready;
	text_copy(w->stream, sizeof(w->stream), ask->stream);
	w->next = all;
	w->prevp = &all;
	if (all)
		all->prevp = &w->next;
	all = w;
	n_all++;
	if (znode_ask(w, ask) == 0)
		return;
	answer(client, ask->stream, 503, "znode does not run on this node");
	wish_free(w);
}

void wish_close(void)
{
	while (all)
		wish_free(all);
}
