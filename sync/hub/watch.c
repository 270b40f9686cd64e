/* A stream holds at most one frame of its own in memory. What it has to say is
 * kept as facts (the document's key changed; asks wait; bye), and the next
 * frame is made of them when the client takes bytes. So a slow client costs
 * one frame, and sees of many documents only the newest. */
#define _GNU_SOURCE
#include "watch.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "api.h"
#include "apply.h"
#include "base/fd.h"
#include "base/log.h"
#include "enrol.h"
#include "handlers.h"

enum { HEAD = 5, HEARTBEAT_MIN_S = 10, HEARTBEAT_MAX_S = 600 };

struct ask {
	struct ask *next;
	size_t size;
	char json[];
};

struct watch_stream {
	struct hub *hub;
	struct node *node;
	struct http_request *request;
	struct store_watch watch;
	uint64_t epoch, revision; /* the newest that the node has or got */
	bool check;		  /* the document may be newer */
	bool synced;		  /* was said since the last document */
	bool follow;		  /* goes on after that */
	bool observe;		  /* is to be asked of the node */
	bool bye, ended;
	struct ask *asks, **asks_end;
	unsigned n_asks;
	char *frame; /* being sent */
	size_t size, sent;
};

/* ---- frames ---- */

static int frame_make(struct watch_stream *s, enum watch_frame type,
		      struct span bytes)
{
	char *frame = malloc(HEAD + bytes.size);

	if (!frame)
		return -ENOMEM;
	for (int i = 0; i < 4; i++)
		frame[i] = (char)(bytes.size >> (24 - 8 * i));
	frame[4] = (char)type;
	if (bytes.size)
		memcpy(frame + HEAD, bytes.data, bytes.size);
	s->frame = frame;
	s->size = HEAD + bytes.size;
	s->sent = 0;
	return 0;
}

/* 1 when a frame was made, 0 when the node has the newest, -errno. */
static int document_frame(struct watch_stream *s)
{
	autofree char *value = NULL;
	struct desired_head head;
	struct span envelope;
	size_t size;
	int err;

	store_commit(s->hub->store);
	err = store_get(s->hub->store, s->watch.key, &value, &size, NULL);
	if (err == -ENOENT)
		return 0;
	if (err < 0)
		return err;
	if (desired_stored((struct span){ value, size }, &head, &envelope) < 0)
		return -EBADMSG;
	if (head.epoch < s->epoch ||
	    (head.epoch == s->epoch && head.revision < s->revision)) {
		log_error(
			s->node->name,
			"has document %llu.%llu, this hub only %llu.%llu: was "
			"its store rolled back without zhub restore?",
			(unsigned long long)s->epoch,
			(unsigned long long)s->revision,
			(unsigned long long)head.epoch,
			(unsigned long long)head.revision);
		return 0;
	}
	if (head.epoch == s->epoch && head.revision == s->revision)
		return 0;
	err = frame_make(s, WATCH_DESIRED, envelope);
	if (err < 0)
		return err;
	s->epoch = head.epoch;
	s->revision = head.revision;
	s->synced = false;
	return 1;
}

static int ask_frame(struct watch_stream *s)
{
	struct ask *ask = s->asks;
	int err = frame_make(s, WATCH_ASK,
			     (struct span){ ask->json, ask->size });

	if (err < 0)
		return err;
	s->asks = ask->next;
	if (!s->asks)
		s->asks_end = &s->asks;
	s->n_asks--;
	free(ask);
	return 1;
}

/* 1: a frame was made; 0: nothing to say now; -errno. */
static int frame_next(struct watch_stream *s)
{
	const struct span observe = span_of("{\"verb\":\"observe\"}");
	const struct span empty = { NULL, 0 };
	int made = 0;

	if (s->ended)
		return 0;
	if (s->check) {
		s->check = false;
		made = document_frame(s);
	}
	if (made == 0 && !s->synced) {
		s->synced = true;
		made = frame_make(s, WATCH_SYNCED, empty) < 0 ? -ENOMEM : 1;
	}
	if (made == 0 && s->observe) {
		s->observe = false;
		made = frame_make(s, WATCH_ASK, observe) < 0 ? -ENOMEM : 1;
	}
	if (made == 0 && s->asks)
		made = ask_frame(s);
	if (made == 0 && (s->bye || !s->follow)) {
		s->ended = true;
		if (s->bye)
			made = frame_make(s, WATCH_BYE, empty) < 0 ? -ENOMEM
								   : 1;
	}
	return made;
}

static ssize_t stream_pull(void *user, void *buf, size_t size)
{
	struct watch_stream *s = user;
	size_t n;

	if (!s->frame) {
		int made = frame_next(s);

		if (made < 0)
			return made;
		if (made == 0)
			return s->ended ? 0 : -EAGAIN;
	}
	n = s->size - s->sent < size ? s->size - s->sent : size;
	memcpy(buf, s->frame + s->sent, n);
	s->sent += n;
	if (s->sent == s->size) {
		free(s->frame);
		s->frame = NULL;
	}
	return (ssize_t)n;
}

