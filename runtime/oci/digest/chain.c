/* The library builds a path from the leaf to an anchor and verifies each
 * signature on it; then it hands us every certificate from the top down. Our
 * own rules are applied in that walk, so that a handshake and an envelope obey
 * the same ones:
 *
 *	anchor	trusted by the caller's list, or by the pin of its key
 *	dates	by the caller's clock, or not at all
 *	path	each URI lies beneath that of the CA above
 *	use	what the leaf may be used for, said by it explicitly
 *
 * The certificates are foreign; what they can cost is bounded by
 * CHAIN_CERTS_MAX signatures and CHAIN_PEM_MAX bytes. */
#include "chain.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <mbedtls/oid.h>
#include <mbedtls/sha256.h>
#include <mbedtls/x509_crt.h>

struct chain {
	mbedtls_x509_crt crt;
};

const struct mbedtls_x509_crt_profile chain_profile = {
	.allowed_mds = MBEDTLS_X509_ID_FLAG(MBEDTLS_MD_SHA256),
	.allowed_pks = MBEDTLS_X509_ID_FLAG(MBEDTLS_PK_ECKEY) |
		       MBEDTLS_X509_ID_FLAG(MBEDTLS_PK_ECDSA),
	.allowed_curves = MBEDTLS_X509_ID_FLAG(MBEDTLS_ECP_DP_SECP256R1),
	.rsa_min_bitlen = 4096, /* no RSA at all: allowed_pks */
};

#define PEM_BEGIN "-----BEGIN CERTIFICATE-----"

static size_t count_certificates(const char *pem)
{
	size_t n = 0;

	while ((pem = strstr(pem, PEM_BEGIN))) {
		pem += sizeof(PEM_BEGIN) - 1;
		n++;
	}
	return n;
}

int chain_read(struct span pem, struct chain **out)
{
	struct chain *chain;
	char *text;
	size_t n;
	int err;

	*out = NULL;
	if (pem.size == 0 || pem.size > CHAIN_PEM_MAX ||
	    memchr(pem.data, 0, pem.size))
		return -EINVAL;
	/* The library wants its PEM with a NUL. */
	text = strndup(pem.data, pem.size);
	chain = calloc(1, sizeof(*chain));
	if (!text || !chain) {
		free(text);
		free(chain);
		return -ENOMEM;
	}
	mbedtls_x509_crt_init(&chain->crt);
	n = count_certificates(text);
	err = n >= 1 && n <= CHAIN_CERTS_MAX ? 0 : -EINVAL;
	if (!err && mbedtls_x509_crt_parse(&chain->crt, (void *)text,
					   pem.size + 1) != 0)
		err = -EINVAL;
	free(text);
	if (err) {
		chain_free(chain);
		return err;
	}
	*out = chain;
	return 0;
}

void chain_free(struct chain *chain)
{
	if (!chain)
		return;
	mbedtls_x509_crt_free(&chain->crt);
	free(chain);
}

struct mbedtls_x509_crt *chain_crt(const struct chain *chain)
{
	return (mbedtls_x509_crt *)(uintptr_t)&chain->crt;
}

/* ---- facts ---- */

static int64_t seconds(const mbedtls_x509_time *t)
{
	struct tm tm = {
		.tm_year = t->year - 1900,
		.tm_mon = t->mon - 1,
		.tm_mday = t->day,
		.tm_hour = t->hour,
		.tm_min = t->min,
		.tm_sec = t->sec,
	};

	return timegm(&tm);
}

static int common_name(const mbedtls_x509_crt *crt, char name[CHAIN_NAME_SIZE])
{
	const mbedtls_asn1_named_data *n = mbedtls_asn1_find_named_data(
		&crt->subject, MBEDTLS_OID_AT_CN,
		MBEDTLS_OID_SIZE(MBEDTLS_OID_AT_CN));

	name[0] = '\0';
	if (!n)
		return 0;
	return span_copy(name, CHAIN_NAME_SIZE,
			 (struct span){ (char *)n->val.p, n->val.len });
}

/* RFC 5280, 4.2.1.6: uniformResourceIdentifier [6] IA5String. */
static int first_uri(const mbedtls_x509_crt *crt, char uri[CHAIN_URI_SIZE])
{
	const mbedtls_x509_sequence *s = &crt->subject_alt_names;

	uri[0] = '\0';
	for (; s && s->buf.p; s = s->next)
		if (s->buf.tag ==
		    (MBEDTLS_ASN1_CONTEXT_SPECIFIC |
		     MBEDTLS_X509_SAN_UNIFORM_RESOURCE_IDENTIFIER))
			return span_copy(
				uri, CHAIN_URI_SIZE,
				(struct span){ (char *)s->buf.p, s->buf.len });
	return 0;
}

