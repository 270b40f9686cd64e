/* One request to `zrun serve` at a time, without waiting for the answer.
 *
 * Each request has a connection of its own: a long unpacking holds up nobody,
 * and when serve dies exactly the requests in its hands fail, with
 * -ECONNRESET. What became of them is then seen in init's store. */
#ifndef NODE_CALL_H
#define NODE_CALL_H

#include "base/loop.h"
#include "zrun/serve.h"

struct call {
	struct watch watch;
	int fd; /* -1 while no request is under way */
	struct zrun_request request;
	void (*done)(struct call *, const struct zrun_reply *);
};

void call_init(struct call *call);
static inline bool call_busy(const struct call *call)
{
	return call->fd >= 0;
}

/* Sends call->request (its head is filled here) with memfd, unless -1, which
 * stays the caller's. `done` is called later with the reply, or with one made
 * up here (error -ECONNRESET and a text) when serve went away; the next
 * request may be sent from it. 0, or -errno when nothing was sent. */
int call_send(struct loop *loop, struct call *call, uint32_t verb, int memfd);

#endif
