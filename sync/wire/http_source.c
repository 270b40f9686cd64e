#include "http_source.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fd.h"

int source_open(struct source *s, struct http_body body, void *user)
{
	*s = (struct source){ .body = body, .user = user };
	if (body.kind != HTTP_BODY_FILE)
		s->body.fd = -1;
	if (body.kind != HTTP_BODY_BYTES)
		return 0;
	s->body.length = (int64_t)body.bytes.size;
	if (body.bytes.size == 0)
		return 0;
	s->copy = malloc(body.bytes.size);
	if (!s->copy)
		return -ENOMEM;
	memcpy(s->copy, body.bytes.data, body.bytes.size);
	return 0;
}

int64_t source_length(const struct source *s)
{
	return s->body.kind == HTTP_BODY_NONE ? 0 : s->body.length;
}

static ssize_t read_more(struct source *s, void *buf, size_t size)
{
	ssize_t n;

	switch (s->body.kind) {
	case HTTP_BODY_BYTES:
		memcpy(buf, s->copy + s->offset, size);
		return (ssize_t)size;
	case HTTP_BODY_FILE:
		n = pread(s->body.fd, buf, size,
			  (off_t)(s->body.offset + s->offset));
		return n < 0 ? -errno : n;
	case HTTP_BODY_PULL:
		return s->body.pull(s->user, buf, size);
	case HTTP_BODY_NONE:
		break;
	}
	return 0;
}

ssize_t source_read(struct source *s, void *buf, size_t size)
{
	int64_t length = source_length(s);
	uint64_t left = length < 0 ? size : (uint64_t)length - s->offset;
	ssize_t n;

	if (s->ended || left == 0) {
		s->ended = true;
		return 0;
	}
	n = read_more(s, buf, left < size ? left : size);
	if (n < 0)
		return n;
	if ((uint64_t)n > left || (n == 0 && length >= 0))
		return -EPIPE;
	s->offset += (uint64_t)n;
	s->ended = n == 0 || (length >= 0 && s->offset == (uint64_t)length);
	return n;
}

void source_close(struct source *s)
{
	free(ptr_take(&s->copy));
	fd_close(&s->body.fd);
	s->ended = true;
}
