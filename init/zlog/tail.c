/* A client has a place in the ring of its source. Whenever its socket takes
 * more, it gets what lies between the place and the end; when the ring has
 * overtaken it, what is missing is told in a line. Nothing is queued here.
 *
 * A source that ended is in its file only: the client waits until the disk has
 * told what is there, or disk.c has given up on it. */
#define _GNU_SOURCE
#include "tail.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/ipc.h"
#include "base/log.h"
#include "base/peer.h"
#include "base/service.h"
#include "base/stamp.h"
#include "drops.h"
#include "line.h"

enum { CLIENT_MAX = 16, CHUNKS = 8, LINES_UNSAID = 100, LINES_MAX = 100000 };

struct client {
	struct peer peer;
	bool follow, asked, placed, ended;
	bool watches; /* drops, instead of all this */
	struct drops drops;
	uint32_t lines;
	uint64_t since_ms; /* 0: all */
	char name[ZLOG_NAME_SIZE];
	struct source *source;
	uint64_t place;
};

static struct loop *loop;
static struct watch listen_watch;
static struct client clients[CLIENT_MAX];

static void client_reset(struct client *c)
{
	*c = (struct client){ 0 };
	peer_init(&c->peer);
}

static void client_close(struct client *c)
{
	peer_close(&c->peer, loop);
	if (c->source)
		c->source->tails--;
	c->source = NULL;
}

static int reply_send(const struct client *c, struct zlog_reply *r)
{
	r->head = (struct ipc_head){ sizeof(*r), ZLOG_TAIL };
	return ipc_send(c->peer.fd, r, sizeof(*r), NULL, 0);
}

/* The next piece of text in *r; empty at the end. Returns the place after. */
static uint64_t chunk_make(const struct client *c, struct zlog_reply *r)
{
	uint64_t oldest = ring_oldest(c->source->ring), place = c->place;
	int used = 0;
	struct span text;

	if (place < oldest)
		used = snprintf(r->text, sizeof(r->text),
				"zlog: about %" PRIu64 " bytes missed here\n",
				oldest - place);
	text = ring_at(c->source->ring, &place);
	if (text.size > sizeof(r->text) - (size_t)used)
		text.size = sizeof(r->text) - (size_t)used;
	memcpy(r->text + used, text.data, text.size);
	r->size = (uint32_t)((size_t)used + text.size);
	return place + text.size;
}

/* Sends what there is, a few pieces at most, and watches for what is left to
 * do. */
static void client_send(struct client *c)
{
	struct zlog_reply r = { .error = 0 };
	int error = 0;

	for (int i = 0; i < CHUNKS && !c->ended && error == 0; i++) {
		uint64_t next = chunk_make(c, &r);

		if (r.size == 0 && c->follow)
			break;
		error = reply_send(c, &r);
		if (error < 0)
			break;
		c->place = next;
		c->ended = r.size == 0;
	}
	if (error < 0 && error != -EAGAIN)
		client_close(c);
	else if (c->ended || c->place == c->source->ring->end)
		watch_events(loop, &c->peer.watch, EPOLLIN);
	else
		watch_events(loop, &c->peer.watch, EPOLLIN | EPOLLOUT);
}

