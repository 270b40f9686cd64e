/* Logs now, exec later: an operator's request waits, the node is asked over its
 * watch stream, opens a request of its own, and the two are joined. Bytes of
 * the node are taken only as the operator's connection takes them: at most
 * one window of them is here.
 *
 * A stream's name is 128 random bits, told only to that node; whoever knows it
 * and holds that node's certificate may answer, once. */
#define _GNU_SOURCE
#include "stream.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/stamp.h"
#include "handlers.h"
#include "node.h"
#include "token.h"
#include "watch.h"

enum { NAME_SIZE = 24, OPEN_MS = 10000, SINCE_SIZE = 48 };

struct stream {
	struct hub *hub;
	char name[NAME_SIZE];
	char node[64];
	struct http_request *reader; /* the operator's */
	struct http_request *writer; /* the node's; NULL before and after */
	bool opened, replied, ended;
	struct timer opening;
	char *data; /* a ring would copy as much */
	size_t size, room, taken;
	struct stream *next;
};

struct streams {
	struct stream *first;
};

static struct stream *stream_find(struct hub *hub, const char *name)
{
	struct stream *s = hub->streams ? hub->streams->first : NULL;

	while (s && strcmp(s->name, name))
		s = s->next;
	return s;
}

static void stream_free(struct stream *s)
{
	struct stream **p = &s->hub->streams->first;

	while (*p != s)
		p = &(*p)->next;
	*p = s->next;
	timer_cancel(&s->opening);
	free(s->data);
	free(s);
}

void streams_free(struct hub *hub)
{
	free(hub->streams);
	hub->streams = NULL;
}

/* ---- the operator's side ---- */

static ssize_t reader_pull(void *user, void *buf, size_t size)
{
	struct stream *s = user;
	size_t n = s->size - s->taken < size ? s->size - s->taken : size;

	if (!n)
		return s->ended ? 0 : -EAGAIN;
	memcpy(buf, s->data + s->taken, n);
	s->taken += n;
	if (s->taken == s->size)
		s->taken = s->size = 0;
	if (s->writer)
		http_consumed(s->writer, n);
	return (ssize_t)n;
}

static void reader_gone(struct http_request *request, bool complete)
{
	struct stream *s = request->user;

	(void)complete;
	s->reader = NULL;
	if (!s->writer)
		stream_free(s);
	else if (!s->ended)
		http_abort(s->writer); /* and writer_gone() frees it */
}

static const struct http_request_on reader_on = { .gone = reader_gone };

static void reader_reply(struct stream *s, int status)
{
	static const struct http_header headers[] = {
		{ "content-type", "text/plain; charset=utf-8" },
		{ "cache-control", "no-store" },
	};

	s->replied = true;
	if (http_reply(s->reader, status, headers, 2,
		       http_pull(-1, reader_pull)) < 0)
		http_abort(s->reader);
}

/* ---- the node's side ---- */

static void writer_body(struct http_request *request, struct span bytes)
{
	struct stream *s = request->user;

	if (!s->reader) {
		http_consumed(request, bytes.size);
		return;
	}
	if (s->taken) {
		memmove(s->data, s->data + s->taken, s->size - s->taken);
		s->size -= s->taken;
		s->taken = 0;
	}
	if (s->size + bytes.size > s->room) {
		size_t room = s->size + bytes.size + 4096;
		char *grown = realloc(s->data, room);

		if (!grown) {
			http_abort(request);
			return;
		}
		s->data = grown;
		s->room = room;
	}
	memcpy(s->data + s->size, bytes.data, bytes.size);
	s->size += bytes.size;
	http_resume(s->reader);
}

static void writer_end(struct http_request *request)
{
	struct stream *s = request->user;

	s->ended = true;
	if (s->reader)
		http_resume(s->reader);
	/* May be the end of s. */
	http_reply_bytes(request, 200, NULL, (struct span){ NULL, 0 });
}

static void writer_gone(struct http_request *request, bool complete)
{
	struct stream *s = request->user;

	(void)complete;
	s->writer = NULL;
	if (!s->reader) {
		stream_free(s);
		return;
	}
	/* Broken off: the operator sees its reply break off too. */
	if (!s->ended)
		http_abort(s->reader);
	else
		http_resume(s->reader);
}

static const struct http_request_on writer_on = {
	.body = writer_body,
	.end = writer_end,
	.gone = writer_gone,
};

/* A node that cannot do what it was asked says so by ?status=404 and a line of
 * text. */
static int status_of(const struct http_request *request)
{
	char text[8];
	uint64_t status;

	if (http_query(request, "status", text, sizeof(text)) < 0 ||
	    span_u64(span_of(text), 599, &status) < 0 || status < 400)
		return 200;
	return (int)status;
}

void stream_request(struct hub *hub, struct http_request *request)
{
	struct api_caller caller;
	struct stream *s;

	if (!api_caller(hub, request, false, &caller))
		return;
	s = stream_find(hub, request->path + strlen(STREAM_PATH));
	if (strcmp(request->method, "POST") || !s || s->opened || !s->reader ||
	    caller.role != ROLE_NODE || strcmp(caller.name, s->node)) {
		api_refuse(request, 404, "no such stream");
		return;
	}
	timer_cancel(&s->opening);
	s->opened = true;
	s->writer = request;
	request->on = &writer_on;
	request->user = s;
	http_patient(request); /* while the application says nothing */
	reader_reply(s, status_of(request));
}

/* ---- asking ---- */

