/* GET /v1/events: what happened, a line of JSON each; with watch=1 it goes on
 * as things happen. A slow reader holds one batch in memory and finds the rest
 * in the store, as long as it is among the newest EVENTS_MAX. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api.h"
#include "base/fd.h"
#include "handlers.h"

enum { BATCH = 64, BATCH_SIZE = 16 << 10 };

struct events {
	struct hub *hub;
	struct http_request *request;
	struct store_watch watch;
	bool follow, more;
	char after[STORE_KEY_MAX]; /* the last key that was read */
	size_t size, sent;
	char batch[BATCH_SIZE];
};

static int event_take(void *context, const struct store_entry *e)
{
	struct events *s = context;

	if (s->size + e->value.size + 1 > BATCH_SIZE)
		return s->size ? 1 : 0; /* one that is too long is left out */
	memcpy(s->batch + s->size, e->value.data, e->value.size);
	s->size += e->value.size;
	s->batch[s->size++] = '\n';
	text_copy(s->after, sizeof(s->after), e->key.data);
	return 0;
}

static ssize_t events_pull(void *user, void *buf, size_t size)
{
	struct events *s = user;
	size_t n;

	if (s->sent == s->size) {
		s->sent = s->size = 0;
		if (s->more) {
			store_commit(s->hub->store);
			store_range(s->hub->store, "event/", s->after, BATCH,
				    event_take, s);
		}
		s->more = s->size;
		if (!s->size)
			return s->follow && !s->hub->draining ? -EAGAIN : 0;
	}
	n = s->size - s->sent < size ? s->size - s->sent : size;
	memcpy(buf, s->batch + s->sent, n);
	s->sent += n;
	return (ssize_t)n;
}

static void events_changed(struct store_watch *w)
{
	struct events *s = container_of(w, struct events, watch);

	s->more = true;
	http_resume(s->request);
}

static void events_gone(struct http_request *request, bool complete)
{
	struct events *s = request->user;

	(void)complete;
	store_watch_del(&s->watch);
	free(s);
}

static const struct http_request_on events_on = { .gone = events_gone };

void events_handle(struct api_call *call)
{
	static const struct http_header headers[] = {
		{ "content-type", "application/x-ndjson" },
		{ "cache-control", "no-store" },
	};
	struct events *s = calloc(1, sizeof(*s));
	struct http_request *request = call->request;
	char text[24];
	uint64_t since = 0;

	if (!s) {
		api_fail(call, 500, "out of memory");
		return;
	}
	if (http_query(request, "since", text, sizeof(text)) == 0)
		span_u64(span_of(text), INT64_MAX, &since);
	s->follow = http_query(request, "watch", text, sizeof(text)) == 0 &&
		    !strcmp(text, "1");
	s->hub = call->hub;
	s->request = request;
	s->more = true;
	snprintf(s->after, sizeof(s->after), "event/%016llx",
		 (unsigned long long)since);
	s->watch.changed = events_changed;
	s->watch.is_prefix = true;
	text_copy(s->watch.key, sizeof(s->watch.key), "event/");
	api_call_leave(call);
	request->on = &events_on;
	request->user = s;
	if (s->follow)
		store_watch_add(s->hub->store, &s->watch);
	if (http_reply(request, 200, headers, 2, http_pull(-1, events_pull)) <
	    0)
		http_abort(request);
}
