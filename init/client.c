#define _GNU_SOURCE
#include "client.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/ipc.h"
#include "base/log.h"
#include "base/loop.h"
#include "base/output.h"

enum { ANSWER_MS = 5000, EXIT_REFUSED = 100 };

int client_ask(enum init_verb verb, uint32_t n, struct init_reply *reply)
{
	struct init_request request = {
		.head = { sizeof(request), verb },
		.key.n = n,
	};
	autoclose int sock = ipc_connect("init");

	if (sock < 0)
		return sock;
	return ipc_call(sock, &request, sizeof(request), NULL, 0, reply,
			sizeof(*reply), NULL, ANSWER_MS);
}

static const char *state_name(uint32_t state)
{
	static const char *const names[] = {
		[INIT_SERVICE_WAITING] = "waiting",
		[INIT_SERVICE_STARTING] = "starting",
		[INIT_SERVICE_READY] = "ready",
		[INIT_SERVICE_BACKOFF] = "back-off",
		[INIT_SERVICE_STOPPING] = "stopping",
		[INIT_SERVICE_DONE] = "done",
	};

	_Static_assert(sizeof(names) / sizeof(*names) ==
			       INIT_SERVICE_STATE_COUNT,
		       "a name each");
	return state < INIT_SERVICE_STATE_COUNT ? names[state] : "?";
}

static void service_print(FILE *out, const struct init_service *s)
{
	char pid[16] = "-";
	uint64_t age_s = (clock_boot_ms() - s->since_ms) / 1000;

	if (s->pid)
		snprintf(pid, sizeof(pid), "%" PRIu32, s->pid);
	fprintf(out, "%-12.24s %-9s %7s %7" PRIu32 " %8" PRIu64 " s%s%.96s\n",
		s->name, state_name(s->state), pid, s->starts, age_s,
		s->reason[0] ? "  " : "", s->reason);
}

int client_services_print(FILE *out)
{
	struct init_reply reply;
	struct init_service service;

	fprintf(out, "%-12s %-9s %7s %7s %10s  %s\n", "SERVICE", "STATE", "PID",
		"STARTS", "FOR", "LAST END");
	for (uint32_t n = 0;; n++) {
		int err = client_ask(INIT_SERVICE, n, &reply);

		if (err < 0)
			return err;
		if (reply.error)
			return reply.error == -ENOENT ? 0 : reply.error;
		memcpy(&service, reply.note, sizeof(service));
		service_print(out, &service);
	}
}

static int exit_code(int err)
{
	if (err == 0)
		return EXIT_SUCCESS;
	if (err == -EPERM || err == -EACCES) {
		log_error("init", "this is not yours to ask");
		return EXIT_REFUSED;
	}
	log_error("init",
		  err == -ENOENT || err == -ECONNREFUSED
			  ? "none runs here"
			  : "does not answer: %s",
		  strerror(-err));
	return EXIT_FAILURE;
}

int status_main(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	int code = exit_code(client_services_print(stdout));
	int err = output_flush();

	if (err < 0)
		log_error("standard output", "%s", strerror(-err));
	return err < 0 ? EXIT_FAILURE : code;
}

static int end(enum init_verb how)
{
	struct init_reply reply;
	int err = client_ask(how, 0, &reply);

	return exit_code(err < 0 ? err : reply.error);
}

int poweroff_main(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return end(INIT_POWEROFF);
}

int reboot_main(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return end(INIT_REBOOT);
}
