/* zlog is asked first: only its first answer tells whether there is such an
 * application, and that decides the status of the stream. From then on a piece
 * is taken from zlog's socket when the connection has room for it, so a slow
 * reader at the hub's end costs here one piece, and zlog tells it what it
 * missed. */
#define _GNU_SOURCE
#include "logs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "agent.h"
#include "base/fd.h"
#include "base/stamp.h"
#include "zlog/zlog.h"

enum { LOGS_MAX = 8 };

struct logs {
	struct http_client *client; /* until the stream begins */
	struct http_call *call;	    /* then */
	int fd;
	struct watch watch;
	struct logs *next, **prevp;
	char stream[64], app[64];
	uint32_t taken; /* of the piece */
	bool ended;
	struct zlog_reply piece;
};

static struct logs *all;
static unsigned n_all;

static void logs_free(struct logs *l)
{
	watch_del(&agent.loop, &l->watch);
	fd_close(&l->fd);
	*l->prevp = l->next;
	if (l->next)
		l->next->prevp = l->prevp;
	n_all--;
	free(l);
}

static void refuse(struct logs *l, int status, const char *line)
{
	ask_refuse(l->client, l->stream, status, line);
	logs_free(l);
}

/* ---- pieces ---- */

/* 1: one is there; 0: the end; -EAGAIN. zlog going away is an end too. */
static int piece_next(struct logs *l)
{
	int n = ipc_recv(l->fd, &l->piece, sizeof(l->piece), NULL);

	if (n == -EAGAIN)
		return n;
	l->taken = 0;
	if (n != 1 || l->piece.error < 0 || l->piece.size == 0 ||
	    l->piece.size > sizeof(l->piece.text)) {
		l->piece.size = 0;
		l->ended = true;
		return 0;
	}
	return 1;
}

static ssize_t body_pull(void *user, void *buf, size_t size)
{
	struct logs *l = user;
	size_t n;

	if (l->taken == l->piece.size && !l->ended) {
		int r = piece_next(l);

		if (r == -EAGAIN) {
			watch_events(&agent.loop, &l->watch, EPOLLIN);
			return r;
		}
	}
	n = l->piece.size - l->taken;
	n = n < size ? n : size;
	memcpy(buf, l->piece.text + l->taken, n);
	l->taken += (uint32_t)n;
	return (ssize_t)n;
}

/* ---- the stream ---- */

static void stream_done(struct http_call *call, int error, int status)
{
	(void)error; /* whoever read has gone, or has it all */
	(void)status;
	logs_free(http_call_user(call));
}

static void stream_begin(struct logs *l)
{
	static const struct http_call_on on = { .done = stream_done };
	char path[128];
	struct http_call_config config = {
		.method = "POST",
		.path = path,
		.body = http_pull(-1, body_pull),
		.on = &on,
		.user = l,
	};

	watch_events(&agent.loop, &l->watch, 0);
	snprintf(path, sizeof(path), "/v1/streams/%s", l->stream);
	if (http_call(l->client, &config, &l->call) < 0)
		logs_free(l);
}

static void first_answer(struct logs *l)
{
	char line[128];
	int n = piece_next(l);

	if (n == -EAGAIN)
		return;
	if (l->piece.error == -ENOENT) {
		snprintf(line, sizeof(line),
			 "%s: no application, container or service of this "
			 "node has a log",
			 l->app);
		refuse(l, 404, line);
	} else if (n == 0 &&
		   (l->piece.error || l->piece.head.size != sizeof(l->piece))) {
		refuse(l, 503, "zlog did not answer");
	} else {
		stream_begin(l);
	}
}

static void zlog_ready(struct watch *w, uint32_t events)
{
	struct logs *l = container_of(w, struct logs, watch);

	(void)events;
	if (!l->call) {
		first_answer(l);
		return;
	}
	watch_events(&agent.loop, &l->watch, 0);
	http_call_resume(l->call);
}

/* ---- asking ---- */

static bool since_take(const struct ask *ask, uint64_t *ms)
{
	*ms = 0;
	return !ask->since[0] ||
	       since_read(span_of(ask->since), (uint64_t)time(NULL) * 1000,
			  ms) == 0;
}

static int zlog_ask(struct logs *l, const struct ask *ask, uint64_t since_ms)
{
	struct zlog_request request = {
		.head = { sizeof(request), ZLOG_TAIL },
		.lines = ask->lines,
		.flags = ask->follow ? ZLOG_FOLLOW : 0,
		.since_ms = since_ms,
	};
	int err;

	text_copy(request.name, sizeof(request.name), ask->app);
	l->fd = ipc_connect("zlog");
	if (l->fd < 0)
		return l->fd;
	err = ipc_send(l->fd, &request, sizeof(request), NULL, 0);
	if (err == 0 && fcntl(l->fd, F_SETFL, O_NONBLOCK) < 0)
		err = -errno;
	return err ? err : watch_add(&agent.loop, &l->watch, l->fd, EPOLLIN);
}

void logs_open(struct http_client *client, const struct ask *ask)
{
	struct logs *l = n_all < LOGS_MAX ? calloc(1, sizeof(*l)) : NULL;
	uint64_t since_ms;

	if (!l) {
		ask_refuse(client, ask->stream, 503,
			   "this node already sends as many logs as it can");
		return;
	}
	l->client = client;
	l->fd = l->watch.fd = -1;
	l->watch.ready = zlog_ready;
	text_copy(l->stream, sizeof(l->stream), ask->stream);
	text_copy(l->app, sizeof(l->app), ask->app);
	l->next = all;
	l->prevp = &all;
	if (all)
		all->prevp = &l->next;
	all = l;
	n_all++;
	if (!id_valid(span_of(ask->app)))
		refuse(l, 404, "no application has such a name");
	else if (!since_take(ask, &since_ms))
		refuse(l, 400, "since: want " SINCE_WANT);
	else if (zlog_ask(l, ask, since_ms) < 0)
		refuse(l, 503, "zlog does not run on this node");
}

void logs_close(void)
{
	for (struct logs *l = all, *next; l; l = next) {
		next = l->next;
		if (!l->call)
			logs_free(l);
	}
}
