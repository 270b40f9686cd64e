/* One get: the way from a request through challenges and redirects to bytes
 * that are what was asked for.
 *
 *	request -> 2xx      the document or blob, checked
 *		-> 401      once: a token from the service that it names, or the
 *			    credentials themselves; then request again
 *		-> 3xx      request there, without credentials unless it is the
 *			    registry itself; a few times
 *		-> all else an error
 *
 * The registry chose every byte of the replies. It must not make this read
 * without end (sizes and rates have limits), send credentials elsewhere, or
 * pass off other bytes (digests are compared, ranges and lengths checked). */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fd.h"

#include "remote_parts.h"

enum {
	REDIRECTS_MAX = 5,
	TOKEN_BODY_MAX = 64 << 10,
	REFUSAL_MAX = 64 << 10, /* of the body of an error, which is not read */
};

#define OCI    "application/vnd.oci.image."
#define DOCKER "application/vnd.docker.distribution.manifest."

static const char accept_manifests[] = OCI "index.v1+json, " OCI
					   "manifest.v1+json, " DOCKER
					   "list.v2+json, " DOCKER "v2+json";

struct remote_transfer {
	struct remote *remote;
	struct remote_get *get;
	struct exchange exchange;
	char *url; /* of the request in hand */
	unsigned redirects;
	bool foreign;	/* url is not the registry's: no credentials */
	bool answered;	/* the challenge: another 401 is the end */
	bool for_token; /* the exchange is with a token service */
	bool begun;
	uint64_t received; /* of the blob's body, of an error's too */
	char *body;	   /* of a document */
	size_t size, room;
	int error;     /* why the body was not taken */
	char why[160]; /* the same in words */
};

bool remote_is_transient(int error)
{
	switch (error) {
	case -EAGAIN:
	case -ECONNREFUSED:
	case -ECONNRESET:
	case -EHOSTUNREACH:
	case -ENETUNREACH:
	case -ENOTCONN:
	case -ETIMEDOUT:
		return true;
	}
	return false;
}

static void transfer_free(struct remote_transfer *t)
{
	exchange_stop(&t->exchange);
	t->get->transfer = NULL;
	free(t->url);
	free(t->body);
	free(t);
}

/* "HOST/REPOSITORY:latest: ", what all messages begin with. */
static size_t name_write(const struct remote_transfer *t, char *text,
			 size_t size)
{
	const struct remote_get *get = t->get;
	const struct remote *remote = t->remote;
	char digest[DIGEST_TEXT_SIZE];
	int n;

	digest_text(&get->digest, digest);
	if (get->what == REMOTE_BLOB)
		n = snprintf(text, size, "%s/%s: blob %.19s: ", remote->host,
			     remote->repository, digest);
	else
		n = snprintf(text, size, "%s/%s%s%.19s: ", remote->host,
			     remote->repository,
			     strchr(get->reference, ':') ? "@" : ":",
			     get->reference);
	return n < 0 || (size_t)n >= size ? size - 1 : (size_t)n;
}

static void end(struct remote_transfer *t, int error)
{
	struct remote_get *get = t->get;

	if (error && t->begun)
		get->offset += t->received;
	transfer_free(t);
	get->done(get, error);
}

__attribute__((format(printf, 3, 4))) static void fail(
	struct remote_transfer *t, int error, const char *fmt, ...)
{
	struct remote_get *get = t->get;
	size_t n = name_write(t, get->text, sizeof(get->text));
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(get->text + n, sizeof(get->text) - n, fmt, ap);
	va_end(ap);
	for (char *c = get->text; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 127)
			*c = '?';
	end(t, error);
}

/* Ends the body with an error; what a body callback returns then. */
__attribute__((format(printf, 3, 4))) static size_t refuse(
	struct remote_transfer *t, int error, const char *fmt, ...)
{
	va_list ap;

