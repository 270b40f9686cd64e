/* HTTP over TLS on one event loop: a server that speaks HTTP/2 and HTTP/1.1
 * (by ALPN) through one interface, and a client that speaks HTTP/2.
 *
 * Nothing here blocks. Callbacks run from the loop; inside any of them every
 * function here may be called, on any object.
 *
 * Memory is bounded by struct http_limits, whoever is at the other end:
 *	idle connection	about 22 KB with a watch stream and the kernel's part
 *	busy connection	+ 26 KB of TLS buffers while bytes move
 *	request		header_bytes + window_bytes of body not yet consumed
 *			(if the handler keeps it) + 16 KB of reply in flight
 * A client that goes beyond a limit loses its stream or its connection, with
 * one log line a minute that counts them; no other client notices. */
#ifndef WIRE_HTTP_H
#define WIRE_HTTP_H

#include "base/loop.h"
#include "base/span.h"
#include "tls.h"

struct http_header {
	const char *name; /* lower case */
	const char *value;
};

/* ---- bodies that we send ---- */

/* Where the bytes of a body come from. All zero: no body. */
struct http_body {
	enum http_body_kind {
		HTTP_BODY_NONE,
		HTTP_BODY_BYTES, /* copied at once */
		HTTP_BODY_FILE,	 /* a range of fd, read as it is sent */
		HTTP_BODY_PULL,	 /* asked for as it can be sent */
	} kind;
	struct span bytes;
	int fd; /* FILE: becomes the wire's, closed in every case */
	uint64_t offset;
	/* FILE: exactly this many; PULL: or -1, unknown until pull returns 0.
	 */
	int64_t length;
	/* PULL: fills buf; user is that of the request or call. Returns the
	 * bytes (at least 1), 0 at the end, -EAGAIN (pauses until http_resume()
	 * or http_call_resume()), or another -errno, which breaks the stream.
	 * May be called again within http_resume(). */
	ssize_t (*pull)(void *user, void *buf, size_t size);
};

static inline struct http_body http_bytes(struct span bytes)
{
	return (struct http_body){ .kind = HTTP_BODY_BYTES, .bytes = bytes };
}

static inline struct http_body http_file(int fd, uint64_t offset,
					 uint64_t length)
{
	return (struct http_body){ .kind = HTTP_BODY_FILE,
				   .fd = fd,
				   .offset = offset,
				   .length = (int64_t)length };
}

static inline struct http_body http_pull(int64_t length,
					 ssize_t (*pull)(void *user, void *buf,
							 size_t size))
{
	return (struct http_body){ .kind = HTTP_BODY_PULL,
				   .length = length,
				   .pull = pull };
}

/* ---- server: requests ---- */

struct http_request;

/* What the handler of a request wants to hear; any may be NULL. */
struct http_request_on {
	/* Bytes of the body, free again when this returns. Each must be
	 * answered, now or later, by http_consumed(): the client may send no
	 * more than window_bytes beyond that. */
	void (*body)(struct http_request *request, struct span bytes);
	/* The body is complete (also called when there was none). */
	void (*end)(struct http_request *request);
	/* The request is over: replied to the last byte, or broken off by
	 * either side. Exactly once and last; frees what user points to.
	 * complete tells that the whole reply was handed to the kernel. */
	void (*gone)(struct http_request *request, bool complete);
};

/* One request. The wire owns it and all it points to until gone() returned. */
struct http_request {
	const char *method; /* "GET" */
	const char *path;   /* percent-decoded; "/a/b", no "//", "." or ".." */
	const char *query;  /* as it came, after '?'; or "" */
	const struct tls_peer *peer;
	const char *remote;	/* client's address, without port */
	int64_t content_length; /* -1: unknown or no body */
	bool http2;
	/* The handler's. */
	const struct http_request_on *on;
	void *user;
};

/* The value of a header field (name in lower case), or NULL. "host" is the
 * authority in HTTP/2 too. Several fields of one name: the first. */
const char *http_header(const struct http_request *request, const char *name);

/* The percent-decoded value of a query parameter in out, cut never: -ENOENT,
 * -ENAMETOOLONG, -EINVAL (bad escape, NUL). */
