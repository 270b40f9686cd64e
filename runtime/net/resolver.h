/* The resolver that every container finds at NET_RESOLVER. See resolver.c. */
#ifndef NET_RESOLVER_PORT_H
#define NET_RESOLVER_PORT_H

#include "base/loop.h"
#include "packet.h"
#include "tun.h"

void resolver_init(struct loop *loop);

/* Whether key leads to the resolver. */
bool resolver_is(const struct key *key);

/* Where a TCP connection to it leads instead: a name server of the node. 0 or
 * -EHOSTUNREACH when it has none. */
int resolver_server(uint8_t address[16]);

/* A datagram to the resolver. */
void resolver_input(struct tun *t, const struct packet *p);

/* t is gone. */
void resolver_end(struct tun *t);

#endif
