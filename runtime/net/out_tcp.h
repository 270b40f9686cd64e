/* TCP connections that containers open to the world. See out_tcp.c. */
#ifndef NET_OUT_TCP_H
#define NET_OUT_TCP_H

#include "base/loop.h"
#include "buffer.h"
#include "packet.h"
#include "tun.h"

enum { OUT_TCP_MAX = 4096 };

void out_tcp_init(struct loop *loop);

/* A segment from container t, in buffer b. Returns b when it is not needed any
 * longer, else NULL. */
struct buffer *out_tcp_input(struct tun *t, struct packet *p, struct buffer *b);
/* To be called after one or more out_tcp_input(): takes to the world what they
 * brought. */
void out_tcp_carry(void);

/* There are sockets inside a container again: who waits for one tries. */
void out_tcp_retry(void);

/* t may be sent data again. */
void out_tcp_resume(struct tun *t);

/* t is there: it may open connections. */
void out_tcp_begin(struct tun *t);
/* t is gone: its connections end. */
void out_tcp_end(struct tun *t);

#endif
