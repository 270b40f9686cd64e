/* #syscalls: socket connect fstat pread64 lseek */
#define _GNU_SOURCE
#include "hub.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/fd.h"
#include "base/ipc.h"
#include "base/span.h"

enum { ANSWER_MS = 20000, ROOT_MAX = 64 << 10 };

void hub_ask_stop(struct hub_ask *ask)
{
	if (!ask->loop)
		return;
	watch_del(ask->loop, &ask->watch);
	timer_cancel(&ask->timer);
	fd_close(&ask->fd);
	ask->loop = NULL;
}

__attribute__((format(printf, 3, 4))) static void end(struct hub_ask *ask,
						      int error,
						      const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(ask->text, sizeof(ask->text), fmt, ap);
	va_end(ap);
	hub_ask_stop(ask);
	ask->done(ask, error);
}

static void late(struct timer *t)
{
	end(container_of(t, struct hub_ask, timer), -ETIMEDOUT,
	    "zagent does not answer");
}

/* zagent reads what the hub says: its bytes are checked where they are used,
 * here only that they are text. */
static void answered(struct hub_ask *ask, struct zagent_reply *reply,
		     struct ipc_fds *fds)
{
	autoclose int memfd = ipc_fds_take(fds, 0);
	int r = reply->error;

	reply->text[sizeof(reply->text) - 1] = '\0';
	reply->pull.registry[sizeof(reply->pull.registry) - 1] = '\0';
	reply->pull.token[sizeof(reply->pull.token) - 1] = '\0';
	if (r) {
		end(ask, r < 0 ? r : -EPROTO, "%s", reply->text);
		return;
	}
	ask->pull = reply->pull;
	if (memfd < 0)
		r = -EBADMSG;
	else
		r = memfd_read(memfd, ROOT_MAX, &ask->root, &ask->root_size);
	if (r)
		end(ask, r, "zagent sent no root certificate: %s",
		    strerror(-r));
	else
		end(ask, 0, "%s", "");
}

static void ready(struct watch *w, uint32_t events)
{
	struct hub_ask *ask = container_of(w, struct hub_ask, watch);
	struct zagent_reply reply;
	struct ipc_fds fds = { 0 };
	int r = ipc_recv(ask->fd, &reply, sizeof(reply), &fds);

	(void)events;
	if (r == 1 && reply.head.verb == ZAGENT_PULL_TOKEN)
		answered(ask, &reply, &fds);
	else if (r != -EAGAIN)
		end(ask, -ENOTCONN, "zagent went away while it was asked");
	ipc_fds_close(&fds);
}

int hub_ask(struct loop *loop, struct hub_ask *ask)
{
	struct zagent_request request = { .head = { sizeof(request),
						    ZAGENT_PULL_TOKEN } };
	autoclose int fd = ipc_connect("zagent");
	int r = fd < 0 ? -ENOTCONN
		       : ipc_send(fd, &request, sizeof(request), NULL, 0);

	if (r) {
		text_copy(ask->text, sizeof(ask->text),
			  "zagent does not run: no way to the hub");
		return r;
	}
	ask->watch.ready = ready;
	ask->timer.fire = late;
	r = watch_add(loop, &ask->watch, fd, EPOLLIN);
	if (r)
		return r;
	ask->loop = loop;
	ask->fd = fd_take(&fd);
	timer_set(loop, &ask->timer, ANSWER_MS);
	return 0;
}