static bool names_use(const mbedtls_x509_crt *crt, const char *oid, size_t size)
{
	const mbedtls_x509_sequence *s = &crt->ext_key_usage;

	for (; s && s->buf.p; s = s->next)
		if (s->buf.len == size && memcmp(s->buf.p, oid, size) == 0)
			return true;
	return false;
}

/* Only what is said counts: a certificate without usages is for nothing but
 * documents, and for those only without any usage of TLS. */
static uint8_t uses(const mbedtls_x509_crt *crt)
{
	uint8_t use = 0;

	if (mbedtls_x509_crt_get_ca_istrue(crt) == 1)
		return CHAIN_USE_ISSUE;
	if (!mbedtls_x509_crt_has_ext_type(crt, MBEDTLS_X509_EXT_KEY_USAGE) ||
	    mbedtls_x509_crt_check_key_usage(
		    crt, MBEDTLS_X509_KU_DIGITAL_SIGNATURE) != 0)
		return 0;
	if (!mbedtls_x509_crt_has_ext_type(crt,
					   MBEDTLS_X509_EXT_EXTENDED_KEY_USAGE))
		return CHAIN_USE_SIGN;
	if (names_use(crt, MBEDTLS_OID_SERVER_AUTH,
		      MBEDTLS_OID_SIZE(MBEDTLS_OID_SERVER_AUTH)))
		use |= CHAIN_USE_SERVER;
	if (names_use(crt, MBEDTLS_OID_CLIENT_AUTH,
		      MBEDTLS_OID_SIZE(MBEDTLS_OID_CLIENT_AUTH)))
		use |= CHAIN_USE_CLIENT;
	return use;
}

/* -EINVAL when a name or the serial is longer than we keep. */
static int read_facts(const mbedtls_x509_crt *crt, struct chain_facts *facts)
{
	const unsigned char *serial = crt->serial.p;
	size_t size = crt->serial.len;

	memset(facts, 0, sizeof(*facts));
	if (common_name(crt, facts->name) < 0 || first_uri(crt, facts->uri) < 0)
		return -EINVAL;
	while (size > 1 && *serial == 0)
		serial++, size--;
	if (size > CHAIN_SERIAL_SIZE)
		return -EINVAL;
	memcpy(facts->serial, serial, size);
	facts->serial_size = (uint8_t)size;
	facts->use = uses(crt);
	facts->not_before = seconds(&crt->valid_from);
	facts->not_after = seconds(&crt->valid_to);
	(void)mbedtls_sha256(crt->pk_raw.p, crt->pk_raw.len, facts->pin, 0);
	return 0;
}

int chain_facts(const struct chain *chain, size_t i, struct chain_facts *facts)
{
	const mbedtls_x509_crt *crt = &chain->crt;

	while (i-- > 0 && crt)
		crt = crt->next;
	return crt ? read_facts(crt, facts) : -ENOENT;
}

/* ---- checks ---- */

__attribute__((format(printf, 3, 4))) static void reject(
	struct chain_walk *walk, const struct chain_facts *facts,
	const char *fmt, ...)
{
	va_list ap;
	size_t n;

	if (walk->rejected)
		return;
	walk->rejected = true;
	n = (size_t)snprintf(walk->why, sizeof(walk->why),
			     "certificate \"%s\": ", facts->name);
	va_start(ap, fmt);
	vsnprintf(walk->why + n, sizeof(walk->why) - n, fmt, ap);
	va_end(ap);
}

static bool beneath(const char *uri, const char *constraint)
{
	size_t n = strlen(constraint);

	if (strncmp(uri, constraint, n) != 0)
		return false;
	return n == 0 || constraint[n - 1] == '/' || uri[n] == '\0' ||
	       uri[n] == '/';
}

/* A CA may leave its URI out only where none above it has one: it would
 * otherwise shed the constraint. So may a leaf that names no part of the
 * organism: a server. */
static void check_path(struct chain_walk *walk, const struct chain_facts *facts)
{
	bool may_lack = facts->use == CHAIN_USE_SERVER;

	if (facts->uri[0] ? !beneath(facts->uri, walk->constraint)
			  : walk->constraint[0] && !may_lack)
		reject(walk, facts, "its name \"%.60s\" is not beneath %.60s",
		       facts->uri, walk->constraint);
	if (facts->uri[0])
		text_copy(walk->constraint, sizeof(walk->constraint),
			  facts->uri);
}

static void check_dates(struct chain_walk *walk, uint32_t *flags,
			const struct chain_facts *facts)
{
	*flags &= ~(uint32_t)(MBEDTLS_X509_BADCERT_EXPIRED |
			      MBEDTLS_X509_BADCERT_FUTURE);
	if (!walk->now ||
	    (walk->now >= facts->not_before && walk->now <= facts->not_after))
		return;
	if (!walk->expired && !walk->rejected)
		snprintf(walk->why, sizeof(walk->why), "certificate \"%s\": %s",
			 facts->name,
			 walk->now < facts->not_before
				 ? "not valid yet: is the clock right?"
				 : "expired");
	walk->expired = true;
	*flags |= MBEDTLS_X509_BADCERT_EXPIRED;
}