static void opening_late(struct timer *t)
{
	struct stream *s = container_of(t, struct stream, opening);

	s->opened = true; /* too late now */
	s->replied = true;
	api_refuse(s->reader, 504, "the node does not answer");
}

static struct stream *stream_new(struct api_call *call, const struct node *node)
{
	struct stream *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	if (!call->hub->streams)
		call->hub->streams = calloc(1, sizeof(*call->hub->streams));
	if (!call->hub->streams) {
		free(s);
		return NULL;
	}
	s->hub = call->hub;
	s->reader = call->request;
	text_copy(s->node, sizeof(s->node), node->id);
	random_text(s->name, 16);
	s->opening.fire = opening_late;
	s->next = s->hub->streams->first;
	s->hub->streams->first = s;
	return s;
}

/* Frees doc. */
static int stream_ask(const struct node *node, yyjson_mut_doc *doc)
{
	autofree char *json = NULL;
	size_t size;

	json = yyjson_mut_write(doc, 0, &size);
	yyjson_mut_doc_free(doc);
	return json ? watch_ask(node->stream, (struct span){ json, size })
		    : -ENOMEM;
}

/* Those members of every ask that is answered on a stream. */
static yyjson_mut_doc *ask_begin(const struct stream *s, const char *verb,
				 const char *app)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc);

	yyjson_mut_doc_set_root(doc, root);
	yyjson_mut_obj_add_str(doc, root, "stream", s->name);
	yyjson_mut_obj_add_str(doc, root, "verb", verb);
	yyjson_mut_obj_add_str(doc, root, "app", app);
	return doc;
}

/* -ENOENT: not said. When that is the node reads again, by its own clock. */
static int since_query(const struct api_call *call, char since[SINCE_SIZE])
{
	return http_query(call->request, "since", since, SINCE_SIZE);
}

static int logs_ask(struct stream *s, const struct node *node,
		    const struct api_call *call)
{
	yyjson_mut_doc *doc = ask_begin(s, "logs", call->argument[1]);
	yyjson_mut_val *root = yyjson_mut_doc_get_root(doc);
	char text[16], since[SINCE_SIZE];
	uint64_t lines = 100;

	if (http_query(call->request, "lines", text, sizeof(text)) == 0)
		span_u64(span_of(text), 1000000, &lines);
	yyjson_mut_obj_add_uint(doc, root, "lines", lines);
	yyjson_mut_obj_add_bool(
		doc, root, "follow",
		http_query(call->request, "follow", text, sizeof(text)) == 0 &&
			!strcmp(text, "1"));
	if (since_query(call, since) == 0)
		yyjson_mut_obj_add_str(doc, root, "since", since);
	return stream_ask(node, doc);
}

static int devices_ask(struct stream *s, const struct node *node,
		       const struct api_call *call)
{
	(void)call;
	return stream_ask(node, ask_begin(s, "devices", ""));
}

static int wish_ask(struct stream *s, const struct node *node,
		    const struct api_call *call)
{
	char verb[16] = "";

	http_query(call->request, "verb", verb, sizeof(verb));
	return stream_ask(node, ask_begin(s, verb, call->argument[1]));
}

/* The node that the call names, when it is connected; else it was answered. */
static struct node *node_connected(struct api_call *call)
{
	struct node *node = node_either(call->hub, call->argument[0]);
	char at[STAMP_SIZE] = "never";
	int64_t seen;

	if (!node || node->revoked) {
		api_fail(call, 404, "no node %s", call->argument[0]);
		return NULL;
	}
	if (node->stream)
		return node;
	node_state(node, &seen);
	if (seen)
		stamp_make(seen, at);
	api_fail(call, 503, "node %s is not connected, last seen %s",
		 node->name, at);
	return NULL;
}

static void handle(struct api_call *call,
		   int (*ask)(struct stream *, const struct node *,
			      const struct api_call *))
{
	struct node *node = node_connected(call);
	struct stream *s = node ? stream_new(call, node) : NULL;

	if (!node)
		return;
	if (!s || ask(s, node, call) < 0) {
		if (s)
			stream_free(s);
		api_fail(call, 503, "node %s has too many asks", node->name);
		return;
	}
	timer_set(&call->hub->loop, &s->opening, OPEN_MS);
	api_call_leave(call);
	s->reader->on = &reader_on;
	s->reader->user = s;
}

void logs_handle(struct api_call *call)
{
	char since[SINCE_SIZE];
	int err = since_query(call, since);
	uint64_t ms;

	if (err == 0)
		err = since_read(span_of(since), (uint64_t)time(NULL) * 1000,
				 &ms);
	if (err < 0 && err != -ENOENT)
		api_fail(call, 400, "since: want " SINCE_WANT);
	else
		handle(call, logs_ask);
}

void devices_handle(struct api_call *call)
{
	handle(call, devices_ask);
}

/* What comes of it is the node's to say, so that it was asked is what is
 * kept. */
void wish_handle(struct api_call *call)
{
	static const char *const verbs[] = { "freeze", "thaw", "sleep",
					     "wake" };
	char verb[16] = "";
	size_t i = 0, n = sizeof(verbs) / sizeof(*verbs);

	http_query(call->request, "verb", verb, sizeof(verb));
	while (i < n && strcmp(verb, verbs[i]) != 0)
		i++;
	if (i == n) {
		api_fail(call, 400, "verb: want freeze, thaw, sleep or wake");
		return;
	}
	log_notice("audit", "%s asks %s to %s %s", call->caller.name,
		   call->argument[0], verb, call->argument[1]);
	handle(call, wish_ask);
}
