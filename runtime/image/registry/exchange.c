/* Besides what base/resolve.h needs, libcurl makes these system calls:
 *
 * #syscalls: socket connect setsockopt getsockname getpeername ioctl
 * #syscalls: getrandom shutdown eventfd2 uname
 */
#include "exchange.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

enum {
	CONNECT_MS = 15000,
	DOCUMENT_MS = 60000,
	/* A body that comes slower than that for so long will not end. */
	RATE_BYTES_S = 100,
	RATE_S = 15,
	BUFFER_BYTES = 64 << 10,
	RETRY_AFTER_MAX_S = 3600,
};

/* URLs */

struct origin {
	char *scheme, *host, *port;
};

static void origin_free(struct origin *o)
{
	curl_free(o->scheme);
	curl_free(o->host);
	curl_free(o->port);
}

static int origin_of(const char *url, unsigned flags, struct origin *o)
{
	CURLU *u = curl_url();
	int r = -EINVAL;

	*o = (struct origin){ 0 };
	if (!u)
		return -ENOMEM;
	if (strlen(url) < URL_MAX &&
	    curl_url_set(u, CURLUPART_URL, url, flags) == 0 &&
	    curl_url_get(u, CURLUPART_SCHEME, &o->scheme, 0) == 0 &&
	    curl_url_get(u, CURLUPART_HOST, &o->host, 0) == 0 &&
	    curl_url_get(u, CURLUPART_PORT, &o->port, CURLU_DEFAULT_PORT) == 0)
		r = 0;
	curl_url_cleanup(u);
	return r;
}

bool url_same_origin(const char *a, const char *b)
{
	struct origin first, second;
	bool same = origin_of(a, CURLU_DISALLOW_USER, &first) == 0;

	same = origin_of(b, CURLU_DISALLOW_USER, &second) == 0 && same &&
	       strcasecmp(first.scheme, second.scheme) == 0 &&
	       strcasecmp(first.host, second.host) == 0 &&
	       strcmp(first.port, second.port) == 0;
	origin_free(&first);
	origin_free(&second);
	return same;
}

bool url_is_https(const char *url)
{
	return strncasecmp(url, "https://", 8) == 0;
}

/* Host without brackets, and port, that will be dialled. */
static int exchange_target(struct exchange *e, const struct exchange_request *q)
{
	struct origin o;
	uint64_t port = 0;
	int r = q->proxy ? origin_of(q->proxy, 0, &o)
			 : origin_of(q->url, CURLU_DISALLOW_USER, &o);
	struct span host;

	if (r == 0) {
		host = span_of(o.host);
		if (host.size > 2 && host.data[0] == '[')
			host = (struct span){ host.data + 1, host.size - 2 };
		if (span_copy(e->host, sizeof(e->host), host) < 0 ||
		    span_u64(span_of(o.port), 65535, &port) < 0 || port == 0)
			r = -EINVAL;
	}
	e->port = (uint16_t)port;
	origin_free(&o);
	return r;
}

/* Callbacks of libcurl */

static bool field_is(struct span line, const char *name, struct span *value)
{
	size_t n = strlen(name);

	if (line.size <= n || strncasecmp(line.data, name, n) != 0 ||
	    line.data[n] != ':')
		return false;
	*value = (struct span){ line.data + n + 1, line.size - n - 1 };
	while (value->size && (*value->data == ' ' || *value->data == '\t')) {
		value->data++;
		value->size--;
	}
	while (value->size && value->data[value->size - 1] <= ' ')
		value->size--;
	return true;
}

/* Seconds; a date, which some send, is not worth a calendar. */
static unsigned retry_after(struct span value)
{
	uint64_t seconds;

	if (span_u64(value, UINT64_MAX, &seconds) < 0)
		return 0;
	return seconds > RETRY_AFTER_MAX_S ? RETRY_AFTER_MAX_S
					   : (unsigned)seconds;
}

static size_t header_came(char *data, size_t one, size_t size, void *user)
{
	struct exchange *e = user;
	struct span line = { data, size }, value;

	(void)one;
	if (size > 5 && strncmp(data, "HTTP/", 5) == 0) {
		e->challenge = (struct challenge){ 0 };
		e->has_range = false;
		e->digest[0] = '\0';
		e->retry_after_s = 0;
	} else if (field_is(line, "WWW-Authenticate", &value)) {
		challenge_read(value, &e->challenge);
	} else if (field_is(line, "Content-Range", &value)) {
		e->has_range = content_range_parse(value, &e->range) == 0;
	} else if (field_is(line, "Docker-Content-Digest", &value)) {
		span_copy(e->digest, sizeof(e->digest), value);
	} else if (field_is(line, "Retry-After", &value)) {
		e->retry_after_s = retry_after(value);
	}
	return size;
}

