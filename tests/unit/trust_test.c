/* Which desired documents a node believes (trust.h). */
#define _GNU_SOURCE
#include <errno.h>
#include <string.h>

#include "base/fd.h"
#include "node/trust.h"
#include "tap.h"
#include "wire/sign.h"
#include "wire_pki.h"

#define NODE "n-0123456789abcd"

static struct pki pki, other;

static char *document(const char *id, unsigned epoch, unsigned revision,
		      const char *apps)
{
	char *text = NULL;

	if (asprintf(&text,
		     "{\"node\":\"%s\",\"name\":\"n1\",\"epoch\":%u,"
		     "\"revision\":%u,\"registry\":\"hub\",\"apps\":[%s]}",
		     id, epoch, revision, apps) < 0)
		abort();
	return text;
}

static char *signed_by(const struct party *who, const char *payload)
{
	char *envelope;
	size_t size;

	if (envelope_sign(ENVELOPE_DESIRED, span_of(payload), who->key,
			  span_of(who->chain), &envelope, &size))
		abort();
	return envelope;
}

static void chain_of(const struct pki *p, const struct party *leaf,
		     char chain[5 * CERT_PEM_SIZE])
{
	pki_join(chain, 5 * CERT_PEM_SIZE, leaf->chain, p->root.pem);
}

/* What is made of a document that `by` signed, brought with the chain of
 * `leaf` in `organism`. */
static int judge(const struct trust *trust, const struct party *by,
		 const struct pki *organism, const struct party *leaf,
		 const char *payload)
{
	char chain[5 * CERT_PEM_SIZE], error[TRUST_ERROR_SIZE] = "";
	autofree char *envelope = signed_by(by, payload);
	struct offer offer = { .envelope = span_of(envelope) };
	struct desired desired;
	struct root root;
	int r;

	chain_of(organism, leaf, chain);
	offer.chain = span_of(chain);
	r = trust_judge(trust, &offer, &root, &desired, error);
	if (r)
		printf("# %s\n", error);
	else
		desired_free(&desired);
	return r;
}

static void believed_test(void)
{
	struct trust fresh = { 0 },
		     pinned = { .pinned = true, .epoch = 2, .revision = 5 };
	struct trust foreign = { .pinned = true };
	autofree char *mine = document(NODE, 2, 6, "");
	autofree char *same = document(NODE, 2, 5, "");
	autofree char *older = document(NODE, 1, 9, "");
	autofree char *epoch = document(NODE, 3, 1, "");
	autofree char *theirs = document("n-other", 2, 6, "");
	autofree char *odd = document(NODE, 2, 6, "{\"name\":\"x\"}");
	const struct {
		const char *name;
		const struct trust *trust;
		const struct party *by;
		const struct pki *organism;
		const struct party *leaf;
		const char *payload;
		int result;
	} rows[] = {
		{ "the first", &fresh, &pki.signer, &pki, &pki.node, mine, 0 },
		{ "a newer one", &pinned, &pki.signer, &pki, &pki.node, mine,
		  0 },
		{ "a new epoch", &pinned, &pki.signer, &pki, &pki.node, epoch,
		  0 },
		{ "the same again", &pinned, &pki.signer, &pki, &pki.node, same,
		  -ESTALE },
		{ "an older epoch", &pinned, &pki.signer, &pki, &pki.node,
		  older, -ESTALE },
		{ "another node's", &pinned, &pki.signer, &pki, &pki.node,
		  theirs, -EKEYREJECTED },
		{ "another root's", &pinned, &other.signer, &other, &other.node,
		  mine, -EKEYREJECTED },
		{ "our chain, signed by another", &pinned, &other.signer, &pki,
		  &pki.node, mine, -EKEYREJECTED },
		{ "another pin", &foreign, &pki.signer, &pki, &pki.node, mine,
		  -EKEYREJECTED },
		{ "signed by a node", &pinned, &pki.node, &pki, &pki.node, mine,
		  -EKEYREJECTED },
		{ "a server's chain", &fresh, &pki.signer, &pki, &pki.server,
		  mine, -EKEYREJECTED },
		{ "an app without image", &pinned, &pki.signer, &pki, &pki.node,
		  odd, -EBADMSG },
	};

	memcpy(pinned.pin, pki.pin, sizeof(pinned.pin));
	memcpy(foreign.pin, other.pin, sizeof(foreign.pin));
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		ok(judge(rows[i].trust, rows[i].by, rows[i].organism,
			 rows[i].leaf, rows[i].payload) == rows[i].result,
		   "%s", rows[i].name);
}

/* Certificates that ran out long ago change nothing. */
static void outdated_test(void)
{
	static const char *const node[] = { "uri:zooid:///n1", NULL };
	struct trust fresh = { 0 };
	struct party expired = { 0 };
	autofree char *mine = document(NODE, 1, 1, "");
	int64_t now = time(NULL), day = 86400;

	pki_issue(&expired, &pki.hub_ca, CHAIN_USE_CLIENT, NODE, node,
		  now - 490 * day, now - 400 * day);
	ok(judge(&fresh, &pki.signer, &pki, &expired, mine) == 0,
	   "a node whose certificate ran out obeys");
	cert_key_free(expired.key);
}

static void reopened_test(void)
{
	autofree char *payload = document(NODE, 1, 1, "");
	autofree char *envelope = signed_by(&pki.signer, payload);
	char error[TRUST_ERROR_SIZE];
	struct offer offer = { span_of(envelope), span_of(pki.root.pem) };
	struct desired desired;
	struct root root;
	int r = trust_reopen(&offer, &root, &desired, error);

	ok(r == 0 && desired.revision == 1 &&
		   memcmp(root.pin, pki.pin, sizeof(pki.pin)) == 0,
	   "a stored document by its own root");
	if (!r)
		desired_free(&desired);
	offer.chain = span_of(other.root.pem);
	ok(trust_reopen(&offer, &root, &desired, error) == -EKEYREJECTED,
	   "and by no other: %s", error);
	offer.chain = (struct span){ "", 0 };
	ok(trust_reopen(&offer, &root, &desired, error) == -EBADMSG,
	   "nor by none: %s", error);
	envelope[strlen(envelope) / 2] ^= 1;
	offer.chain = span_of(pki.root.pem);
	ok(trust_reopen(&offer, &root, &desired, error) < 0,
	   "a flipped bit: %s", error);
}

int main(void)
{
	pki_make(&pki);
	pki_make(&other);
	believed_test();
	outdated_test();
	reopened_test();
	pki_free(&pki);
	pki_free(&other);
	return tap_done();
}
