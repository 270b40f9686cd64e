#define _GNU_SOURCE
#include "link.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"

enum { CALL_TIMEOUT_MS = 2000, BACKLOG = 4096 };

static int fail(const char *what, int code)
{
	log_error("init", "%s: %s", what, strerror(-code));
	return code;
}

/* Without init's events nothing is known any more. init does not die before
 * znode on a node; where it is replaced (tests), a fresh znode starts over. */
static void lost(struct link *link, int code)
{
	fail("the stream of events ended", code ? code : -ECONNRESET);
	loop_stop(link->loop, 1);
}

static void drain(struct link *link, int fd)
{
	for (int i = 0; i < LOOP_BATCH; i++) {
		struct ipc_fds fds = { 0 };
		struct init_event e;
		int r = ipc_recv(fd, &e, sizeof(e), &fds);

		/* Only another uid than znode's, in a test, gets any. */
		ipc_fds_close(&fds);
		if (r == -EAGAIN)
			return;
		if (r != 1) {
			lost(link, r);
			return;
		}
		e.key.container[INIT_NAME_SIZE - 1] = '\0';
		if (e.head.verb != INIT_EVENT_SYNCED)
			link->event(link, &e);
		else if (++link->synced == 2)
			link->ready(link);
	}
}

static void pidfd_ready(struct watch *w, uint32_t events)
{
	struct link *link = container_of(w, struct link, pidfd);

	(void)events;
	drain(link, link->pidfd_fd);
}

static void listen_ready(struct watch *w, uint32_t events)
{
	struct link *link = container_of(w, struct link, listen);

	(void)events;
	drain(link, link->listen_fd);
}

/* A connection that has become a stream of events of `kind`. */
static int stream_open(uint32_t kind)
{
	struct init_request request = {
		.head = { sizeof(request), INIT_WATCH },
		.key = { .kind = kind },
	};
	autoclose int fd = ipc_connect("init");
	int r;

	if (fd < 0)
		return fd;
	r = ipc_send(fd, &request, sizeof(request), NULL, 0);
	if (r)
		return r;
	if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	return fd_take(&fd);
}

static int stream_watch(struct link *link, struct watch *w, int *fd,
			uint32_t kind)
{
	*fd = stream_open(kind);
	return *fd < 0 ? *fd : watch_add(link->loop, w, *fd, EPOLLIN);
}

int link_open(struct link *link, struct loop *loop)
{
	int r;

	link->loop = loop;
	link->synced = 0;
	link->pidfd.ready = pidfd_ready;
	link->listen.ready = listen_ready;
	link->requests = ipc_connect("init");
	if (link->requests < 0)
		return fail("connect", link->requests);
	r = stream_watch(link, &link->pidfd, &link->pidfd_fd, INIT_KIND_PIDFD);
	if (!r)
		r = stream_watch(link, &link->listen, &link->listen_fd,
				 INIT_KIND_LISTEN);
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
		lost(link, r);
		return r;
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

int link_bind(struct link *link, const struct init_key *key, const void *note,
	      size_t note_size)
{
	struct init_request request = {
		.head.verb = INIT_BIND,
		.key = *key,
		.bind = { .port = (uint16_t)key->n, .backlog = BACKLOG },
	};

	set_note(&request, note, note_size);
	return call(link, &request);
}
