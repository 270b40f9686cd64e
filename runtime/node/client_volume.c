/* Volumes, for a person on the node. They are zrun serve's, which root may ask
 * as well as znode. */
#include <errno.h>
#include <stdio.h>
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

int client_volumes(int argc, char **argv)
{
	struct zrun_request request = { .head.verb = ZRUN_VOLUMES };
	struct zrun_reply reply = { 0 };
	int r;

	(void)argv;
	if (argc != 1)
		return 2;
	while ((r = ask(&request, &reply)) == 0) {
		puts(reply.text);
		request.arg++;
	}
	return r == -ENOENT ? 0 : complain(r, &reply);
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
