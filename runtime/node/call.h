/* One request at a time to `zrun serve`, zpull or zagent, without waiting for
 * the answer.
 *
 * Each request has a connection of its own: a long unpacking holds up nobody,
 * and when serve dies exactly the requests in its hands fail, with
 * -ECONNRESET. What became of them is then seen in init's store. Of a crowd
 * (a document with a hundred applications) some are under way and the others
 * wait their turn here. */
#ifndef NODE_CALL_H
#define NODE_CALL_H

#include "agent/zagent.h"
#include "base/loop.h"
#include "zpull/zpull.h"
#include "zrun/serve.h"

enum call_peer { CALL_ZRUN, CALL_ZPULL, CALL_ZAGENT, CALL_PEER_COUNT };

union call_request {
	struct ipc_head head;
	struct zrun_request zrun;
	struct zpull_request zpull;
	struct zagent_request zagent;
};

/* Of the peer that was asked; its texts end somewhere. */
union call_reply {
	struct ipc_head head;
	struct zrun_reply zrun;
	struct zpull_reply zpull;
	struct zagent_reply zagent;
};

struct call {
	struct watch watch;
	int fd; /* -1 while no request is under way */
	/* Sent along three times, as what becomes 0, 1, 2 of ZRUN_EXEC; -1.
	 * It stays the caller's. */
	int stdio;
	enum call_peer peer;
	union call_request request;
	void (*done)(struct call *, const union call_reply *, int fd);
	/* ZPULL_PROGRESS and ZPULL_BEGUN, with the descriptor that came along
	 * or -1; may be NULL. */
	void (*progress)(struct call *, const struct zpull_reply *, int fd);
	/* While it waits its turn. */
	bool queued;
	int memfd;
	struct call *next;
};

void call_init(struct call *call);
/* The request to zrun serve, about container `id`, with all else 0. */
struct zrun_request *call_zrun(struct call *call, const char *id);
static inline bool call_busy(const struct call *call)
{
	return call->fd >= 0 || call->queued;
}

/* Sends call->request (its head is filled here) with memfd (or a pipe),
 * unless -1, which stays the caller's. `done` is called later with the reply,
 * or with one made up here (error -ECONNRESET and a text) when the peer went
 * away, and with the descriptor that came along, which stays ours, or -1; the
 * next request may be sent from it. 0, or -errno when nothing was sent. */
int call_send(struct loop *loop, struct call *call, enum call_peer peer,
	      uint32_t verb, int memfd);

/* Forgets the request under way, if there is one: `done` is not called. */
void call_cancel(struct call *call);

#endif
