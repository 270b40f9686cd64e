#define _GNU_SOURCE
#include "trust.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

__attribute__((format(printf, 3, 4))) static int refuse(
	char error[TRUST_ERROR_SIZE], int code, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(error, TRUST_ERROR_SIZE, fmt, args);
	va_end(args);
	return code;
}

/* The last certificate of a text in PEM. */
static struct span last_pem(struct span chain)
{
	static const char begin[] = "-----BEGIN CERTIFICATE-----";
	struct span last = { NULL, 0 };
	const char *p = chain.data, *end = chain.data + chain.size;

	while ((p = memmem(p, (size_t)(end - p), begin, sizeof(begin) - 1))) {
		last = (struct span){ p, (size_t)(end - p) };
		p += sizeof(begin) - 1;
	}
	return last;
}

/* What the root says of itself; that it is the pinned one is for the caller to
 * see. */
static int root_read(struct span chain, struct root *root,
		     char error[TRUST_ERROR_SIZE])
{
	struct chain_facts facts;
	struct chain *parsed = NULL;
	int r = chain.size > CHAIN_PEM_MAX ? -E2BIG : -EINVAL;

	root->pem = last_pem(chain);
	if (root->pem.data && r == -EINVAL)
		r = chain_read(root->pem, &parsed);
	if (!r) {
		r = chain_facts(parsed, 0, &facts);
		chain_free(parsed);
	}
	if (r)
		return refuse(error, r == -ENOMEM ? r : -EBADMSG,
			      "chain: no certificate in PEM at its end");
	memcpy(root->pin, facts.pin, sizeof(root->pin));
	return 0;
}

/* Checks the chain of this node up to its root. Dates do not matter: a node
 * whose certificate ran out goes on. */
static int chain_verify_own(struct span pem, const struct root *root,
			    struct chain_facts *leaf,
			    char error[TRUST_ERROR_SIZE])
{
	struct chain_trust by = { .use = CHAIN_USE_CLIENT };
	char why[CHAIN_ERROR_SIZE];
	struct chain *chain;
	int r = chain_read(pem, &chain);

	if (r)
		return refuse(error, r == -ENOMEM ? r : -EBADMSG,
			      "chain: broken, or more than %d certificates",
			      CHAIN_CERTS_MAX);
	memcpy(by.pin, root->pin, sizeof(by.pin));
	r = chain_check(chain, &by, leaf, why);
	chain_free(chain);
	return r ? refuse(error, r, "chain of this node: %s", why) : 0;
}

static int envelope_read(const struct offer *offer, const struct root *root,
			 struct desired *desired, char error[TRUST_ERROR_SIZE])
{
	struct envelope_trust trust = { .root = root->pem };
	char why[ENVELOPE_ERROR_SIZE];
	struct span payload;
	int r;

	_Static_assert((int)DESIRED_ERROR_SIZE <= (int)ENVELOPE_ERROR_SIZE,
		       "one buffer for both");
	memcpy(trust.pin, root->pin, sizeof(trust.pin));
	r = envelope_open(offer->envelope, ENVELOPE_DESIRED, &trust, &payload,
			  NULL, why);
	if (!r) {
		r = desired_parse(payload, desired, why);
		free((char *)(uintptr_t)payload.data);
		if (r == -EINVAL)
			r = -EBADMSG;
	}
	return r ? refuse(error, r, "%s", why) : 0;
}

static int check_newer(const struct trust *trust, const struct desired *d,
		       char error[TRUST_ERROR_SIZE])
{
	if (!trust->epoch && !trust->revision)
		return 0;
	if (desired_is_newer(d->epoch, d->revision, trust->epoch,
			     trust->revision))
		return 0;
	return refuse(error, -ESTALE,
		      "document %llu.%llu is not newer than %llu.%llu, which "
		      "is obeyed",
		      (unsigned long long)d->epoch,
		      (unsigned long long)d->revision,
		      (unsigned long long)trust->epoch,
		      (unsigned long long)trust->revision);
}

int trust_judge(const struct trust *trust, const struct offer *offer,
		struct root *root, struct desired *desired,
		char error[TRUST_ERROR_SIZE])
{
	struct chain_facts leaf;
	int r = root_read(offer->chain, root, error);

	if (r)
		return r;
	if (trust->pinned && memcmp(trust->pin, root->pin, CHAIN_PIN_SIZE) != 0)
		return refuse(error, -EKEYREJECTED,
			      "chain ends at another root than the pinned one: "
			      "to join another hub put its token into "
			      "node.json");
	r = chain_verify_own(offer->chain, root, &leaf, error);
	if (!r)
		r = envelope_read(offer, root, desired, error);
	if (r)
		return r;
	if (strcmp(leaf.name, desired->node) != 0)
		r = refuse(error, -EKEYREJECTED,
			   "document is for node %s, this is %s", desired->node,
			   leaf.name);
	else
		r = check_newer(trust, desired, error);
	if (r)
		desired_free(desired);
	return r;
}

int trust_reopen(const struct offer *offer, struct root *root,
		 struct desired *desired, char error[TRUST_ERROR_SIZE])
{
	int r = root_read(offer->chain, root, error);

	return r ? r : envelope_read(offer, root, desired, error);
}
