/* The client's inside; private to http_client.c, http_call.c, http_dial.c. */
#ifndef WIRE_HTTP_CLIENT_CONN_H
#define WIRE_HTTP_CLIENT_CONN_H

#include <nghttp2/nghttp2.h>
#include <sys/socket.h>

#include "base/resolve.h"
#include "http.h"
#include "http_fields.h"
#include "http_source.h"
#include "transport.h"

enum {
	DIAL_HOST_SIZE = 254,
	CLIENT_HEADER_BYTES = 16384,
	CLIENT_WHY_SIZE = 300,
};

/* ---- http_dial.c: from "host:port" to addresses ---- */

struct dial {
	char host[DIAL_HOST_SIZE];
	uint16_t port;
	struct resolve resolve;
	int next; /* of its addresses */
};

/* -EINVAL. A literal address needs no resolver: resolve.n is 1 then. */
int dial_parse(struct dial *dial, const char *address);
/* Starts the resolver (base/resolve.h). 0 or -errno. */
int dial_resolve(struct dial *dial);
/* A socket that connects to the next address, or -errno; -ENOENT after the
 * last. */
int dial_connect(struct dial *dial);

/* ---- http_client.c, http_call.c ---- */

struct http_client {
	struct watch watch;
	struct timer work_timer, connect_timer, limit_timer;
	struct loop *loop;
	struct tls *tls;
	const struct http_client_on *on;
	void *user;
	uint32_t window_bytes;
	enum client_state {
		CLIENT_NEW,
		CLIENT_RESOLVING,
		CLIENT_CONNECTING,
		CLIENT_SHAKING,
		CLIENT_OPEN,
		CLIENT_CLOSED,
	} state;
	struct dial dial;
	char *session_offer;
	size_t session_offer_size;
	struct transport transport;
	nghttp2_session *session;
	const uint8_t *out;
	size_t out_size;
	struct http_call *calls, *dead_calls;
	bool busy, freed, going_away, closing;
	uint64_t heard_ms, pinged_ms;
	uint32_t ping_timeout_ms;
	char why[CLIENT_WHY_SIZE];
};

struct http_call {
	struct http_client *client;
	struct http_call *next, **prevp;
	int32_t id; /* -1 before it was submitted */
	const struct http_call_on *on;
	void *user;
	struct fields request, reply;
	struct source source;
	bool has_body, head_done, ended, over;
	int status;
	size_t unconsumed;
	struct timer timer;
	struct fetch *fetch;
};

/* Goes on from the loop: there is something to send. */
void client_work(struct http_client *client);
/* Around code that calls back, where the client may be freed meanwhile:
 *	bool busy = client_enter(client);
 *	...
 *	if (client_leave(client, busy)) return;   it is gone
 */
bool client_enter(struct http_client *client);
bool client_leave(struct http_client *client, bool was_busy);
/* Hands a call to the session. */
int call_submit(struct http_call *call);
/* Tells done() once; buried later. */
void call_over(struct http_call *call, int error);
void calls_bury(struct http_client *client);
/* nghttp2's callbacks. */
nghttp2_session_callbacks *call_callbacks(void);

#endif
