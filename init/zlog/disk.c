/* One request is with the writer at a time; which one is next is decided when
 * it has answered, from what the sources want then. So nothing is queued: a
 * source whose text waits for long loses its oldest lines to newer ones in its
 * ring, and they are counted, as on a full disk. */
#define _GNU_SOURCE
#include "disk.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "base/log.h"
#include "writer.h"

enum {
	RESTART_MS = 1000,
	TICK_MS = 1000,	  /* history is waited for so long */
	STUCK_TICKS = 10, /* then the operator is told */
	FINISH_MS = 3000,
};

static struct disk_setup setup = { .dir = -1 };
static struct {
	struct watch watch; /* fd: our end of the pair; -1 */
	struct timer restart, tick, finish;
	uint32_t verb;	    /* of the request that is with it; 0: none */
	struct source *of;  /* that the request is about */
	size_t size;	    /* of its ring's text in the request */
	uint64_t lost;	    /* and what was said about lost bytes */
	unsigned int ticks; /* since the request was sent */
	int error;	    /* the last one logged, 0 when all is well */
	bool prune;
	void (*finished)(void);
} writer = { .watch.fd = -1 };

static void loaded(struct source *s)
{
	s->loaded = true;
	setup.loaded(s);
}

/* History that is not here by now is done without. */
static void loaded_all(void)
{
	for (struct source *s = NULL; (s = source_next(s));) {
		if (!s->loaded)
			loaded(s);
	}
}

static void result_tell(const char *name, int error)
{
	if (error < 0 && writer.error != error)
		log_warning(name,
			    "cannot write its log: %s; kept in memory "
			    "meanwhile",
			    error == -ETIMEDOUT ? "the disk does not answer"
						: strerror(-error));
	else if (error == 0 && writer.error < 0)
		log_notice(name, "logs are written again");
	writer.error = error;
}

/* Requests */

static struct writer_request request;

static void request_send(uint32_t verb, struct source *s)
{
	int error;

	request.head = (struct ipc_head){ sizeof(request), verb };
	if (s) {
		request.slot = source_slot(s);
		request.keep = s->keep;
		text_copy(request.name, sizeof(request.name), s->name);
	}
	error = ipc_send(writer.watch.fd, &request, sizeof(request), NULL, 0);
	if (error < 0)
		return; /* the writer is gone; its end is about to be seen */
	writer.verb = verb;
	writer.of = s;
	writer.ticks = 0;
	timer_set(setup.loop, &writer.tick, TICK_MS);
}

/* Fills the request with as many whole lines as it takes. */
static void lines_fill(const struct span pieces[2])
{
	for (int i = 0; i < 2; i++) {
		size_t room = sizeof(request.text) - 1 - request.size;
		size_t n = pieces[i].size < room ? pieces[i].size : room;

		memcpy(request.text + request.size, pieces[i].data, n);
		request.size += (uint32_t)n;
	}
	while (request.size && request.text[request.size - 1] != '\n')
		request.size--;
}

static void append_send(struct source *s)
{
	struct span pieces[2];
	size_t note = 0;

	ring_unwritten(s->ring, pieces);
	if (s->ring->lost)
		note = source_note(request.text, s->ring->lost,
				   "bytes lost before they could be written");
	request.size = (uint32_t)note;
	lines_fill(pieces);
	writer.size = request.size - note;
	writer.lost = s->ring->lost;
	request_send(WRITER_APPEND, s);
}

static void prune_send(void)
{
	request.size = 0;
	for (struct source *s = NULL; (s = source_next(s));) {
		if (!s->readers)
			continue;
		memcpy(request.text + request.size, s->name, sizeof(s->name));
		request.size += (uint32_t)strlen(s->name) + 1;
	}
	writer.prune = false;
	request_send(WRITER_PRUNE, NULL);
}

static bool is_due(const struct source *s)
{
	return s->ring->written < s->due;
}

static struct source *find(bool (*wants)(const struct source *))
{
	/* The one after the last is first: none can keep others waiting. */
	static struct source *last;
	struct source *s = last;