/* ---- the life of a stream ---- */

static void document_changed(struct store_watch *w)
{
	struct watch_stream *s = container_of(w, struct watch_stream, watch);

	s->check = true;
	http_resume(s->request);
}

static void stream_gone(struct http_request *request, bool complete)
{
	struct watch_stream *s = request->user;
	char key[96], text[160];

	(void)complete;
	store_watch_del(&s->watch);
	if (s->node->stream == s) {
		s->node->stream = NULL;
		fresh_told(s->hub, s->node);
		s->node->seen = time(NULL);
		snprintf(key, sizeof(key), "acknowledged/%s", s->node->id);
		snprintf(text, sizeof(text),
			 "{\"epoch\":%llu,\"revision\":%llu,\"seen\":%lld}",
			 (unsigned long long)s->node->acknowledged_epoch,
			 (unsigned long long)s->node->acknowledged_revision,
			 (long long)s->node->seen);
		store_note(s->hub->store, key, span_of(text));
	}
	while (s->asks) {
		struct ask *ask = s->asks;

		s->asks = ask->next;
		free(ask);
	}
	free(s->frame);
	free(s);
}

static const struct http_request_on stream_on = { .gone = stream_gone };

static uint64_t query_u64(const struct http_request *request, const char *name,
			  uint64_t otherwise)
{
	char text[24];
	uint64_t n;

	if (http_query(request, name, text, sizeof(text)) < 0 ||
	    span_u64(span_of(text), INT64_MAX, &n) < 0)
		return otherwise;
	return n;
}

static unsigned heartbeat_of(const struct http_request *request)
{
	uint64_t s = query_u64(request, "heartbeat", 75);

	return s < HEARTBEAT_MIN_S   ? HEARTBEAT_MIN_S
	       : s > HEARTBEAT_MAX_S ? HEARTBEAT_MAX_S
				     : (unsigned)s;
}

/* The request stops being a call: the stream is its user from here on. */
static void stream_start(struct watch_stream *s, struct api_call *call)
{
	static const struct http_header headers[] = {
		{ "content-type", "application/vnd.zooid.stream" },
		{ "cache-control", "no-store" },
	};

	s->watch.changed = document_changed;
	snprintf(s->watch.key, sizeof(s->watch.key), "desired/%s", s->node->id);
	api_call_leave(call);
	s->request->on = &stream_on;
	s->request->user = s;
	store_watch_add(s->hub->store, &s->watch);
	if (http_reply(s->request, 200, headers, 2,
		       http_pull(-1, stream_pull)) < 0)
		http_abort(s->request);
}

/* A second stream of a node replaces the first: the node has dialled anew and
 * the hub has not yet noticed that the old connection is dead. */
static void stream_register(struct watch_stream *s)
{
	struct watch_stream *old = s->node->stream;

	s->node->stream = s;
	s->node->heartbeat_s = heartbeat_of(s->request);
	if (old)
		http_abort(old->request);
}

void desired_handle(struct api_call *call)
{
	struct node *node = node_adopt(call->hub, call->request->peer);
	struct watch_stream *s = node ? calloc(1, sizeof(*s)) : NULL;

	if (!s) {
		api_fail(call, 500, "out of memory");
		return;
	}
	s->hub = call->hub;
	s->node = node;
	s->request = call->request;
	s->epoch = query_u64(s->request, "epoch", 0);
	s->revision = query_u64(s->request, "revision", 0);
	s->follow = query_u64(s->request, "watch", 0) == 1;
	s->asks_end = &s->asks;
	s->bye = call->hub->draining;
	s->check = true;
	if (s->follow)
		stream_register(s);
	stream_start(s, call);
}

/* ---- for others ---- */

uint64_t watch_heard_ms(const struct watch_stream *s)
{
	return http_heard_ms(s->request);
}

int watch_ask(struct watch_stream *s, struct span json)
{
	struct ask *ask;

	if (s->n_asks == WATCH_ASKS_MAX)
		return -EAGAIN;
	ask = malloc(sizeof(*ask) + json.size);
	if (!ask)
		return -ENOMEM;
	ask->next = NULL;
	ask->size = json.size;
	memcpy(ask->json, json.data, json.size);
	*s->asks_end = ask;
	s->asks_end = &ask->next;
	s->n_asks++;
	http_resume(s->request);
	return 0;
}

static int node_bye(void *context, struct node *node)
{
	(void)context;
	if (node->stream) {
		node->stream->bye = true;
		http_resume(node->stream->request);
	}
	return 0;
}

void watch_observe(struct watch_stream *s)
{
	s->observe = true;
	http_resume(s->request);
}

void watch_bye_all(struct hub *hub)
{
	nodes_each(hub, node_bye, NULL);
}

void watch_disconnect(struct watch_stream *s)
{
	http_disconnect(s->request);
}