static size_t body_came(char *data, size_t one, size_t size, void *user)
{
	struct exchange *e = user;

	(void)one;
	return e->body(e, data, size);
}

/* The request */

static int field_add(struct exchange *e, const char *name, const char *value)
{
	size_t size = strlen(name) + strlen(value) + 1;
	struct curl_slist *list;
	char *line = malloc(size);

	if (!line)
		return -ENOMEM;
	snprintf(line, size, "%s%s", name, value);
	list = curl_slist_append(e->fields, line);
	free(line);
	if (!list)
		return -ENOMEM;
	e->fields = list;
	return 0;
}

static int set_fields(struct exchange *e, const struct exchange_request *q)
{
	char range[32];
	int r = 0;

	if (q->accept)
		r = field_add(e, "Accept: ", q->accept);
	if (!r && q->bearer)
		r = field_add(e, "Authorization: Bearer ", q->bearer);
	curl_easy_setopt(e->easy, CURLOPT_HTTPHEADER, e->fields);
	if (q->user_password) {
		curl_easy_setopt(e->easy, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
		curl_easy_setopt(e->easy, CURLOPT_USERPWD, q->user_password);
	}
	if (q->offset > 0) {
		snprintf(range, sizeof(range), "%llu-",
			 (unsigned long long)q->offset);
		curl_easy_setopt(e->easy, CURLOPT_RANGE, range);
	}
	return r;
}

static void set_limits(struct exchange *e, const struct exchange_request *q)
{
	curl_easy_setopt(e->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
	if (q->document)
		curl_easy_setopt(e->easy, CURLOPT_TIMEOUT_MS,
				 (long)DOCUMENT_MS);
	curl_easy_setopt(e->easy, CURLOPT_LOW_SPEED_LIMIT, (long)RATE_BYTES_S);
	curl_easy_setopt(e->easy, CURLOPT_LOW_SPEED_TIME, (long)RATE_S);
	curl_easy_setopt(e->easy, CURLOPT_BUFFERSIZE, (long)BUFFER_BYTES);
	curl_easy_setopt(e->easy, CURLOPT_NOBODY, q->head ? 1L : 0L);
	curl_easy_setopt(e->easy, CURLOPT_PROTOCOLS_STR,
			 url_is_https(q->url) ? "https" : "http");
	curl_easy_setopt(e->easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(e->easy, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
}

static void set_tls(struct exchange *e, struct span ca)
{
	struct curl_blob blob = {
		.data = (void *)ca.data,
		.len = ca.size,
		.flags = CURL_BLOB_NOCOPY,
	};

	curl_easy_setopt(e->easy, CURLOPT_SSLVERSION,
			 (long)CURL_SSLVERSION_TLSv1_2);
	if (ca.size > 0)
		curl_easy_setopt(e->easy, CURLOPT_CAINFO_BLOB, &blob);
}

static int set_all(struct exchange *e, const struct exchange_request *q)
{
	curl_easy_setopt(e->easy, CURLOPT_URL, q->url);
	/* "": none, whatever the environment says. */
	curl_easy_setopt(e->easy, CURLOPT_PROXY, q->proxy ? q->proxy : "");
	curl_easy_setopt(e->easy, CURLOPT_NOPROXY, "");
	curl_easy_setopt(e->easy, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
	curl_easy_setopt(e->easy, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(e->easy, CURLOPT_PRIVATE, e);
	curl_easy_setopt(e->easy, CURLOPT_ERRORBUFFER, e->error);
	curl_easy_setopt(e->easy, CURLOPT_USERAGENT, "zooid");
	curl_easy_setopt(e->easy, CURLOPT_HEADERFUNCTION, header_came);
	curl_easy_setopt(e->easy, CURLOPT_HEADERDATA, e);
	curl_easy_setopt(e->easy, CURLOPT_WRITEFUNCTION, body_came);
	curl_easy_setopt(e->easy, CURLOPT_WRITEDATA, e);
	set_limits(e, q);
	set_tls(e, q->ca);
	return set_fields(e, q);
}

static int add(struct exchange *e, const char *entry)
{
	if (entry) {
		e->names = curl_slist_append(NULL, entry);
		if (!e->names)
			return -ENOMEM;
		curl_easy_setopt(e->easy, CURLOPT_RESOLVE, e->names);
	}
	if (curl_multi_add_handle(e->client->multi, e->easy) != CURLM_OK)
		return -ENOMEM;
	e->added = true;
	return 0;
}

static void resolved(struct watch *w, uint32_t events)
{
	struct exchange *e = container_of(w, struct exchange, watch);
	struct loop *loop = e->client->loop;
	int pipe = e->resolve.pipe;

	(void)events;
	watch_del(loop, &e->watch);
	if (resolve_answer(&e->resolve) == -EAGAIN) {
		if (watch_add(loop, &e->watch, pipe, EPOLLIN) < 0)
			exchange_finished(e, CURLE_OUT_OF_MEMORY);
		return;
	}
	if (e->resolve.n == 0) {
		snprintf(e->error, sizeof(e->error),
			 "the name %s is not known here", e->host);
		exchange_finished(e, CURLE_COULDNT_RESOLVE_HOST);
		return;
	}
	client_name_keep(e->client, e->host, e->port, &e->resolve);
	if (add(e, client_name_find(e->client, e->host, e->port)) < 0)
		exchange_finished(e, CURLE_OUT_OF_MEMORY);
}

static int resolve(struct exchange *e)
{
	const char *entry = client_name_find(e->client, e->host, e->port);
	int r;

	if (entry || resolve_literal(&e->resolve, e->host, e->port))
		return add(e, entry);
	r = resolve_start(&e->resolve, e->host, e->port);
	e->watch.ready = resolved;
	return r ? r
		 : watch_add(e->client->loop, &e->watch, e->resolve.pipe,
			     EPOLLIN);
}

int exchange_start(struct exchange *e, const struct exchange_request *request)
{
	int r;

	e->easy = curl_easy_init();
	e->watch.fd = -1;
	e->resolve = (struct resolve){ .pipe = -1 };
	e->error[0] = '\0';
	if (!e->easy)
		return -ENOMEM;
	r = exchange_target(e, request);
	if (!r)
		r = set_all(e, request);
	if (!r)
		r = resolve(e);
	if (r)
		exchange_stop(e);
	return r;
}

void exchange_stop(struct exchange *e)
{
	if (!e->easy)
		return;
	watch_del(e->client->loop, &e->watch);
	resolve_stop(&e->resolve);
	if (e->added)
		curl_multi_remove_handle(e->client->multi, e->easy);
	e->added = false;
	curl_easy_cleanup(e->easy);
	e->easy = NULL;
	curl_slist_free_all(e->fields);
	curl_slist_free_all(e->names);
	e->fields = e->names = NULL;
}

/* done() reads the reply from the handle and then stops or starts anew. */
void exchange_finished(struct exchange *e, CURLcode code)
{
	if (e->added)
		curl_multi_remove_handle(e->client->multi, e->easy);
	e->added = false;
	e->done(e, code);
}

long exchange_status(struct exchange *e)
{
	long status = 0;

	curl_easy_getinfo(e->easy, CURLINFO_RESPONSE_CODE, &status);
	return status;
}

curl_off_t exchange_length(struct exchange *e)
{
	curl_off_t length = -1;

	curl_easy_getinfo(e->easy, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
	return length;
}

static int connect_errno(struct exchange *e)
{
	long number = 0;

	curl_easy_getinfo(e->easy, CURLINFO_OS_ERRNO, &number);
	switch (number) {
	case ECONNREFUSED:
	case ETIMEDOUT:
	case EHOSTUNREACH:
	case ENETUNREACH:
		return -(int)number;
	}
	return -ENOTCONN;
}

int exchange_errno(struct exchange *e, CURLcode code)
{
	switch (code) {
	case CURLE_OK:
		return 0;
	case CURLE_COULDNT_RESOLVE_HOST:
		return -EHOSTUNREACH;
	case CURLE_COULDNT_CONNECT:
		return connect_errno(e);
	case CURLE_OPERATION_TIMEDOUT:
		return -ETIMEDOUT;
	/* A handshake that was cut looks the same as one with a server that
	 * does not speak TLS. */
	case CURLE_SSL_CONNECT_ERROR:
		return -ENOTCONN;
	case CURLE_PARTIAL_FILE:
	case CURLE_GOT_NOTHING:
	case CURLE_RECV_ERROR:
	case CURLE_SEND_ERROR:
		return -ECONNRESET;
	case CURLE_OUT_OF_MEMORY:
		return -ENOMEM;
	default:
		return -EPROTO;
	}
}