	while ((s = source_next(s)) && !wants(s))
		;
	if (!s) {
		while ((s = source_next(s)) && !wants(s))
			;
	}
	last = s;
	return s;
}

static bool wants_history(const struct source *s)
{
	return !s->loaded;
}

/* History first: lines that are written before it was read would be in it. */
void disk_wake(void)
{
	struct source *s;

	if (writer.watch.fd < 0 || writer.verb)
		return;
	if ((s = find(wants_history))) {
		request.size = 0;
		request_send(WRITER_TAIL, s);
	} else if ((s = find(is_due))) {
		append_send(s);
	} else if (writer.prune) {
		prune_send();
	} else if (writer.finished) {
		writer.finished();
	}
}

/* Replies */

static void append_done(struct source *s, int error)
{
	if (error == 0) {
		s->ring->written += writer.size;
		s->ring->lost -= writer.lost;
	} else {
		s->due = 0; /* until the next flush */
	}
	result_tell(s->name, error);
}

static void reply_take(const struct writer_reply *reply)
{
	uint32_t verb = writer.verb;

	timer_cancel(&writer.tick);
	writer.verb = 0;
	if (writer.error == -ETIMEDOUT)
		result_tell(writer.of ? writer.of->name : NULL, 0);
	if (verb == WRITER_APPEND) {
		append_done(writer.of, reply->error);
	} else if (verb == WRITER_TAIL) {
		ring_put_before(writer.of->ring,
				(struct span){ reply->text, reply->size });
		writer.of->known = writer.of->known || reply->size;
		loaded(writer.of);
	}
}

static void writer_gone(void)
{
	int fd = writer.watch.fd;

	watch_del(setup.loop, &writer.watch);
	fd_close(&fd);
	timer_cancel(&writer.tick);
	writer.verb = 0;
	loaded_all();
	log_warning("writer", "ended; started anew in %d ms", RESTART_MS);
	timer_set(setup.loop, &writer.restart, RESTART_MS);
}

static void writer_ready(struct watch *w, uint32_t events)
{
	static struct writer_reply reply;
	int n = ipc_recv(w->fd, &reply, sizeof(reply), NULL);

	(void)events;
	if (n == -EAGAIN)
		return;
	if (n != 1 || reply.size > sizeof(reply.text) ||
	    reply.head.verb != writer.verb) {
		writer_gone();
		return;
	}
	reply_take(&reply);
	disk_wake();
}

static void tick_fire(struct timer *t)
{
	loaded_all();
	if (++writer.ticks == STUCK_TICKS)
		result_tell(writer.of ? writer.of->name : NULL, -ETIMEDOUT);
	timer_set(setup.loop, t, TICK_MS);
}

static void restart_fire(struct timer *t)
{
	int sock = -1, error = writer_start(setup.dir, &sock);

	if (error == 0) {
		error = watch_add(setup.loop, &writer.watch, sock, EPOLLIN);
		if (error < 0)
			fd_close(&sock);
	}
	if (error < 0) {
		log_warning("writer", "cannot start: %s", strerror(-error));
		loaded_all();
		timer_set(setup.loop, t, RESTART_MS);
		return;
	}
	disk_wake();
}

static void finish_fire(struct timer *t)
{
	(void)t;
	writer.finished();
}

bool disk_is_there(void)
{
	return setup.dir >= 0;
}

bool disk_is_failing(void)
{
	return writer.error < 0;
}

bool disk_has(const struct source *s)
{
	return writer.verb && writer.of == s;
}

void disk_prune(void)
{
	writer.prune = true;
	disk_wake();
}

void disk_finish(void (*done)(void))
{
	writer.finished = done;
	writer.finish.fire = finish_fire;
	timer_set(setup.loop, &writer.finish, disk_is_there() ? FINISH_MS : 0);
	for (struct source *s = NULL; (s = source_next(s));)
		s->due = s->ring->end;
	disk_wake();
}

void disk_init(const struct disk_setup *given)
{
	setup = *given;
	writer.watch.ready = writer_ready;
	writer.tick.fire = tick_fire;
	writer.restart.fire = restart_fire;
	if (disk_is_there())
		restart_fire(&writer.restart);
}