	t->error = error;
	va_start(ap, fmt);
	vsnprintf(t->why, sizeof(t->why), fmt, ap);
	va_end(ap);
	return CURL_WRITEFUNC_ERROR;
}

/* ----------------------------------------------------------- the request */

static int request(struct remote_transfer *t)
{
	const struct remote *remote = t->remote;
	struct exchange_request q = {
		.url = t->url,
		.ca = { remote->ca, remote->ca_size },
		.proxy = remote->proxy,
	};

	if (t->for_token) {
		q.document = true;
		q.user_password = remote->user_password;
	} else {
		q.head = t->get->what == REMOTE_HEAD;
		q.document = t->get->what != REMOTE_BLOB;
		q.accept = q.document ? accept_manifests : NULL;
		q.offset = q.document ? 0 : t->get->offset;
		if (!t->foreign) {
			q.bearer = remote_token(remote);
			q.user_password = remote->basic && !q.bearer
						  ? remote->user_password
						  : NULL;
		}
	}
	t->size = 0;
	t->received = 0;
	return exchange_start(&t->exchange, &q);
}

static void request_or_end(struct remote_transfer *t)
{
	int r = request(t);

	if (r)
		fail(t, r == -EINVAL ? -EPROTO : r, "%s",
		     r == -EINVAL ? "its address makes no sense"
				  : strerror(-r));
}

/* Turns to another URL (taken over) with a new exchange. */
static void turn(struct remote_transfer *t, char *url)
{
	exchange_stop(&t->exchange);
	free(t->url);
	t->url = url;
	if (url)
		request_or_end(t);
	else
		fail(t, -ENOMEM, "out of memory");
}

/* -------------------------------------------------------------- the body */

static size_t document_came(struct remote_transfer *t, const char *data,
			    size_t size, size_t max)
{
	size_t room = t->room ? t->room : 4096;
	char *body;

	if (size > max - t->size)
		return refuse(t, -E2BIG, "more than %zu KB of text", max >> 10);
	while (room < t->size + size + 1)
		room *= 2;
	if (room != t->room) {
		body = realloc(t->body, room);
		if (!body)
			return refuse(t, -ENOMEM, "out of memory");
		t->body = body;
		t->room = room;
	}
	memcpy(t->body + t->size, data, size);
	t->size += size;
	t->body[t->size] = '\0';
	return size;
}

/* What the header says of the bytes to come must fit what was asked for. */
static int blob_begin(struct remote_transfer *t)
{
	struct remote_get *get = t->get;
	const struct content_range *range = &t->exchange.range;
	curl_off_t length = exchange_length(&t->exchange);

	if (exchange_status(&t->exchange) != 206) {
		get->offset = 0;
	} else if (!t->exchange.has_range || range->first != get->offset ||
		   (range->total != RANGE_UNKNOWN &&
		    range->total != get->size) ||
		   range->last >= get->size) {
		refuse(t, -EBADMSG, "another range came than was asked for");
		return -EBADMSG;
	}
	if (length >= 0 && (uint64_t)length > get->size - get->offset) {
		refuse(t, -EBADMSG,
		       "%llu bytes are offered where %llu are to come",
		       (unsigned long long)length,
		       (unsigned long long)(get->size - get->offset));
		return -EBADMSG;
	}
	if (get->offset == 0)
		digest_begin(&get->hash);
	t->begun = true;
	return get->begin ? get->begin(get) : 0;
}

static size_t blob_came(struct remote_transfer *t, const char *data,
			size_t size)
{
	struct remote_get *get = t->get;
	int r = t->begun ? 0 : blob_begin(t);

	if (r)
		return t->error ? CURL_WRITEFUNC_ERROR
				: refuse(t, r, "%s", strerror(-r));
	if (size > get->size - get->offset - t->received)
		return refuse(t, -EBADMSG, "more bytes came than its size %llu",
			      (unsigned long long)get->size);
	r = get->data(get, data, size);
	if (r == REMOTE_PAUSE)
		return CURL_WRITEFUNC_PAUSE;
	if (r)
		return refuse(t, r, "%s", strerror(-r));
	digest_update(&get->hash, data, size);
	t->received += size;
	return size;
}

