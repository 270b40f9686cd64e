/* znode exec: one more process in a container, as its own is, on our
 * descriptors. zrun serve starts it and init is its parent: how it ended is
 * asked there, and then forgotten. */
#define _GNU_SOURCE
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <yyjson.h>

#include "base/fd.h"
#include "base/loop.h"
#include "base/span.h"
#include "init/init.h"
#include "zrun/serve.h"

#include "client.h"

enum { ANSWER_MS = 30000, CONFIG_MAX = 1 << 20 };

struct exec {
	char id[ZRUN_ID_SIZE];
	uint32_t n;  /* of init's key */
	int process; /* memfd */
	int pidfd;
};

/* The process of the container's config, with other arguments. */
static int process_make(struct exec *e, int config, char **argv)
{
	autofree char *text = NULL, *made = NULL;
	size_t size, made_size = 0;
	yyjson_mut_doc *d = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *process, *args;
	yyjson_doc *whole;
	int r = memfd_read(config, CONFIG_MAX, &text, &size);

	whole = r < 0 ? NULL : yyjson_read(text, size, 0);
	process = yyjson_val_mut_copy(
		d, yyjson_obj_get(yyjson_doc_get_root(whole), "process"));
	yyjson_mut_obj_remove_key(process, "args");
	args = yyjson_mut_obj_add_arr(d, process, "args");
	for (; *argv; argv++)
		yyjson_mut_arr_add_str(d, args, *argv);
	yyjson_mut_doc_set_root(d, process);
	made = yyjson_mut_write(d, 0, &made_size);
	yyjson_mut_doc_free(d);
	yyjson_doc_free(whole);
	if (r < 0 || !made)
		return r < 0 ? r : -EBADMSG;
	e->process = memfd_sealed("process.json", made, made_size);
	return e->process < 0 ? e->process : 0;
}

static int start(struct exec *e, struct zrun_reply *reply)
{
	const int sent[] = { e->process, 0, 1, 2 };
	struct zrun_request q = { .head = { sizeof(q), ZRUN_EXEC } };
	int r = -EEXIST;

	text_copy(q.id, sizeof(q.id), e->id);
	/* The last number is that of probes. */
	for (q.arg = 1; r == -EEXIST && q.arg < ZRUN_EXECS_MAX; q.arg++) {
		autoclose int sock = ipc_connect("zrun");
		struct ipc_fds fds = { 0 };

		if (sock < 0)
			return sock;
		r = ipc_call(sock, &q, sizeof(q), sent, 4, reply,
			     sizeof(*reply), &fds, ANSWER_MS);
		if (r == 0)
			r = reply->error;
		if (r == 0) {
			e->n = q.arg;
			e->pidfd = ipc_fds_take(&fds, 0);
		}
		ipc_fds_close(&fds);
	}
	return r;
}

/* Signals that we get are its. */
static void wait_end(const struct exec *e, int signals)
{
	struct pollfd p[] = { { .fd = e->pidfd, .events = POLLIN },
			      { .fd = signals, .events = POLLIN } };
	uint8_t info[128]; /* struct signalfd_siginfo begins with its number */
	uint32_t number;

	while (!(p[0].revents & POLLIN)) {
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			return;
		if (!(p[1].revents & POLLIN) ||
		    read(signals, info, sizeof(info)) != sizeof(info))
			continue;
		memcpy(&number, info, sizeof(number));
		syscall(SYS_pidfd_send_signal, e->pidfd, (int)number, NULL, 0);
	}
}

/* Once init has seen the end too it tells of it, among all that it holds; 255
 * where it does not. */
static int status_ask(const struct exec *e)
{
	struct init_request watch = { .head = { sizeof(watch), INIT_WATCH },
				      .key.kind = INIT_KIND_PIDFD };
	autoclose int sock = ipc_connect("init");
	struct init_event event = { 0 };

	if (sock < 0 || ipc_send(sock, &watch, sizeof(watch), NULL, 0) < 0)
		return 255;
	for (;;) {
		struct pollfd p = { .fd = sock, .events = POLLIN };
		struct ipc_fds fds = { 0 };
		int r = poll(&p, 1, ANSWER_MS) == 1
				? ipc_recv(sock, &event, sizeof(event), &fds)
				: -ETIMEDOUT;

		ipc_fds_close(&fds);
		if (r != 1)
			return 255;
		if (event.head.verb == INIT_EVENT_EXITED &&
		    event.key.n == e->n &&
		    strcmp(event.key.container, e->id) == 0)
			return event.exit_code == CLD_EXITED
				       ? event.exit_status
				       : 128 + event.exit_status;
	}
}

static void record_drop(const struct exec *e)
{
	struct init_request drop = { .head = { sizeof(drop), INIT_DROP },
				     .key = { .kind = INIT_KIND_PIDFD,
					      .n = e->n } };
	struct init_reply reply;
	autoclose int sock = ipc_connect("init");

	text_copy(drop.key.container, sizeof(drop.key.container), e->id);
	if (sock >= 0)
		ipc_call(sock, &drop, sizeof(drop), NULL, 0, &reply,
			 sizeof(reply), NULL, ANSWER_MS);
}

static int run(struct exec *e, int config, char **argv)
{
	static const int forwarded[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, 0 };
	struct zrun_reply reply = { 0 };
	int r = process_make(e, config, argv), status;

	if (r == 0)
		r = start(e, &reply);
	if (r < 0) {
		reply.text[sizeof(reply.text) - 1] = '\0';
		return client_complain(e->id, r == reply.error && reply.text[0]
						      ? reply.text
						      : strerror(-r));
	}
	autoclose int signals = signal_fd(forwarded);

	wait_end(e, signals);
	status = status_ask(e);
	record_drop(e);
	return status;
}

int client_exec(int argc, char **argv)
{
	struct exec e = { .process = -1, .pidfd = -1 };
	struct znode_reply reply = { 0 };
	struct ipc_fds fds = { 0 };
	int status;

	if (argc < 3)
		return 2;
	status = client_ask(ZNODE_INSPECT, argv[1], &reply, &fds);
	if (status)
		return status;
	text_copy(e.id, sizeof(e.id), reply.app.container);
	/* Also says that it was used just now, so it is not frozen before what
	 * is executed is known. */
	if (reply.app.reactive || reply.app.state == ZNODE_FROZEN ||
	    reply.app.state == ZNODE_ASLEEP)
		status = client_ask(ZNODE_THAW, argv[1], &reply, NULL);
	if (status == 0)
		status = reply.app.pid
				 ? run(&e, fds.fd[0], argv + 2)
				 : client_complain(argv[1], "it does not run");
	ipc_fds_close(&fds);
	fd_close(&e.process);
	fd_close(&e.pidfd);
	return status;
}