static void drops_send(struct client *c)
{
	struct zlog_drops message;
	int error = 0;

	while (error == 0 && drops_make(&c->drops, &message)) {
		error = ipc_send(c->peer.fd, &message, sizeof(message), NULL,
				 0);
		if (error == 0)
			drops_told(&c->drops);
	}
	if (error < 0 && error != -EAGAIN)
		client_close(c);
	else
		watch_events(loop, &c->peer.watch,
			     error ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

static void client_refuse(struct client *c)
{
	struct zlog_reply r = { .error = -ENOENT };

	reply_send(c, &r);
	client_close(c);
}

static void client_point(struct client *c, struct source *s)
{
	if (c->source)
		c->source->tails--;
	c->source = s;
	if (s)
		s->tails++;
}

/* Where it begins, once that can be known. False while it cannot, and when
 * there is no such source and the client is gone. */
static bool client_place(struct client *c)
{
	char of_app[ZLOG_NAME_SIZE], since[LINE_STAMP_SIZE];

	if (!c->source->loaded) {
		watch_events(loop, &c->peer.watch, EPOLLIN);
		return false;
	}
	source_name(c->name, of_app);
	if (source_is_unknown(c->source) &&
	    strcmp(c->source->name, of_app) != 0) {
		client_point(c, source_seek(of_app));
		if (c->source)
			return client_place(c);
	}
	if (!c->source || source_is_unknown(c->source)) {
		client_refuse(c);
		return false;
	}
	c->place = ring_last_lines(c->source->ring, c->lines);
	line_stamp(since, c->since_ms);
	if (c->since_ms)
		c->place = ring_since(c->source->ring, c->place,
				      span_of(since));
	return c->placed = true;
}

static void request_take(struct client *c, struct zlog_request *request)
{
	struct source *s;

	request->name[sizeof(request->name) - 1] = '\0';
	if (!id_valid(span_of(request->name))) {
		client_refuse(c);
		return;
	}
	text_copy(c->name, sizeof(c->name), request->name);
	c->follow = request->flags & ZLOG_FOLLOW;
	c->lines = request->lines;
	c->since_ms = request->since_ms;
	s = source_find(c->name);
	client_point(c, s ? s : source_seek(c->name));
	if (!c->source)
		client_refuse(c);
	else if (client_place(c))
		client_send(c);
}

/* Never in the log of a service, whatever an application is called. */
static void say_take(struct zlog_say *say)
{
	struct source *s;

	say->name[sizeof(say->name) - 1] = '\0';
	say->text[sizeof(say->text) - 1] = '\0';
	s = source_find(say->name);
	if (!s)
		s = source_of_output(say->name, &(struct zlog_keep){ 0 });
	if (!s || s->service)
		return;
	s->known = true;
	source_line(s, "znode", span_of(say->text));
	source_grown(s);
}

static void watcher_ready(struct client *c)
{
	struct zlog_say say;
	int n = ipc_recv(c->peer.fd, &say, sizeof(say), NULL);

	if (n == -EAGAIN)
		drops_send(c);
	else if (n == 1 && say.head.verb == ZLOG_SAY &&
		 c->peer.uid != UID_ZAGENT)
		say_take(&say);
	else
		client_close(c);
}

static void client_ready(struct watch *w, uint32_t events)
{
	struct client *c = container_of(w, struct client, peer.watch);
	struct zlog_request request;
	int n;

	(void)events;
	if (c->watches) {
		watcher_ready(c);
		return;
	}
	n = ipc_recv(c->peer.fd, &request, sizeof(request), NULL);
	if (n == -EAGAIN) {
		if (c->source && (c->placed || client_place(c)))
			client_send(c);
	} else if (n == 1 && !c->asked && request.head.verb == ZLOG_DROPS) {
		c->asked = c->watches = true;
		drops_begin(&c->drops);
	} else if (n != 1 || c->asked || request.head.verb != ZLOG_TAIL) {
		client_close(c);
	} else {
		c->asked = true;
		request_take(c, &request);
	}
}

void tail_grown(struct source *s)
{
	for (struct client *c = clients; c < clients + CLIENT_MAX; c++) {
		if (c->source == s && !c->ended)
			watch_events(loop, &c->peer.watch, EPOLLIN | EPOLLOUT);
	}
}

void tail_dropped(struct source *s)
{
	if (s->service)
		return;
	for (struct client *c = clients; c < clients + CLIENT_MAX; c++) {
		if (c->watches && c->peer.fd >= 0)
			drops_send(c);
	}
}

static bool may_read(uid_t uid)
{
	return uid == 0 || uid == UID_ZNODE || uid == UID_ZAGENT ||
	       uid == geteuid();
}

static void listen_ready(struct watch *w, uint32_t events)
{
	struct client *c = clients;

	(void)events;
	while (c < clients + CLIENT_MAX && c->peer.fd >= 0)
		c++;
	if (c == clients + CLIENT_MAX) {
		peer_accept(NULL, loop, w->fd, NULL);
		return;
	}
	client_reset(c);
	if (peer_accept(&c->peer, loop, w->fd, client_ready) == 0 &&
	    !may_read(c->peer.uid))
		client_close(c);
}

/* #syscalls: geteuid */

int tail_init(struct loop *on, int listen_fd)
{
	loop = on;
	for (int i = 0; i < CLIENT_MAX; i++)
		client_reset(&clients[i]);
	listen_watch.ready = listen_ready;
	return watch_add(loop, &listen_watch, listen_fd, EPOLLIN);
}

/* Who says since when, and not how many, gets all. */
static bool arguments_take(int argc, char **argv, struct zlog_request *request)
{
	static const struct option options[] = {
		{ "since", required_argument, NULL, 's' },
		{ NULL, 0, NULL, 0 },
	};
	uint64_t lines = LINES_UNSAID, now_ms = (uint64_t)time(NULL) * 1000;
	bool has_lines = false, has_since = false;
	int option;

	while ((option = getopt_long(argc, argv, "n:f", options, NULL)) != -1) {
		if (option == 'f')
			request->flags |= ZLOG_FOLLOW;
		else if (option == 'n' &&
			 span_u64(span_of(optarg), LINES_MAX, &lines) == 0)
			has_lines = true;
		else if (option == 's' && since_read(span_of(optarg), now_ms,
						     &request->since_ms) == 0)
			has_since = true;
		else
			return false;
	}
	if (has_since && !has_lines)
		lines = LINES_MAX;
	request->lines = (uint32_t)lines;
	return optind == argc - 1 &&
	       span_copy(request->name, sizeof(request->name),
			 span_of(argv[optind])) == 0;
}

/* 0 at the end, -errno, or 1 after it was told. */
static int replies_print(int sock)
{
	static struct zlog_reply r;

	for (;;) {
		int n = ipc_recv(sock, &r, sizeof(r), NULL);

		if (n < 0)
			return n;
		if (n == 0)
			return -ECONNRESET;
		if (r.error < 0 || r.size == 0)
			return r.error;
		if (r.size > sizeof(r.text))
			return -EBADMSG;
		n = fd_write(STDOUT_FILENO, r.text, r.size);
		if (n == -EPIPE)
			return 0; /* whoever read it went away */
		if (n < 0) {
			log_error("standard output", "%s", strerror(-n));
			return 1;
		}
	}
}

int tail_print(int argc, char **argv)
{
	struct zlog_request request = {
		.head = { sizeof(request), ZLOG_TAIL },
	};
	autoclose int sock = -1;
	int error;

	if (!arguments_take(argc, argv, &request)) {
		fputs("usage: zlog tail [-n LINES] [-f] [--since TIME] NAME\n",
		      stderr);
		return 2;
	}
	sock = ipc_connect("zlog");
	error = sock < 0 ? sock
			 : ipc_send(sock, &request, sizeof(request), NULL, 0);
	if (error == 0)
		error = replies_print(sock);
	if (error == -ENOENT)
		log_error(request.name, "no such service, container or "
					"application has a log");
	else if (error < 0)
		log_error("zlog.sock",
			  "%s; is zlog running, and are you "
			  "root?",
			  strerror(-error));
	return error != 0;
}
