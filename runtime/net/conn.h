/* A container's TCP connection, ended by lwIP. No I/O: packets go in by
 * conn_input(), come out by the function given to conn_init(), and what has
 * happened meanwhile is read off struct conn by its owner, who finds the ones
 * that changed by conn_changed(). Nothing here calls back into the owner.
 *
 * lwIP looks connections up in one linear list. Here it has KEY_BUCKETS of
 * them: before lwIP is entered, the list of the bucket that the connection
 * hashes to is put into its place, afterwards it is taken out again, so what a
 * packet costs does not grow with the number of connections.
 *
 * Rule of use: the SYN is held by the owner until the destination has answered,
 * then conn_open(). When `reset` or `closed` is set, lwIP has forgotten the
 * connection. conn_leave() or conn_reset() ends the owner's part in any state.
 */
#ifndef NET_CONN_H
#define NET_CONN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "buffer.h"
#include "packet.h"

enum { CONN_TICK_MS = 50, CONN_QUIET_MS = 1000 };

struct tcp_pcb;

struct conn {
	struct tcp_pcb *pcb; /* NULL: lwIP has it no longer, or not yet */
	unsigned int bucket;
	uint16_t mss;	/* the container's */
	bool opened;	/* the handshake is done */
	bool finished;	/* the container has ended its stream */
	bool reset;	/* broken */
	bool closed;	/* both streams have ended, all was acknowledged */
	bool shut;	/* conn_shut() was called */
	bool ended;	/* and lwIP was told */
	bool is_queued; /* in the list of those that changed */
	bool owes_ack;	/* for more than one segment: conn_ack() */
	struct conn *next;
	struct buffer *in, **in_end; /* received, not yet taken */
	size_t in_size;
	unsigned int in_large; /* large buffers among them */
	size_t in_flight;      /* sent and not acknowledged */
	size_t acked;	       /* since conn_acked() was called */
};

/* A packet for a container: `iov` begins with its IP header of ip_size bytes,
 * followed by TCP's; segment_size, when it is not 0, is what the segments of
 * the container may hold. */
struct conn_packet {
	const struct iovec *iov;
	int n;
	size_t ip_size, tcp_size, segment_size;
	const uint8_t *destination; /* 16 bytes, v4 mapped */
};

/* `send` puts a packet onto the way to its container. `timer` is called when
 * a tick is needed within CONN_TICK_MS. */
void conn_init(void (*send)(const struct conn_packet *), void (*timer)(void));

/* Lets lwIP answer the SYN p, in buffer b, which becomes lwIP's. 0 or -ENOMEM.
 */
int conn_open(struct conn *c, struct packet *p, struct buffer *b);

/* A packet of any connection; b becomes lwIP's. c is NULL for one that was
 * left. What acknowledges more than one segment waits for conn_ack(). */
void conn_input(struct conn *c, struct packet *p, struct buffer *b);
/* To be called after one or more conn_input(). */
void conn_ack(struct conn *c);

/* Whether p is not ahead of what was received: it would wait in lwIP, out of
 * our sight, for what is missing. */
bool conn_in_order(const struct conn *c, const struct packet *p);

/* Received bytes, as up to n iovecs; how many of them there are. */
int conn_peek(const struct conn *c, struct iovec *iov, int n);
/* The first `size` of them are done with: the container may send more. */
void conn_take(struct conn *c, size_t size);
/* What stays waiting moves to small buffers where it can. */
void conn_compact(struct conn *c);

/* How many bytes may be given to conn_send() now, and in which pieces they
 * travel best. */
size_t conn_room(const struct conn *c);
size_t conn_piece(const struct conn *c);
/* The bytes stay where they are until acknowledged. 0 or -ENOMEM. */
int conn_send(struct conn *c, const uint8_t *data, size_t size);
/* To be called after one or more conn_send(). */
void conn_flush(struct conn *c);
/* How many bytes were acknowledged since the last call. */
size_t conn_acked(struct conn *c);

/* Ends our stream after what was sent. */
void conn_shut(struct conn *c);
/* The owner is done; lwIP closes properly what is open. */
void conn_leave(struct conn *c);
/* The container gets a reset. */
void conn_reset(struct conn *c);

/* The next one to which something has happened; NULL. */
struct conn *conn_changed(void);

/* The timers of lwIP. Returns in how many milliseconds it wants to be called
 * again: CONN_TICK_MS while something is on its way, CONN_QUIET_MS while there
 * are only idle connections, 0 when there are none. */
unsigned int conn_tick(uint64_t now_ms);

#endif