static size_t body_came(struct exchange *e, const char *data, size_t size)
{
	struct remote_transfer *t = container_of(e, struct remote_transfer,
						 exchange);
	long status = exchange_status(e);

	if (status < 200 || status > 299) {
		t->received += size;
		return t->received > REFUSAL_MAX ? CURL_WRITEFUNC_ERROR : size;
	}
	if (t->for_token)
		return document_came(t, data, size, TOKEN_BODY_MAX);
	if (t->get->what == REMOTE_BLOB)
		return blob_came(t, data, size);
	return document_came(t, data, size, IMAGE_DOCUMENT_MAX);
}

/* --------------------------------------------------------------- the end */

static void blob_done(struct remote_transfer *t)
{
	struct remote_get *get = t->get;
	struct digest_stream hash;
	struct digest found;
	uint64_t have;
	int r = t->begun ? 0 : blob_begin(t);

	if (r) {
		fail(t, r, "%s", t->error ? t->why : strerror(-r));
		return;
	}
	have = get->offset + t->received;
	if (have < get->size) {
		fail(t, -ECONNRESET, "cut after %llu of %llu bytes",
		     (unsigned long long)have, (unsigned long long)get->size);
		return;
	}
	hash = get->hash;
	found = digest_end(&hash);
	if (digest_equal(&found, &get->digest))
		end(t, 0);
	else
		fail(t, -EBADMSG, "its bytes have another digest");
}

static void manifest_done(struct remote_transfer *t)
{
	struct remote_get *get = t->get;
	const char *type = NULL;
	struct digest wanted;

	curl_easy_getinfo(t->exchange.easy, CURLINFO_CONTENT_TYPE, &type);
	if (type && span_copy(get->media_type, sizeof(get->media_type),
			      (struct span){ type, strcspn(type, "; ") }) < 0)
		get->media_type[0] = '\0';
	if (get->what == REMOTE_HEAD) {
		if (digest_parse(span_of(t->exchange.digest), &get->found) < 0)
			fail(t, -EPROTO, "its digest is not told");
		else
			end(t, 0);
		return;
	}
	get->found = digest_of(t->body ? t->body : "", t->size);
	if (digest_parse(span_of(get->reference), &wanted) == 0 &&
	    !digest_equal(&wanted, &get->found)) {
		fail(t, -EBADMSG, "its bytes have another digest");
		return;
	}
	if (!t->body) {
		fail(t, -EBADMSG, "empty");
		return;
	}
	get->document = ptr_take(&t->body);
	get->document_size = t->size;
	end(t, 0);
}

/* The token service answered: ask the registry again. */
static void token_done(struct remote_transfer *t)
{
	autofree char *token = malloc(TOKEN_SIZE);
	uint32_t expires_s;
	int r = token ? 0 : -ENOMEM;

	if (!r)
		r = token_parse(
			(struct span){ t->body ? t->body : "", t->size }, token,
			&expires_s);
	if (r == -EINVAL) {
		fail(t, -EPROTO, "the token service sent no token");
		return;
	}
	if (!r)
		r = remote_token_keep(t->remote, token, expires_s);
	if (r) {
		fail(t, r, "out of memory");
		return;
	}
	t->for_token = false;
	turn(t, remote_url(t->remote, t->get));
}

static void challenged(struct remote_transfer *t)
{
	const struct challenge *c = &t->exchange.challenge;
	struct remote *remote = t->remote;

	if (t->foreign || t->answered || t->for_token || remote->token_given) {
		fail(t, -EACCES, "%s",
		     t->for_token ? "the token service refuses it"
				  : "not allowed, or no such repository");
		return;
	}
	t->answered = true;
	if (c->bearer && c->realm[0]) {
		if (!remote->plain && !url_is_https(c->realm)) {
			fail(t, -EPROTO, "its token service has no TLS");
			return;
		}
		t->for_token = true;
		turn(t, remote_token_url(remote, c));
	} else if (c->basic && remote->user_password) {
		remote->basic = true;
		turn(t, remote_url(remote, t->get));
	} else {
		fail(t, -EACCES, "wants credentials");
	}
}

