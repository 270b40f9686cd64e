/* Askers of the resolver who come by TCP (RFC 1035 4.2.2, RFC 7766): messages
 * with their size before them. See name_stream.c. */
#ifndef NET_NAME_STREAM_H
#define NET_NAME_STREAM_H

#include <stddef.h>
#include <stdint.h>

#include "base/loop.h"

struct tun;
struct name_stream;

void name_stream_init(struct loop *loop);

/* A stream socket on whose other end the resolver answers t; the caller's. Or
 * -errno: -ENOBUFS when there are too many. */
int name_stream_open(struct tun *t);

/* Answers the question that was asked last; s may be gone afterwards. */
void name_stream_reply(struct name_stream *s, const uint8_t *answer,
		       size_t size);

/* t is gone. */
void name_stream_end(struct tun *t);

#endif