static const char *flag_text(uint32_t flags)
{
	if (flags & MBEDTLS_X509_BADCERT_NOT_TRUSTED)
		return "does not lead to the pinned root";
	if (flags & MBEDTLS_X509_BADCERT_CN_MISMATCH)
		return "does not carry the address that was dialled";
	if (flags & (MBEDTLS_X509_BADCERT_BAD_MD | MBEDTLS_X509_BADCERT_BAD_PK |
		     MBEDTLS_X509_BADCERT_BAD_KEY))
		return "is not P-256 with SHA-256";
	return "is not valid";
}

int chain_step(void *context, struct mbedtls_x509_crt *crt, int depth,
	       uint32_t *flags)
{
	struct chain_walk *walk = context;
	struct chain_facts facts;
	uint32_t wrong;

	if (read_facts(crt, &facts) < 0) {
		reject(walk, &facts, "its names are too long");
		*flags |= MBEDTLS_X509_BADCERT_OTHER;
		return 0;
	}
	if (walk->pin && *flags & MBEDTLS_X509_BADCERT_NOT_TRUSTED &&
	    memcmp(facts.pin, walk->pin, CHAIN_PIN_SIZE) == 0)
		*flags &= ~(uint32_t)MBEDTLS_X509_BADCERT_NOT_TRUSTED;
	check_dates(walk, flags, &facts);
	wrong = *flags & ~(uint32_t)MBEDTLS_X509_BADCERT_EXPIRED;
	if (wrong)
		reject(walk, &facts, "%s", flag_text(wrong));
	check_path(walk, &facts);
	if (depth == 0) {
		if (!(facts.use & walk->use))
			reject(walk, &facts, "is not for this use");
		walk->leaf = facts;
	}
	if (walk->rejected)
		*flags |= MBEDTLS_X509_BADCERT_OTHER;
	return 0;
}

/* The root that the caller has, if its key is the pinned one. */
static int read_root(const struct chain_trust *trust, struct chain **root,
		     char error[CHAIN_ERROR_SIZE])
{
	struct chain_facts facts;
	int err;

	*root = NULL;
	if (trust->root.size == 0)
		return 0;
	err = chain_read(trust->root, root);
	if (!err)
		err = chain_facts(*root, 0, &facts);
	if (!err && memcmp(facts.pin, trust->pin, CHAIN_PIN_SIZE) != 0)
		err = -EKEYREJECTED;
	if (err)
		snprintf(error, CHAIN_ERROR_SIZE,
			 "the root certificate at hand is broken or not that "
			 "of the pin");
	return err;
}

int chain_check(const struct chain *chain, const struct chain_trust *trust,
		struct chain_facts *facts, char error[CHAIN_ERROR_SIZE])
{
	struct chain_walk walk = { .pin = trust->pin,
				   .now = trust->now,
				   .use = trust->use };
	struct chain *root;
	uint32_t flags = 0;
	int err = read_root(trust, &root, error);

	if (err) {
		chain_free(root);
		return err == -ENOMEM ? err : -EKEYREJECTED;
	}
	err = mbedtls_x509_crt_verify_with_profile(
		chain_crt(chain), root ? &root->crt : NULL, NULL,
		&chain_profile, trust->name, &flags, chain_step, &walk);
	chain_free(root);
	if (err && err != MBEDTLS_ERR_X509_CERT_VERIFY_FAILED)
		reject(&walk, &walk.leaf, "cannot be checked (%d)", err);
	else if (flags & ~(uint32_t)MBEDTLS_X509_BADCERT_EXPIRED)
		reject(&walk, &walk.leaf, "%s", flag_text(flags));
	if (facts)
		*facts = walk.leaf;
	snprintf(error, CHAIN_ERROR_SIZE, "%s", walk.why);
	if (walk.rejected)
		return -EKEYREJECTED;
	return walk.expired ? -EKEYEXPIRED : 0;
}

int chain_verify(const struct chain *chain, const struct span *parts, size_t n,
		 struct span signature)
{
	mbedtls_sha256_context sha;
	uint8_t hash[32];

	mbedtls_sha256_init(&sha);
	(void)mbedtls_sha256_starts(&sha, 0);
	for (size_t i = 0; i < n; i++)
		(void)mbedtls_sha256_update(&sha, (const void *)parts[i].data,
					    parts[i].size);
	(void)mbedtls_sha256_finish(&sha, hash);
	mbedtls_sha256_free(&sha);
	if (mbedtls_pk_verify((mbedtls_pk_context *)(uintptr_t)&chain->crt.pk,
			      MBEDTLS_MD_SHA256, hash, sizeof(hash),
			      (const void *)signature.data,
			      signature.size) != 0)
		return -EKEYREJECTED;
	return 0;
}
