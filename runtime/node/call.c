#define _GNU_SOURCE
#include "call.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"

/* znode has one loop; watches need it to be taken out again. */
static struct loop *call_loop;

void call_init(struct call *call)
{
	call->fd = -1;
	call->watch.fd = -1;
}

static void end(struct call *call, const struct zrun_reply *reply)
{
	watch_del(call_loop, &call->watch);
	fd_close(&call->fd);
	call->done(call, reply);
}

static void ready(struct watch *w, uint32_t events)
{
	struct call *call = container_of(w, struct call, watch);
	struct zrun_reply reply;
	int r = ipc_recv(call->fd, &reply, sizeof(reply), NULL);

	(void)events;
	if (r == -EAGAIN)
		return;
	if (r != 1 || reply.head.verb != call->request.head.verb) {
		memset(&reply, 0, sizeof(reply));
		reply.error = -ECONNRESET;
		snprintf(reply.text, sizeof(reply.text),
			 "zrun went away while it was asked");
	}
	reply.text[sizeof(reply.text) - 1] = '\0';
	reply.id[sizeof(reply.id) - 1] = '\0';
	end(call, &reply);
}

int call_send(struct loop *loop, struct call *call, uint32_t verb, int memfd)
{
	autoclose int fd = ipc_connect("zrun");
	int r;

	if (fd < 0)
		return fd;
	call->request.head.size = sizeof(call->request);
	call->request.head.verb = verb;
	r = ipc_send(fd, &call->request, sizeof(call->request), &memfd,
		     memfd >= 0 ? 1 : 0);
	if (r)
		return r;
	call_loop = loop;
	call->watch.ready = ready;
	r = watch_add(loop, &call->watch, fd, EPOLLIN);
	if (r)
		return r;
	call->fd = fd_take(&fd);
	return 0;
}