int http_query(const struct http_request *request, const char *name, char *out,
	       size_t size);

/* n bytes of the body were dealt with. */
void http_consumed(struct http_request *request, size_t n);

/* Replies, once a request, at any time before gone(), also before the body is
 * complete (the rest is then not wanted). Headers are copied; content-length
 * follows from the body; HEAD sends none. body.pull gets request->user.
 * 0, or -errno when the request is already replied to or too many headers
 * (HTTP_REPLY_HEADERS_MAX); a body's fd is closed in every case. */
int http_reply(struct http_request *request, int status,
	       const struct http_header *headers, size_t n,
	       struct http_body body);

enum { HTTP_REPLY_HEADERS_MAX = 16 };

/* The same with one content-type and bytes (copied); type may be NULL. */
int http_reply_bytes(struct http_request *request, int status, const char *type,
		     struct span bytes);

/* A pull that returned -EAGAIN has bytes now. No-op when not paused. */
void http_resume(struct http_request *request);

/* Its body follows something that may rest for hours, such as a log: stall_ms
 * is not for it. */
void http_patient(struct http_request *request);

/* Breaks the reply off (RST_STREAM or close), gone() follows before return. */
void http_abort(struct http_request *request);
/* Breaks off the whole connection and with it all of its requests: the
 * client's certificate was revoked. */
void http_disconnect(struct http_request *request);

/* clock_ms() when bytes, PING included, last came on its connection. */
uint64_t http_heard_ms(const struct http_request *request);

/* ---- server ---- */

/* Zero means the default, which is given. */
struct http_limits {
	uint32_t connections; /* 10000; beyond it the oldest idle or
			       * anonymous one goes, else the new one */
	uint32_t handshakes; /* 1024 unfinished at once, 35 KB each; others wait
			      */
	uint32_t streams;    /* 64 requests at once on a connection */
	uint32_t header_bytes; /* 16384, all fields of one request */
	uint32_t window_bytes; /* 262144 of one body not yet consumed */
	uint32_t handshake_ms; /* 10000 from its beginning to its end */
	uint32_t header_ms;    /* 10000 from first byte to end of headers */
	uint32_t stall_ms;     /* 60000 without progress of a body, either way,
				* a pull that pauses excepted */
	uint32_t idle_ms;      /* 120000 without a request */
	uint32_t silent_ms;    /* 800000 without a byte, though requests (watch
				* streams) are open */
	uint32_t floods;       /* 200 resets, pings, settings and the like that
				* may come at once; refilled by 20 a second */
};

struct http_server_config {
	struct loop *loop;
	struct tls *tls; /* the caller's, must live as long; NULL: plain
			  * HTTP/1.1, for tests and loopback */
	/* A request's headers are complete: set request->on and user, or reply.
	 * Neither is a 404. */
	void (*request)(struct http_request *request, void *user);
	void *user;
	struct http_limits limits;
};

struct http_stats {
	uint64_t connections; /* now */
	uint64_t requests;    /* now */
	uint64_t accepted, handshakes_full, handshakes_resumed,
		handshakes_failed, requests_done, refused_limits,
		refused_floods, timed_out, bytes_in, bytes_out;
};

struct http_server;

/* 0 or -ENOMEM. */
int http_server_new(const struct http_server_config *config,
		    struct http_server **server);
/* Accepts from listen_fd (non-blocking; stays the caller's) from now on. At
 * most four. */
int http_server_listen(struct http_server *server, int listen_fd);
const struct http_stats *http_server_stats(const struct http_server *server);
/* Stops accepting, sends GOAWAY and "connection: close"; drained(user) when the
 * last connection is gone or after timeout_ms, when the rest were cut. End
 * watch streams first: they count. */
void http_server_drain(struct http_server *server, uint32_t timeout_ms,
		       void (*drained)(void *user), void *user);
/* Cuts what is left; gone() of every request is called. */
void http_server_free(struct http_server *server);

/* ---- client: one HTTP/2 connection, many calls ---- */

struct http_client;
struct http_call;

