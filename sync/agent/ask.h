/* Asks of the hub, which come on the watch stream (sync(5), frame 3). */
#ifndef AGENT_ASK_H
#define AGENT_ASK_H

#include "wire/http.h"

enum { ASK_LINES_MAX = 100000 };

struct ask {
	char verb[32];
	char stream[64]; /* "" for verbs that answer otherwise */
	char app[64];
	uint32_t lines;
	char since[48]; /* since_read(); "": from the first on */
	bool follow;
};

/* Any bytes to an ask. 0, or -EBADMSG: not one that could be answered. */
int ask_read(struct span json, struct ask *ask);

/* Does what it says, or tells the hub that and why not. */
void ask_take(struct http_client *client, struct span json);

/* Answers on stream `name` with a status (200: well) and these bytes. */
void ask_answer(struct http_client *client, const char *name, int status,
		struct span body);

/* Answers on stream `name` with a status and one line. */
void ask_refuse(struct http_client *client, const char *name, int status,
		const char *line);

#endif
