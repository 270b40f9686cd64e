#define _GNU_SOURCE
#include "ask.h"

#include <errno.h>
#include <stdio.h>

#include "base/log.h"
#include "devices.h"
#include "json.h"
#include "logs.h"
#include "observe.h"
#include "wish.h"

enum { ANSWER_MS = 15000 };

/* The name goes into a path. */
static bool stream_valid(const char *name)
{
	return strlen(name) == strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
					    "abcdefghijklmnopqrstuvwxyz"
					    "0123456789-_");
}

int ask_read(struct span json, struct ask *ask)
{
	yyjson_doc *doc = json.size ? yyjson_read(json.data, json.size, 0)
				    : NULL;
	yyjson_val *root = yyjson_doc_get_root(doc);
	uint64_t lines = yyjson_get_uint(yyjson_obj_get(root, "lines"));
	int err = member_text(root, "verb", ask->verb, sizeof(ask->verb));

	if (err == 0 && (member_text(root, "stream", ask->stream,
				     sizeof(ask->stream)) == -ENAMETOOLONG ||
			 !stream_valid(ask->stream)))
		err = -EBADMSG;
	member_text(root, "app", ask->app, sizeof(ask->app));
	member_text(root, "since", ask->since, sizeof(ask->since));
	ask->lines = (uint32_t)(lines < ASK_LINES_MAX ? lines : ASK_LINES_MAX);
	ask->follow = yyjson_get_bool(yyjson_obj_get(root, "follow"));
	yyjson_doc_free(doc);
	return err < 0 ? -EBADMSG : 0;
}

static void refused(void *user, int error, int status, struct span body)
{
	(void)user;
	(void)error;
	(void)status;
	(void)body;
}

void ask_answer(struct http_client *client, const char *name, int status,
		struct span body)
{
	char path[128];
	struct http_call_config config = {
		.method = "POST",
		.path = path,
		.timeout_ms = ANSWER_MS,
		.body = http_bytes(body),
	};

	snprintf(path, sizeof(path), "/v1/streams/%s?status=%d", name, status);
	http_fetch(client, &config, 4096, refused, NULL);
}

void ask_refuse(struct http_client *client, const char *name, int status,
		const char *line)
{
	char text[256];
	int n = snprintf(text, sizeof(text), "%s\n", line);

	ask_answer(client, name, status,
		   (struct span){ text, strnlen(text, (size_t)n) });
}

void ask_take(struct http_client *client, struct span json)
{
	char line[128];
	struct ask ask;

	if (ask_read(json, &ask) < 0) {
		log_warning("hub", "an ask that cannot be read");
	} else if (!strcmp(ask.verb, "observe")) {
		observe_now();
	} else if (!ask.stream[0]) {
		log_warning("hub",
			    "asks for \"%s\", which this version does "
			    "not know",
			    ask.verb);
	} else if (!strcmp(ask.verb, "logs")) {
		logs_open(client, &ask);
	} else if (!strcmp(ask.verb, "devices")) {
		devices_tell(client, ask.stream);
	} else if (wish_is(&ask)) {
		wish_open(client, &ask);
	} else {
		snprintf(line, sizeof(line),
			 "this node does not know the verb \"%s\"", ask.verb);
		ask_refuse(client, ask.stream, 400, line);
	}
}
