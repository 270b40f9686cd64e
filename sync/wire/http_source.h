/* Where the bytes of an outgoing body come from: struct http_body, in use. */
#ifndef WIRE_HTTP_SOURCE_H
#define WIRE_HTTP_SOURCE_H

#include "http.h"

struct source {
	struct http_body body;
	char *copy;	 /* of BYTES */
	uint64_t offset; /* already taken */
	void *user;	 /* for pull */
	bool ended;
};

/* Takes body over: its fd in every case, a copy of its bytes. 0 or -ENOMEM. */
int source_open(struct source *s, struct http_body body, void *user);
/* All bytes there will be, or -1: not known. */
int64_t source_length(const struct source *s);
/* Bytes into buf; 0: the end (s->ended is set, also together with the last
 * bytes where the length is known); -EAGAIN: paused; else broken: a file that
 * is shorter than it was said, a pull that ended too early or gave too much. */
ssize_t source_read(struct source *s, void *buf, size_t size);
void source_close(struct source *s);

#endif