static void redirected(struct remote_transfer *t)
{
	const char *to = NULL;
	char *url;

	curl_easy_getinfo(t->exchange.easy, CURLINFO_REDIRECT_URL, &to);
	if (!to || t->redirects == REDIRECTS_MAX) {
		fail(t, -EPROTO, "%s",
		     to ? "redirected without end" : "redirected to nowhere");
		return;
	}
	if (url_is_https(t->url) && !url_is_https(to)) {
		fail(t, -EPROTO, "redirected from HTTPS to plain HTTP");
		return;
	}
	t->redirects++;
	/* Once away from the registry nothing earns its credentials again. */
	t->foreign = t->foreign || !url_same_origin(t->url, to);
	url = strdup(to);
	turn(t, url);
}

/* The part that is there does not fit: begin anew. */
static void unsatisfied(struct remote_transfer *t)
{
	t->get->offset = 0;
	turn(t, remote_url(t->remote, t->get));
}

static void busy(struct remote_transfer *t, long status)
{
	t->get->retry_after_s = t->exchange.retry_after_s;
	fail(t, -EAGAIN, "busy, status %ld", status);
}

static void refused(struct remote_transfer *t, long status)
{
	if (status == 401)
		challenged(t);
	else if (status >= 300 && status <= 399 && !t->for_token)
		redirected(t);
	else if (status == 403)
		fail(t, -EACCES, "not allowed");
	else if (status == 404)
		fail(t, t->for_token ? -EPROTO : -ENOENT, "%s",
		     t->for_token ? "no token service where it says"
				  : "not there");
	else if (status == 416 && !t->for_token && t->get->offset > 0)
		unsatisfied(t);
	else if (status == 408 || status == 429 || status >= 500)
		busy(t, status);
	else
		fail(t, -EPROTO, "status %ld", status);
}

static void exchange_done(struct exchange *e, CURLcode code)
{
	struct remote_transfer *t = container_of(e, struct remote_transfer,
						 exchange);
	long status = exchange_status(e);

	t->get->retry_after_s = 0;
	if (t->error)
		fail(t, t->error, "%s", t->why);
	else if (code != CURLE_OK && code != CURLE_WRITE_ERROR)
		fail(t, exchange_errno(e, code), "%s",
		     e->error[0] ? e->error : "the connection failed");
	else if (status < 200 || status > 299)
		refused(t, status);
	else if (t->for_token)
		token_done(t);
	else if (t->get->what == REMOTE_BLOB)
		blob_done(t);
	else
		manifest_done(t);
}

/* ------------------------------------------------------------- the public */

int remote_start(struct remote *remote, struct remote_get *get)
{
	struct remote_transfer *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return -ENOMEM;
	t->remote = remote;
	t->get = get;
	t->exchange.client = remote->client;
	t->exchange.body = body_came;
	t->exchange.done = exchange_done;
	get->transfer = t;
	get->text[0] = get->media_type[0] = '\0';
	get->document = NULL;
	t->url = remote_url(remote, get);
	r = t->url ? request(t) : -ENOMEM;
	if (r)
		transfer_free(t);
	return r;
}

void remote_cancel(struct remote_get *get)
{
	struct remote_transfer *t = get->transfer;

	if (!t)
		return;
	if (t->begun)
		get->offset += t->received;
	transfer_free(t);
}

void remote_resume(struct remote_get *get)
{
	if (get->transfer && get->transfer->exchange.added)
		curl_easy_pause(get->transfer->exchange.easy, CURLPAUSE_CONT);
}
