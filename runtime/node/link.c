#define _GNU_SOURCE
#include "link.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"

enum { CALL_TIMEOUT_MS = 2000, BACKLOG = 4096 };

static int fail(const char *what, int code)
{
	log_error("init", "%s: %s", what, strerror(-code));
	return code;
}

/* Without init's events nothing is known any more. init does not die before
 * znode on a node; where it is replaced (tests), a fresh znode starts over. */
static void lost(struct init_watch *w)
{
	loop_stop(w->loop, 1);
}

static void event_take(struct link *link, const struct init_event *e)
{
	if (e->head.verb != INIT_EVENT_SYNCED)
		link->event(link, e);
	else if (++link->synced == 2)
		link->ready(link);
}

static void process_event(struct init_watch *w, struct init_event *e,
			  struct ipc_fds *fds)
{
	(void)fds;
	event_take(container_of(w, struct link, processes), e);
}

static void listener_event(struct init_watch *w, struct init_event *e,
			   struct ipc_fds *fds)
{
	(void)fds;
	event_take(container_of(w, struct link, listeners), e);
}

int link_open(struct link *link, struct loop *loop)
{
	int r;

	link->loop = loop;
	link->synced = 0;
	link->processes = (struct init_watch){ .kind = INIT_KIND_PIDFD,
					       .event = process_event,
					       .lost = lost };
	link->listeners = (struct init_watch){ .kind = INIT_KIND_LISTEN,
					       .event = listener_event,
					       .lost = lost };
	link->requests = ipc_connect("init");
	if (link->requests < 0)
		return fail("connect", link->requests);
	r = init_watch_open(&link->processes, loop);
	if (!r)
		r = init_watch_open(&link->listeners, loop);
	return r ? fail("watch", r) : 0;
}

static int call(struct link *link, struct init_request *request)
{
	struct init_reply reply;
	int r;

	request->head.size = sizeof(*request);
	r = ipc_call(link->requests, request, sizeof(*request), NULL, 0, &reply,
		     sizeof(reply), NULL, CALL_TIMEOUT_MS);
	if (r) {
		/* A late answer must not be taken for that of another call. */
		loop_stop(link->loop, 1);
		return fail("request", r);
	}
	return reply.error;
}

static void set_note(struct init_request *request, const void *note,
		     size_t note_size)
{
	if (note)
		memcpy(request->note, note, note_size);
}

int link_call(struct link *link, enum init_verb verb,
	      const struct init_key *key, const void *note, size_t note_size)
{
	struct init_request request = { .head.verb = verb, .key = *key };

	set_note(&request, note, note_size);
	return call(link, &request);
}

int link_bind(struct link *link, const struct init_key *key,
	      const uint8_t address[16], const void *note, size_t note_size)
{
	struct init_request request = {
		.head.verb = INIT_BIND,
		.key = *key,
		.bind = { .port = (uint16_t)key->n, .backlog = BACKLOG },
	};

	memcpy(request.bind.address, address, sizeof(request.bind.address));
	set_note(&request, note, note_size);
	return call(link, &request);
}
