/* One HTTP request and its reply, by libcurl on the loop; private to the
 * registry client.
 *
 * Every request gets a handle of its own: connections, TLS sessions and names
 * are kept by the client. Redirects and authentication are for the caller to
 * decide, so that nothing is sent to a host that it did not name. */
#ifndef REGISTRY_EXCHANGE_H
#define REGISTRY_EXCHANGE_H

#include <curl/curl.h>

#include "base/loop.h"
#include "base/resolve.h"

#include "fields.h"

enum {
	DIGEST_FIELD_SIZE = 80,
	NAME_SIZE = 254,
	NAMES_KEPT = 4,
	URL_MAX = 8192
};

/* A name that was resolved a moment ago, as CURLOPT_RESOLVE wants it:
 * HOST:PORT:ADDRESS,... */
struct remote_name {
	char host[NAME_SIZE];
	uint16_t port;
	uint64_t until_ms;
	char entry[NAME_SIZE + 8 + RESOLVE_ADDRESSES_MAX * 50];
};

struct remote_client {
	struct loop *loop;
	CURLM *multi;
	struct timer timer; /* libcurl's */
	bool reaping, closed;
	struct remote_name names[NAMES_KEPT];
};

/* client.c */
void client_name_keep(struct remote_client *client, const char *host,
		      uint16_t port, const struct resolve *resolve);
const char *client_name_find(struct remote_client *client, const char *host,
			     uint16_t port);

struct exchange_request {
	const char *url;	   /* lives until the end */
	struct span ca;		   /* lives until the end */
	const char *accept;	   /* or NULL */
	const char *bearer;	   /* token, or NULL */
	const char *user_password; /* "user:password", or NULL */
	const char *proxy;	   /* URL, or NULL */
	uint64_t offset;	   /* 0: all */
	bool head;
	bool document; /* short: limited as a whole, else by its rate */
};

struct exchange {
	/* Set by the owner once. */
	struct remote_client *client;
	/* A piece of the body; as CURLOPT_WRITEFUNCTION. */
	size_t (*body)(struct exchange *e, const char *data, size_t size);
	/* The end, from the loop; reply fields are valid until the next. */
	void (*done)(struct exchange *e, CURLcode code);

	/* The reply; status and length also while the body comes. */
	struct challenge challenge;
	struct content_range range;
	bool has_range;
	char digest[DIGEST_FIELD_SIZE]; /* Docker-Content-Digest */
	unsigned retry_after_s;		/* at most an hour; 0: not said */
	char error[CURL_ERROR_SIZE + 64];

	/* Private. */
	CURL *easy;
	struct curl_slist *fields, *names;
	bool added;
	char host[NAME_SIZE]; /* what is dialled: a proxy, if there is one */
	uint16_t port;
	struct resolve resolve;
	struct watch watch; /* of its pipe */
};

/* 0 or -errno; an earlier exchange is over. */
int exchange_start(struct exchange *e, const struct exchange_request *request);
/* Ends it without done(); no-op when idle. */
void exchange_stop(struct exchange *e);
void exchange_finished(struct exchange *e, CURLcode code);

long exchange_status(struct exchange *e);
/* Bytes of the body, -1 when the registry does not say. */
curl_off_t exchange_length(struct exchange *e);
/* What a failure means, as remote.h lists it. */
int exchange_errno(struct exchange *e, CURLcode code);

/* Whether both URLs lead to the same scheme, host and port. */
bool url_same_origin(const char *a, const char *b);
bool url_is_https(const char *url);

#endif
