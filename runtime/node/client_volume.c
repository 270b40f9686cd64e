/* Volumes, for a person on the node. They are zrun serve's, which root may ask
 * as well as znode. */
#define _GNU_SOURCE
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/span.h"
#include "zrun/serve.h"

#include "client.h"

enum { ANSWER_MS = 60000 };

static int ask(struct zrun_request *request, struct zrun_reply *reply)
{
	autoclose int sock = ipc_connect("zrun");
	int r = sock;

	request->head.size = sizeof(*request);
	if (r >= 0)
		r = ipc_call(sock, request, sizeof(*request), NULL, 0, reply,
			     sizeof(*reply), NULL, ANSWER_MS);
	if (r < 0)
		return r;
	reply->text[sizeof(reply->text) - 1] = '\0';
	return reply->error;
}

static int complain(int r, const struct zrun_reply *reply)
{
	if (r == -EACCES)
		return client_complain("volumes", "only root may do this");
	return client_complain("volumes", r == reply->error && reply->text[0]
						  ? reply->text
						  : strerror(-r));
}

/* What serve says of a volume; sizes are NULL where nobody counts. */
struct volume {
	char *name, *used, *limit;
};

static struct volume volume_read(char *text)
{
	struct volume v = { .name = strsep(&text, " ") };

	v.used = text ? strsep(&text, " ") : NULL;
	v.limit = text && strtoull(text, NULL, 10) != ULLONG_MAX ? text : NULL;
	return v;
}

static const char *megabytes(const char *bytes, char text[24])
{
	if (!bytes)
		return "-";
	snprintf(text, 24, "%.1f", (double)strtoull(bytes, NULL, 10) / 1e6);
	return text;
}

static void volume_print(const struct volume *v, bool json, bool first)
{
	char used[24], limit[24];

	if (json) {
		printf("%s{\"name\": \"%s\", \"used_bytes\": %s, "
		       "\"limit_bytes\": %s}",
		       first ? "[" : ",\n ", v->name,
		       v->used ? v->used : "null",
		       v->limit ? v->limit : "null");
		return;
	}
	if (first)
		printf("%-32s %10s %10s\n", "VOLUME", "MB", "LIMIT");
	printf("%-32s %10s %10s\n", v->name, megabytes(v->used, used),
	       megabytes(v->limit, limit));
}

int client_volumes(int argc, char **argv)
{
	struct zrun_request request = { .head.verb = ZRUN_VOLUMES };
	struct zrun_reply reply = { 0 };
	bool json = argc == 3 && !strcmp(argv[1], "-o") &&
		    !strcmp(argv[2], "json");
	int r;

	if (argc != 1 && !json)
		return 2;
	while ((r = ask(&request, &reply)) == 0) {
		struct volume v = volume_read(reply.text);

		/* Its name is of a-z, 0-9, - and . alone. */
		volume_print(&v, json, request.arg == 0);
		request.arg++;
	}
	if (r != -ENOENT)
		return complain(r, &reply);
	if (json)
		puts(request.arg ? "]" : "[]");
	return 0;
}

static int ask_about(int argc, char **argv, uint32_t verb,
		     struct zrun_reply *reply)
{
	struct zrun_request request = { .head.verb = verb };
	int r;

	if (argc != 2)
		return 2;
	if (text_copy(request.path, sizeof(request.path), argv[1]) >
	    ZRUN_VOLUME_NAME_MAX)
		return client_complain(argv[1], "no such volume");
	r = ask(&request, reply);
	return r < 0 ? complain(r, reply) : 0;
}

int client_snapshot(int argc, char **argv)
{
	struct zrun_reply reply = { 0 };
	int status = ask_about(argc, argv, ZRUN_SNAPSHOT, &reply);

	if (!status)
		puts(reply.text);
	return status;
}

int client_volume_remove(int argc, char **argv)
{
	struct zrun_reply reply = { 0 };
	int status = ask_about(argc, argv, ZRUN_VOLUME_REMOVE, &reply);

	if (!status)
		printf("%s removed\n", argv[1]);
	return status;
}
