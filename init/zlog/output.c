#define _GNU_SOURCE
#include "output.h"

#include <errno.h>
#include <string.h>

#include "base/fd.h"
#include "base/init_watch.h"
#include "base/log.h"
#include "reader.h"
#include "source.h"

/* #syscalls: socket connect */

enum { ANSWER_MS = 5000 };

static void event_take(struct init_watch *w, struct init_event *e,
		       struct ipc_fds *fds)
{
	struct zlog_keep keep;

	(void)w;
	memcpy(&keep, e->note + ZLOG_KEEP_AT, sizeof(keep));
	if (e->head.verb == INIT_EVENT_ADDED && fds->n)
		reader_add(e->key.container, e->key.n, ipc_fds_take(fds, 0),
			   &keep);
	else if (e->head.verb == INIT_EVENT_GONE)
		reader_remove(e->key.container, e->key.n);
}

static struct init_watch outputs = {
	.kind = INIT_KIND_OUTPUT,
	.event = event_take,
	.lost = init_watch_again,
};

/* Row n of init's services; false past the last. */
static bool service_ask(int sock, uint32_t n)
{
	struct init_request request = {
		.head = { sizeof(request), INIT_SERVICE },
		.key.n = n,
	};
	struct init_service service;
	struct init_reply reply;

	if (ipc_call(sock, &request, sizeof(request), NULL, 0, &reply,
		     sizeof(reply), NULL, ANSWER_MS) < 0 ||
	    reply.error < 0)
		return false;
	memcpy(&service, reply.note, sizeof(service));
	service.name[sizeof(service.name) - 1] = '\0';
	source_service_add(service.name);
	return true;
}

static void services_learn(void)
{
	autoclose int sock = ipc_connect("init");
	uint32_t n = 0;

	while (sock >= 0 && service_ask(sock, n))
		n++;
}

int output_init(struct loop *loop)
{
	int error;

	services_learn();
	error = init_watch_open(&outputs, loop);
	if (error < 0)
		log_error("init.sock",
			  "%s: zlog runs under init, or "
			  "init --supervise",
			  strerror(-error));
	return error;
}