struct http_client_on {
	/* TLS and HTTP/2 are up; the server is who it must be. */
	void (*open)(struct http_client *client);
	/* A new session to resume next time: keep the bytes (secret), give
	 * them in config.session. May be NULL. */
	void (*session)(struct http_client *client, struct span session);
	/* The answer to http_ping(). */
	void (*pong)(struct http_client *client, uint32_t round_trip_ms);
	/* The server said GOAWAY: calls in hand go on, new ones are refused
	 * with -ESHUTDOWN; dial a new connection beside it. May be NULL. */
	void (*goaway)(struct http_client *client);
	/* It is over, after done() of every call. error: 0 for an orderly end;
	 * -EKEYREJECTED and -EKEYEXPIRED are the server's certificate; -EACCES
	 * is ours, which the server refused; `why` is one line for the log.
	 * Exactly once unless http_client_free() comes first; free it here. */
	void (*closed)(struct http_client *client, int error, const char *why);
};

struct http_client_config {
	struct loop *loop;
	struct tls *tls; /* the caller's, must live as long */
	/* "host:port", "192.0.2.1:443", "[2001:db8::1]:443". A name is resolved
	 * by a short-lived child process, so the loop never waits for it. The
	 * certificate must carry the host. */
	const char *address;
	struct span session;   /* to resume, or empty */
	uint32_t open_ms;      /* 15000: until open() or closed(-ETIMEDOUT) */
	uint32_t window_bytes; /* 1 MB: reply bytes not yet consumed, a call */
	const struct http_client_on *on;
	void *user;
};

/* Starts to connect; open() or closed() follow, never before this returned.
 * 0, -EINVAL (address), -ENOMEM, -errno of socket(2). */
int http_client_new(const struct http_client_config *config,
		    struct http_client **client);
void *http_client_user(const struct http_client *client);
const struct tls_peer *http_client_peer(const struct http_client *client);
/* Sends PING; pong() or, after timeout_ms of silence, closed(-ETIMEDOUT). */
void http_ping(struct http_client *client, uint32_t timeout_ms);
/* Finishes the calls in hand, then closes; closed(0) follows. */
void http_client_close(struct http_client *client);
/* At once, silently: done() of every call is called with -ECANCELED, closed()
 * is not. */
void http_client_free(struct http_client *client);

/* ---- client: calls ---- */

struct http_call_on {
	/* The reply's status and headers are there. May be NULL. */
	void (*head)(struct http_call *call, int status);
	/* As http_request_on.body; answer by http_call_consumed(). NULL: the
	 * body is thrown away. */
	void (*body)(struct http_call *call, struct span bytes);
	/* Over: error 0 and the status, or -errno (-ECONNRESET, -ECANCELED,
	 * -ETIMEDOUT) with status 0 if none came. Exactly once and last. */
	void (*done)(struct http_call *call, int error, int status);
};

struct http_call_config {
	const char *method, *path;	   /* path with its query, encoded */
	const struct http_header *headers; /* copied */
	size_t n_headers;
	struct http_body body; /* pull gets user */
	/* From now to done(), 0: no limit (watch streams). */
	uint32_t timeout_ms;
	const struct http_call_on *on;
	void *user;
};

/* Starts a call; before open() it waits for that. No callback is called before
 * this returned. 0, -ESHUTDOWN (going away), -ENOMEM; a body's fd is closed in
 * every case. */
int http_call(struct http_client *client, const struct http_call_config *config,
	      struct http_call **call);
void *http_call_user(const struct http_call *call);
struct http_client *http_call_client(const struct http_call *call);
/* A header field of the reply, from head() on; or NULL. */
const char *http_call_header(const struct http_call *call, const char *name);
void http_call_consumed(struct http_call *call, size_t n);
/* The body's pull has bytes now. */
void http_call_resume(struct http_call *call);
/* Breaks it off; done(-ECANCELED) is called before this returns. */
void http_call_cancel(struct http_call *call);

/* Collects a whole small reply for a caller that wants no pieces: on and user
 * of config are not used. reply is called once, body is "" at worst and free
 * after it; at most max_bytes (-EFBIG beyond). */
int http_fetch(struct http_client *client,
	       const struct http_call_config *config, size_t max_bytes,
	       void (*reply)(void *user, int error, int status,
			     struct span body),
	       void *user);

#endif
