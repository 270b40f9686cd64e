#define _GNU_SOURCE
#include "call.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "base/span.h"

static struct peer {
	const char *name;
	size_t request_size, reply_size;
	unsigned limit, under_way;
	struct call *first;
} peers[] = {
	/* Less than zrun has room for, so that znet finds some too. */
	[CALL_ZRUN] = { "zrun", sizeof(struct zrun_request),
			sizeof(struct zrun_reply), 24, 0, NULL },
	[CALL_ZPULL] = { "zpull", sizeof(struct zpull_request),
			 sizeof(struct zpull_reply), 4, 0, NULL },
	[CALL_ZAGENT] = { "zagent", sizeof(struct zagent_request),
			  sizeof(struct zagent_reply), 4, 0, NULL },
};

_Static_assert(sizeof(peers) / sizeof(peers[0]) == CALL_PEER_COUNT,
	       "a row for each peer");

/* znode has one loop; watches need it to be taken out again. */
static struct loop *call_loop;

static void ready(struct watch *w, uint32_t events);

void call_init(struct call *call)
{
	memset(call, 0, sizeof(*call));
	call->fd = call->watch.fd = call->memfd = call->stdio = -1;
}

/* Where replies of the peer have their error and text. */
static char *text_of(enum call_peer peer, union call_reply *reply, size_t *size,
		     int32_t **error)
{
	switch (peer) {
	case CALL_ZRUN:
		*error = &reply->zrun.error;
		*size = sizeof(reply->zrun.text);
		return reply->zrun.text;
	case CALL_ZPULL:
		*error = &reply->zpull.error;
		*size = sizeof(reply->zpull.text);
		return reply->zpull.text;
	case CALL_ZAGENT:
	case CALL_PEER_COUNT:
		break;
	}
	*error = &reply->zagent.error;
	*size = sizeof(reply->zagent.text);
	return reply->zagent.text;
}

static void fail(const struct call *call, union call_reply *reply)
{
	int32_t *error;
	size_t size;
	char *text;

	memset(reply, 0, sizeof(*reply));
	text = text_of(call->peer, reply, &size, &error);
	*error = -ECONNRESET;
	snprintf(text, size, "%s went away while it was asked",
		 peers[call->peer].name);
}

static int transmit(struct call *call, int memfd)
{
	struct peer *peer = &peers[call->peer];
	autoclose int fd = ipc_connect(peer->name);
	const int sent[] = { memfd, call->stdio, call->stdio, call->stdio };
	unsigned n = memfd < 0 ? 0 : call->stdio < 0 ? 1 : 4;
	int r;

	if (fd < 0)
		return fd;
	r = ipc_send(fd, &call->request, peer->request_size, sent, n);
	if (r)
		return r;
	call->watch.ready = ready;
	r = watch_add(call_loop, &call->watch, fd, EPOLLIN);
	if (r)
		return r;
	call->fd = fd_take(&fd);
	peer->under_way++;
	return 0;
}

/* Sends what waited, as far as there is room. */
static void advance(enum call_peer which)
{
	struct peer *peer = &peers[which];
	union call_reply reply;

	while (peer->first && peer->under_way < peer->limit) {
		struct call *call = peer->first;
		autoclose int memfd = fd_take(&call->memfd);

		peer->first = call->next;
		call->queued = false;
		if (transmit(call, memfd) == 0)
			continue;
		fail(call, &reply);
		call->done(call, &reply, -1);
	}
}

static void hang_up(struct call *call)
{
	watch_del(call_loop, &call->watch);
	fd_close(&call->fd);
	peers[call->peer].under_way--;
}

/* Its texts end somewhere. */
static void reply_end(enum call_peer peer, union call_reply *reply)
{
	int32_t *error;
	size_t size;
	char *text = text_of(peer, reply, &size, &error);

	text[size - 1] = '\0';
	if (peer == CALL_ZRUN) {
		reply->zrun.id[sizeof(reply->zrun.id) - 1] = '\0';
	} else if (peer == CALL_ZPULL) {
		reply->zpull.path[sizeof(reply->zpull.path) - 1] = '\0';
		reply->zpull.digest[sizeof(reply->zpull.digest) - 1] = '\0';
	}
}

static void ready(struct watch *w, uint32_t events)
{
	struct call *call = container_of(w, struct call, watch);
	enum call_peer peer = call->peer;
	struct ipc_fds fds = { 0 };
	union call_reply reply;
	int r = ipc_recv(call->fd, &reply, peers[peer].reply_size, &fds);

	(void)events;
	if (r == -EAGAIN)
		return;
	if (r == 1)
		reply_end(peer, &reply);
	if (r == 1 && peer == CALL_ZPULL &&
	    (reply.head.verb == ZPULL_PROGRESS ||
	     reply.head.verb == ZPULL_BEGUN)) {
		if (call->progress)
			call->progress(call, &reply.zpull,
				       fds.n ? fds.fd[0] : -1);
		ipc_fds_close(&fds);
		return;
	}
	if (r != 1 || reply.head.verb != call->request.head.verb)
		fail(call, &reply);
	hang_up(call);
	call->done(call, &reply, fds.n ? fds.fd[0] : -1);
	ipc_fds_close(&fds);
	advance(peer);
}

/* At the end of the queue. */
static int wait_turn(struct call *call, int memfd)
{
	struct call **p = &peers[call->peer].first;

	if (memfd >= 0) {
		call->memfd = fcntl(memfd, F_DUPFD_CLOEXEC, 0);
		if (call->memfd < 0)
			return -errno;
	}
	while (*p)
		p = &(*p)->next;
	*p = call;
	call->next = NULL;
	call->queued = true;
	return 0;
}

struct zrun_request *call_zrun(struct call *call, const char *id)
{
	struct zrun_request *q = &call->request.zrun;

	memset(q, 0, sizeof(*q));
	text_copy(q->id, sizeof(q->id), id);
	return q;
}

int call_send(struct loop *loop, struct call *call, enum call_peer peer,
	      uint32_t verb, int memfd)
{
	call_loop = loop;
	call->peer = peer;
	call->request.head.size = (uint32_t)peers[peer].request_size;
	call->request.head.verb = verb;
	if (peers[peer].under_way >= peers[peer].limit)
		return wait_turn(call, memfd);
	return transmit(call, memfd);
}

void call_cancel(struct call *call)
{
	if (call->queued) {
		struct call **p = &peers[call->peer].first;

		while (*p != call)
			p = &(*p)->next;
		*p = call->next;
		call->queued = false;
		fd_close(&call->memfd);
	} else if (call->fd >= 0) {
		hang_up(call);
		advance(call->peer);
	}
}
