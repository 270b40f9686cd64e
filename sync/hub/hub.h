/* What a serving hub consists of, and what its files share. Only `serve` makes
 * one; every handler gets it. */
#ifndef HUB_HUB_H
#define HUB_HUB_H

#include <yyjson.h>

#include "blob.h"
#include "ca.h"
#include "config.h"
#include "fresh.h"
#include "store.h"
#include "wire/http.h"

struct cache;
struct node;
struct nodes;
struct streams;
struct upstreams;

/* Lets `rate` through a second and `burst` at once. */
struct limit {
	uint32_t rate, burst;
	uint64_t have_milli, at_ms;
};

bool limit_take(struct limit *limit);

struct hub {
	struct loop loop;
	int dir;
	int statm_fd; /* /proc/self/statm */
	int64_t started;
	struct config config;
	struct store *store;
	struct blobs *blobs;
	struct ca ca;
	struct tls *tls;
	struct http_server *server, *local;
	struct nodes *nodes;
	struct streams *streams;
	struct upstreams *upstreams;
	struct cache *cache;
	struct limit enrol, anonymous; /* of clients without certificate */
	struct node *dirty; /* nodes whose documents may be outdated */
	struct timer desired_turn;
	struct fresh fresh;
	bool draining;
};

/* ---- members of JSON that clients sent or the store holds ---- */

/* A string member without NUL bytes; "" when absent. -EINVAL, -ENAMETOOLONG. */
int member_text(yyjson_val *object, const char *key, char *out, size_t size);
/* A whole number; `otherwise` when absent. */
uint64_t member_u64(yyjson_val *object, const char *key, uint64_t otherwise);

/* The document under key of the store; NULL when there is none or it cannot be
 * read. The caller frees it with yyjson_doc_free(). */
yyjson_doc *stored_document(struct store *store, const char *key);
/* Puts doc under key and frees it. As store_put(). */
int stored_put(struct store *store, const char *key, yyjson_mut_doc *doc,
	       uint64_t if_revision);

/* ---- events: what happened, for operators ---- */

struct event {
	const char *what;	     /* "enrolled", "applied", ... */
	const char *node, *app, *by; /* each may be NULL */
	const char *text;
};

/* In the open round; and a log line once that is on stable storage. */
void event_add(struct hub *hub, const struct event *event);
/* Forgets all but the newest EVENTS_MAX. */
enum { EVENTS_MAX = 10000 };
void events_trim(struct hub *hub);

#endif
