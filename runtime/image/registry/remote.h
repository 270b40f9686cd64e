/* A client of OCI registries (distribution-spec 1.1, Docker's registry among
 * them), on a loop of base. Nothing here blocks, but names resolve in a child
 * (base/resolve.h).
 *
 * Rule of use: one remote_client a process, a struct remote for each repository
 * while it is needed, a struct remote_get embedded in whoever wants a document
 * or a blob. Callbacks come from the loop, never from remote_start(). In
 * begin() and data() no function of this header may be called; in done()
 * everything may, and what owns the get may be freed.
 *
 * The registry is not trusted: what it sends is bounded in size and time, and
 * is what was asked for only once done() says so. Credentials go to the
 * registry itself and, in the token flow, to the service that it names; never
 * to where it redirects. From HTTPS nothing leads to plain HTTP. */
#ifndef REGISTRY_REMOTE_H
#define REGISTRY_REMOTE_H

#include "base/loop.h"
#include "oci/image_descriptor.h"
#include "reference.h"

enum {
	REMOTE_TEXT_SIZE = 256,
	REMOTE_MEDIA_SIZE = 128,
	REMOTE_REFERENCE_SIZE = 136,
	/* What data() returns when it took nothing and wants to be called
	 * again after remote_resume(). */
	REMOTE_PAUSE = 1,
};

struct remote_client;
struct remote;

/* 0 or -errno. The loop outlives the client. */
int remote_client_open(struct loop *loop, struct remote_client **client);
/* Once no get is in flight and every remote is closed. NULL is allowed. */
void remote_client_close(struct remote_client *client);

/* How a repository is reached; all is copied. */
struct remote_source {
	const char *host;	/* as in a reference: HOST, HOST:PORT */
	const char *repository; /* "library/busybox" */
	bool plain;		/* HTTP without TLS */
	struct span ca;		/* PEM: whom to trust; not used when plain */
	const char *proxy;	/* "http://HOST:PORT" by which it is reached */
	/* For basic authentication and for token services, or NULL. */
	const char *user, *password;
	/* A bearer token for this registry alone, or NULL. */
	const char *token;
};

/* 0; -EINVAL when host, repository or a credential is malformed; -ENOMEM. */
int remote_open(struct remote_client *client,
		const struct remote_source *source, struct remote **remote);
/* Once none of its gets is in flight. NULL is allowed. */
void remote_close(struct remote *remote);

enum remote_what {
	REMOTE_MANIFEST, /* of an image, or an index */
	REMOTE_HEAD,	 /* its digest and media type alone */
	REMOTE_BLOB,
};

struct remote_transfer;

struct remote_get {
	/* Set by the caller; all else zero. */
	enum remote_what what;
	/* REMOTE_MANIFEST, REMOTE_HEAD: tag or "sha256:HEX". */
	char reference[REMOTE_REFERENCE_SIZE];
	/* REMOTE_BLOB: what its descriptor says. */
	struct digest digest;
	uint64_t size;
	/* REMOTE_BLOB: that many bytes are there already (less than size), hash
	 * is over them. After an error they tell how far it came: start again
	 * and it goes on from there. */
	uint64_t offset;
	struct digest_stream hash;
	/* REMOTE_BLOB: the first byte comes now. offset is where it belongs:
	 * what it was, or 0 when the registry begins anew. 0 or -errno, which
	 * ends it. May be NULL. */
	int (*begin)(struct remote_get *get);
	/* REMOTE_BLOB: the next bytes, in hash once it returned 0. -errno,
	 * REMOTE_PAUSE. */
	int (*data)(struct remote_get *get, const void *data, size_t size);
	/* Called once, last. error: 0, or
	 * -ENOENT	no such thing there
	 * -EACCES	not for these credentials
	 * -EBADMSG	what came is not what was asked for
	 * -E2BIG	a document over IMAGE_DOCUMENT_MAX
	 * -EPROTO	the other end does not speak the protocol, or its
	 *		certificate is not to be trusted
	 * what data() or begin() returned, or, worth trying again, -EAGAIN
	 * (busy: retry_after_s), -EHOSTUNREACH (name unknown),
	 * -ECONNREFUSED, -ECONNRESET (cut), -ETIMEDOUT, -ENOTCONN. */
	void (*done)(struct remote_get *get, int error);

	/* Results, valid in done(). */
	struct digest found;		    /* manifest, head: its digest */
	char media_type[REMOTE_MEDIA_SIZE]; /* manifest, head; "" if unsaid */
	/* manifest: NUL-terminated, for the owner to free. */
	char *document;
	size_t document_size;
	unsigned retry_after_s;	     /* 0: it did not say */
	char text[REMOTE_TEXT_SIZE]; /* one line when error is set */

	struct remote_transfer *transfer; /* private; NULL when idle */
};

/* Whether it is worth trying again after a pause. */
bool remote_is_transient(int error);

/* Begins; done() will be called. 0, or -errno when it could not begin: done()
 * is not called then. */
int remote_start(struct remote *remote, struct remote_get *get);
/* Ends it without done(); no-op when idle. */
void remote_cancel(struct remote_get *get);
/* After data() returned REMOTE_PAUSE; may call it at once. */
void remote_resume(struct remote_get *get);

#endif
