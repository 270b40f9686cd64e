/* The resolver that every container finds at NET_RESOLVER. See resolver.c. */
#ifndef NET_RESOLVER_PORT_H
#define NET_RESOLVER_PORT_H

#include "base/loop.h"
#include "packet.h"
#include "tun.h"

void resolver_init(struct loop *loop);

/* Whether key leads to the resolver. */
bool resolver_is(const struct key *key);

enum { RESOLVER_QUERY_MAX = 1024 };

struct name_stream;

/* Who asks: by datagram under key, or by a stream. */
struct asker {
	struct tun *tun;
	struct key key;
	struct name_stream *stream; /* or NULL */
};

/* Answers message, now or later, for all of a stream in turn. 0; -EBADMSG,
 * -ENOBUFS: there will be no answer. */
int resolver_ask(const struct asker *asker, const uint8_t *message,
		 size_t size);

/* s is gone: it needs no answer. */
void resolver_forget(const struct name_stream *s);

/* A datagram to the resolver. */
void resolver_input(struct tun *t, const struct packet *p);

/* t is gone. */
void resolver_end(struct tun *t);

#endif
