#define _GNU_SOURCE
#include "client.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <yyjson.h>

#include "base/fd.h"
#include "base/loop.h"
#include "base/span.h"
#include "zagent.h"

enum { ANSWER_MS = 5000 };

static const char usage[] =
	"usage: zagent                    run the daemon (init does)\n"
	"       zagent status [-o json]   how it stands with the hub\n"
	"The hub is the one whose enrolment token node.json on the ZOOID\n"
	"partition holds. Exit status: 0 done, 1 failed, 2 usage.\n";

static const char *const states[ZAGENT_STATE_COUNT] = {
	[ZAGENT_NONE] = "no hub",	    [ZAGENT_ENROLLING] = "enrolling",
	[ZAGENT_CONNECTING] = "connecting", [ZAGENT_CONNECTED] = "connected",
	[ZAGENT_REFUSED] = "refused",
};

static int complain(const char *object, const char *text)
{
	fprintf(stderr, "zagent: %s: %s\n", object, text);
	return 1;
}

static int ask(struct zagent_status *status)
{
	struct zagent_request request = {
		.head = { sizeof(request), ZAGENT_STATUS },
	};
	autoclose int fd = ipc_connect("zagent");
	struct zagent_reply reply;
	int err = fd;

	if (fd >= 0)
		err = ipc_call(fd, &request, sizeof(request), NULL, 0, &reply,
			       sizeof(reply), NULL, ANSWER_MS);
	if (err < 0)
		return complain("zagent.sock", err == -ENOENT
						       ? "zagent does not run "
							 "here"
						       : strerror(-err));
	*status = reply.status;
	return status->state < ZAGENT_STATE_COUNT
		       ? 0
		       : complain("zagent.sock", "an unknown state");
}

static uint64_t age_s(const struct zagent_status *status)
{
	uint64_t now = clock_boot_ms();

	return now > status->since_ms ? (now - status->since_ms) / 1000 : 0;
}

static int table(const struct zagent_status *s)
{
	printf("%-8s %s\n", "state", states[s->state]);
	if (s->state == ZAGENT_NONE)
		return 0;
	printf("%-8s %llu s\n", "for", (unsigned long long)age_s(s));
	printf("%-8s %s\n", "hub", s->hub[0] ? s->hub : "-");
	printf("%-8s %s\n", "name", s->name[0] ? s->name : "-");
	printf("%-8s %s\n", "node", s->node[0] ? s->node : "-");
	if (s->reason[0])
		printf("%-8s %s\n", "reason", s->reason);
	return 0;
}

static int json(const struct zagent_status *s)
{
	yyjson_mut_doc *d = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *o = yyjson_mut_obj(d);
	autofree char *text = NULL;

	yyjson_mut_doc_set_root(d, o);
	yyjson_mut_obj_add_str(d, o, "state", states[s->state]);
	yyjson_mut_obj_add_uint(d, o, "for_s", age_s(s));
	yyjson_mut_obj_add_str(d, o, "hub", s->hub);
	yyjson_mut_obj_add_str(d, o, "name", s->name);
	yyjson_mut_obj_add_str(d, o, "node", s->node);
	yyjson_mut_obj_add_str(d, o, "reason", s->reason);
	text = yyjson_mut_write(d, YYJSON_WRITE_PRETTY_TWO_SPACES, NULL);
	yyjson_mut_doc_free(d);
	if (!text)
		return complain("json", "out of memory");
	puts(text);
	return 0;
}

int client_main(int argc, char **argv)
{
	struct zagent_status status;
	int (*print)(const struct zagent_status *) = NULL;

	if (argc == 1 && (!strcmp(argv[0], "--help") ||
			  !strcmp(argv[0], "-h") || !strcmp(argv[0], "help"))) {
		fputs(usage, stdout);
		return 0;
	}
	if (argc == 1 && !strcmp(argv[0], "status"))
		print = table;
	else if (argc == 3 && !strcmp(argv[0], "status") &&
		 !strcmp(argv[1], "-o") && !strcmp(argv[2], "json"))
		print = json;
	if (!print) {
		fputs(usage, stderr);
		return 2;
	}
	return ask(&status) ? 1 : print(&status);
}
