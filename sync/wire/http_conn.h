/* The server's inside: connections, their requests, and the two protocols that
 * carry them. Private to http_*.c.
 *
 * A protocol does no I/O. It is fed the bytes that came and asked for the bytes
 * to go; http_server.c moves them, keeps time and counts. Whatever a handler
 * calls only changes state here and puts the connection on the server's work
 * list, from where the loop goes on: so no handler finds its request gone when
 * a call returns, except by http_abort(). */
#ifndef WIRE_HTTP_CONN_H
#define WIRE_HTTP_CONN_H

#include "http.h"
#include "http_fields.h"
#include "http_source.h"
#include "transport.h"

struct conn;

struct stream {
	struct http_request request; /* first: the public part */
	struct conn *conn;
	struct stream *next, **prevp; /* in conn->streams or conn->dead */
	int32_t id;		      /* HTTP/2 */
	struct fields fields;
	struct source source; /* of the reply's body */
	char *target;	      /* path and query, decoded */
	int status;	      /* 0 until replied */
	bool dispatched;      /* the handler knows it */
	bool ended;	      /* its body is complete */
	bool gone;	      /* the handler was told */
	bool paused;	      /* its pull returned -EAGAIN */
	bool patient;	      /* its body may rest */
	bool too_large;	      /* its fields: 431 */
	bool head;	      /* a HEAD request */
	size_t unconsumed;    /* bytes of its body that the handler keeps */
	uint64_t progress_ms; /* when a byte of a body last moved */
	char *reply_head;     /* HTTP/1.1: status line and fields */
};

struct protocol {
	/* Takes all n bytes. 0, or -errno: close the connection. */
	int (*feed)(struct conn *conn, const uint8_t *bytes, size_t n);
	/* Up to size bytes to send; 0: none now; -errno: close. */
	ssize_t (*produce)(struct conn *conn, uint8_t *buf, size_t size);
	bool (*wants_read)(const struct conn *conn);
	/* No more to come nor to go: close once all is flushed. */
	bool (*finished)(const struct conn *conn);
	/* The reply of a stream is set, may go on, or is broken off. */
	int (*reply)(struct stream *stream, const struct http_header *headers,
		     size_t n);
	void (*resume)(struct stream *stream);
	void (*abort)(struct stream *stream);
	void (*consumed)(struct stream *stream, size_t n);
	void (*drain)(struct conn *conn);
	void (*free)(struct conn *conn);
};

extern const struct protocol http1, http2;
/* Make the engine; the caller sets conn->protocol after 0. */
int http1_start(struct conn *conn);
int http2_start(struct conn *conn);

struct conn {
	struct watch watch;
	struct http_server *server;
	struct transport transport;
	const struct protocol *protocol; /* NULL until TLS is up */
	void *engine;			 /* the protocol's */
	struct conn *next, **prevp;	 /* of the server */
	struct conn *work_next, *shake_next;
	bool on_work, on_shake;
	bool busy;     /* inside feed or produce */
	bool dead;     /* to be freed from the work list */
	bool lingers;  /* its handshake failed; until the peer has read why */
	bool draining; /* no new request */
	struct stream *streams, *dead_streams;
	uint32_t n_streams;
	uint64_t idle_ms;  /* since when there is no request */
	uint64_t heard_ms; /* last byte */
	uint64_t head_ms;  /* first byte of fields not yet complete, or 0 */
	uint64_t refill_ms;
	uint32_t flood; /* control frames that it may still send */
	char remote[48];
};

enum { LISTENERS_MAX = 4 };

struct listener {
	struct watch watch;
	struct http_server *server;
};

struct http_server {
	struct loop *loop;
	struct tls *tls;
	void (*request)(struct http_request *request, void *user);
	void *user;
	struct http_limits limits;
	struct http_stats stats;
	struct listener listeners[LISTENERS_MAX];
	unsigned n_listeners;
	struct conn *conns;
	uint32_t n_shaking;	       /* that have begun their TLS handshake */
	struct conn *work, **work_end; /* with something to do */
	uint32_t n_work;
	struct conn *shake, **shake_end; /* handshakes that can go on */
	struct timer work_timer, sweep_timer, drain_timer;
	bool draining;
	bool crowded; /* handshakes wait for others to end */
	void (*drained)(void *user);
	void *drained_user;
	uint64_t logged_ms; /* when refusals were last logged */
	uint64_t logged;    /* and how many by then */
};

/* ---- http_server.c ---- */

/* A connection without a descriptor when fd < 0: for the fuzzers. */
struct conn *conn_new(struct http_server *server, int fd);
/* Puts it on the work list. */
void conn_work(struct conn *conn);
void conn_kill(struct conn *conn);
void conn_free(struct conn *conn);
/* One control frame that costs us more than it costs the client; false: it
 * sent too many. */
bool conn_flood(struct conn *conn);

/* ---- http_request.c ---- */

struct stream *stream_new(struct conn *conn, int32_t id);
/* Its fields are complete: hands it to the handler. */
void stream_dispatch(struct stream *stream, const char *method,
		     const char *target);
void stream_body(struct stream *stream, const uint8_t *bytes, size_t n);
void stream_end(struct stream *stream);
/* It is over: tells the handler once, frees later. */
void stream_gone(struct stream *stream, bool complete);
void streams_bury(struct conn *conn);
/* Next bytes of its reply's body; as source_read(), and notes progress. */
ssize_t stream_read(struct stream *stream, uint8_t *buf, size_t size);

#endif
