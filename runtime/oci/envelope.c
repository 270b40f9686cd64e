/* What is verified is built from the very bytes that are handed out, never
 * from a second reading of the JSON: payload and type are decoded once, the
 * signature is checked over those, and the caller gets them. Fields that are
 * not known are ignored, as the specification asks; keyid is a hint and is not
 * looked at, since every signature brings its certificate. */
#define _GNU_SOURCE
#include "envelope.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <yyjson.h>

#include "base/base64.h"

enum { TYPE_MAX = 128 };

static struct span member(yyjson_val *object, const char *key)
{
	yyjson_val *v = yyjson_obj_get(object, key);

	if (!yyjson_is_str(v))
		return (struct span){ NULL, 0 };
	return (struct span){ yyjson_get_str(v), yyjson_get_len(v) };
}

/* Pre-authentication encoding, in the parts that are hashed. */
struct pae {
	char head[2 * TYPE_MAX];
	struct span parts[2];
};

static void pae_make(struct pae *pae, const char *type, struct span payload)
{
	int n = snprintf(pae->head, sizeof(pae->head), "DSSEv1 %zu %s %zu ",
			 strlen(type), type, payload.size);

	pae->parts[0] = (struct span){ pae->head, (size_t)n };
	pae->parts[1] = payload;
}

/* Who signed is checked before what: a chain that is not ours costs at most
 * its own verification. */
static int check_signature(yyjson_val *v, const struct pae *pae,
			   const struct envelope_trust *trust,
			   struct chain_facts *signer,
			   char error[ENVELOPE_ERROR_SIZE])
{
	struct chain_trust by = { .root = trust->root,
				  .now = trust->now,
				  .use = CHAIN_USE_SIGN };
	struct span text = member(v, "sig");
	unsigned char sig[CHAIN_SIGNATURE_SIZE];
	struct chain *chain;
	ssize_t n = base64_decode(text, sig, sizeof(sig));
	int err;

	memcpy(by.pin, trust->pin, sizeof(by.pin));
	if (n <= 0) {
		snprintf(error, ENVELOPE_ERROR_SIZE,
			 "envelope: \"sig\" is no base64 of a signature");
		return -EBADMSG;
	}
	err = chain_read(member(v, "cert"), &chain);
	if (err) {
		snprintf(error, ENVELOPE_ERROR_SIZE,
			 "envelope: \"cert\" is no PEM chain");
		return err == -ENOMEM ? err : -EBADMSG;
	}
	err = chain_check(chain, &by, signer, error);
	if (!err) {
		err = chain_verify(chain, pae->parts, 2,
				   (struct span){ (char *)sig, (size_t)n });
		if (err)
			snprintf(error, ENVELOPE_ERROR_SIZE,
				 "envelope: the signature of \"%s\" does not "
				 "fit its bytes",
				 signer->name);
	}
	chain_free(chain);
	return err;
}

static int check_signatures(yyjson_val *root, const struct pae *pae,
			    const struct envelope_trust *trust,
			    struct chain_facts *signer,
			    char error[ENVELOPE_ERROR_SIZE])
{
	yyjson_val *list = yyjson_obj_get(root, "signatures");
	size_t i, max;
	yyjson_val *v;
	int err = -EKEYREJECTED;

	snprintf(error, ENVELOPE_ERROR_SIZE, "envelope: no signature");
	if (yyjson_arr_size(list) > ENVELOPE_SIGNATURES_MAX) {
		snprintf(error, ENVELOPE_ERROR_SIZE,
			 "envelope: more than %d signatures",
			 ENVELOPE_SIGNATURES_MAX);
		return -EBADMSG;
	}
	yyjson_arr_foreach(list, i, max, v)
	{
		err = check_signature(v, pae, trust, signer, error);
		if (!err || err == -ENOMEM)
			return err;
	}
	return err;
}

static int open_root(yyjson_val *root, const char *type,
		     const struct envelope_trust *trust, struct span *payload,
		     struct chain_facts *signer,
		     char error[ENVELOPE_ERROR_SIZE])
{
	struct span text = member(root, "payload");
	struct pae pae;
	unsigned char *bytes;
	ssize_t n;
	int err;

	if (!span_is(member(root, "payloadType"), type)) {
		snprintf(error, ENVELOPE_ERROR_SIZE,
			 "envelope: not one of type %s", type);
		return -EBADMSG;
	}
	if (!text.data) {
		snprintf(error, ENVELOPE_ERROR_SIZE, "envelope: no payload");
		return -EBADMSG;
	}
	bytes = malloc(text.size * 3 / 4 + 1);
	if (!bytes)
		return -ENOMEM;
	n = base64_decode(text, bytes, text.size);
	if (n < 0) {
		snprintf(error, ENVELOPE_ERROR_SIZE,
			 "envelope: its payload is no base64");
		free(bytes);
		return -EBADMSG;
	}
	bytes[n] = '\0';
	pae_make(&pae, type, (struct span){ (char *)bytes, (size_t)n });
	err = check_signatures(root, &pae, trust, signer, error);
	if (err)
		free(bytes);
	else
		*payload = pae.parts[1];
	return err;
}

int envelope_open(struct span bytes, const char *type,
		  const struct envelope_trust *trust, struct span *payload,
		  struct chain_facts *signer, char error[ENVELOPE_ERROR_SIZE])
{
	struct chain_facts facts = { 0 };
	yyjson_doc *doc;
	int err;

	*payload = (struct span){ NULL, 0 };
	if (bytes.size > ENVELOPE_SIZE_MAX || strlen(type) > TYPE_MAX) {
		snprintf(error, ENVELOPE_ERROR_SIZE,
			 "envelope: %zu bytes, more than %d", bytes.size,
			 ENVELOPE_SIZE_MAX);
		return -E2BIG;
	}
	doc = yyjson_read(bytes.data, bytes.size, 0);
	if (!doc) {
		snprintf(error, ENVELOPE_ERROR_SIZE, "envelope: not JSON");
		return -EBADMSG;
	}
	err = open_root(yyjson_doc_get_root(doc), type, trust, payload, &facts,
			error);
	yyjson_doc_free(doc);
	if (signer)
		*signer = facts;
	return err;
}

int envelope_split(struct span text, struct span *pem, struct span *envelope)
{
	static const char end[] = "-----END CERTIFICATE-----\n";
	const char *p = memmem(text.data, text.size, end, sizeof(end) - 1);

	if (!p)
		return -EBADMSG;
	size_t n = (size_t)(p - text.data) + sizeof(end) - 1;

	*pem = (struct span){ text.data, n };
	*envelope = (struct span){ text.data + n, text.size - n };
	return 0;
}
