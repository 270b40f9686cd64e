/* The hub, asked by a person who waits: each call here runs the event loop
 * until the answer is there, the time is over, or Ctrl-C came.
 *
 * Every function that returns an exit code has printed its one line when that
 * is not EXIT_DONE; none is printed for EXIT_INTERRUPTED. */
#ifndef CTL_ASK_H
#define CTL_ASK_H

#include <yyjson.h>

#include "credential.h"
#include "ctl.h"
#include "wire/http.h"

enum { ASK_REPLY_MAX = 64 << 20, ASK_CONNECT_MS = 5000 };

struct ask {
	struct loop loop;
	struct credential credential;
	struct tls *tls;
	struct http_client *client; /* NULL when it is closed */
	const char *hub;	    /* HOST:PORT that answered */
	uint32_t timeout_ms;
	bool is_open, interrupted, resized, quiet;
	int error; /* why it closed */
	char why[512];
	struct watch signals, input;
};

/* Reads the credential and dials: each address of the hub in turn, 5 s each. */
int ask_open(struct ask *ask, const struct ctl *ctl);
void ask_close(struct ask *ask);
/* Dials anew after the connection was lost; prints nothing. */
int ask_again(struct ask *ask);

/* A request: `object` is what a failure is told of. Its body is a document, or
 * `size` bytes that pull gives (see http_body), or nothing. */
struct ask_request {
	const char *method, *path; /* the path is encoded */
	const char *object;
	yyjson_mut_doc *body; /* freed in every case */
	const char *type;     /* of other bodies */
	uint64_t size;
	ssize_t (*pull)(void *user, void *buf, size_t size);
	void *user;
};

/* Whether it is there: HEAD. EXIT_DONE with *there, or another code. */
int ask_head(struct ask *ask, const struct ask_request *request, bool *there);

/* Asks and reads the JSON of a 2xx reply, which the caller frees. *doc may be
 * NULL when the reply has none; doc may be NULL. */
int ask_json(struct ask *ask, const struct ask_request *request,
	     yyjson_doc **doc);
/* GET of an array `key`; the caller frees *doc. */
int ask_list(struct ask *ask, const char *path, const char *key,
	     yyjson_doc **doc, yyjson_val **list);

/* Reports a reply that is not 2xx (body: its {"error"}) or an error of the
 * wire; returns the exit code. */
int ask_failed(struct ask *ask, const char *object, int error, int status,
	       struct span body);

/* A reply that goes on: its bytes are given to `bytes` as they come, which
 * returns false to end it. */
struct ask_stream {
	const char *path, *object;
	bool (*bytes)(void *user, struct span bytes);
	void *user;
	/* Of ask_stream(). */
	struct ask *ask;
	bool over;
	int error, status;
	size_t n_head;
	char head[512]; /* of a reply that is none */
};

/* Starts it; it is over when stream->over. */
int ask_stream_start(struct ask *ask, struct ask_stream *stream,
		     struct http_call **call);
/* Runs it to its end; an end by bytes() is EXIT_DONE. */
int ask_stream(struct ask *ask, struct ask_stream *stream);

/* Appends text to path, percent-encoded where a path needs it. */
void ask_path_add(char *path, size_t size, const char *text);

#endif
