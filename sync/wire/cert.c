/* Requests and certificates. Names that come from outside (of nodes, from
 * enrolment) go into a distinguished name and into alternative names: the
 * first is parsed from text by the library, so bytes with a meaning there are
 * refused; the second are counted strings. */
#define MBEDTLS_ALLOW_PRIVATE_ACCESS /* what a CSR signs, and its signature */
#include "cert.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <mbedtls/oid.h>
#include <mbedtls/sha256.h>
#include <mbedtls/x509_crt.h>
#include <mbedtls/x509_csr.h>

#include "key.h"

/* "CN=name" for the library's parser (RFC 4514): nothing that it would take
 * apart. */
static int subject_text(const char *name, char text[CHAIN_NAME_SIZE + 4])
{
	size_t n = strlen(name);

	if (n == 0 || n >= CHAIN_NAME_SIZE || name[0] == ' ' ||
	    name[0] == '#' || name[n - 1] == ' ')
		return -EINVAL;
	for (size_t i = 0; i < n; i++)
		if (name[i] < ' ' || name[i] > '~' ||
		    strchr(",+\"\\<>;=", name[i]))
			return -EINVAL;
	snprintf(text, CHAIN_NAME_SIZE + 4, "CN=%s", name);
	return 0;
}

/* ---- requests ---- */

int cert_request_make(const struct cert_key *key, const char *name,
		      char pem[CERT_PEM_SIZE])
{
	char subject[CHAIN_NAME_SIZE + 4];
	mbedtls_x509write_csr csr;
	int err = subject_text(name, subject);

	pem[0] = '\0';
	if (err)
		return err;
	mbedtls_x509write_csr_init(&csr);
	mbedtls_x509write_csr_set_md_alg(&csr, MBEDTLS_MD_SHA256);
	mbedtls_x509write_csr_set_key(&csr, key_pk(key));
	if (mbedtls_x509write_csr_set_subject_name(&csr, subject) != 0 ||
	    mbedtls_x509write_csr_pem(&csr, (void *)pem, CERT_PEM_SIZE,
				      wire_rng, NULL) != 0)
		err = -ENOMEM;
	mbedtls_x509write_csr_free(&csr);
	return err;
}

/* The library parses requests but leaves their signature to us. */
static int csr_verify(mbedtls_x509_csr *csr)
{
	uint8_t hash[32];

	if (csr->sig_md != MBEDTLS_MD_SHA256 || csr->sig_pk != MBEDTLS_PK_ECDSA)
		return -EINVAL;
	(void)mbedtls_sha256(csr->cri.p, csr->cri.len, hash, 0);
	if (mbedtls_pk_verify(&csr->pk, MBEDTLS_MD_SHA256, hash, sizeof(hash),
			      csr->sig.p, csr->sig.len) != 0)
		return -EKEYREJECTED;
	return 0;
}

static int csr_public(mbedtls_x509_csr *csr, struct cert_public *public)
{
	if (mbedtls_pk_get_type(&csr->pk) != MBEDTLS_PK_ECKEY ||
	    mbedtls_ecp_keypair_get_group_id(mbedtls_pk_ec(csr->pk)) !=
		    MBEDTLS_ECP_DP_SECP256R1)
		return -EINVAL;
	if (mbedtls_pk_write_pubkey_der(&csr->pk, public->der,
					CERT_PUBLIC_SIZE) != CERT_PUBLIC_SIZE)
		return -EINVAL;
	return 0;
}

int cert_request_read(struct span pem, struct cert_public *public)
{
	char text[CERT_PEM_SIZE];
	mbedtls_x509_csr csr;
	int err = -EINVAL;

	if (span_copy(text, sizeof(text), pem) < 0)
		return -EINVAL;
	mbedtls_x509_csr_init(&csr);
	if (mbedtls_x509_csr_parse(&csr, (void *)text, pem.size + 1) == 0)
		err = csr_public(&csr, public);
	if (!err)
		err = csr_verify(&csr);
	mbedtls_x509_csr_free(&csr);
	return err;
}

/* ---- issuing ---- */

struct san {
	mbedtls_x509_san_list node;
	uint8_t address[16];
};

/* One of "dns:NAME", "ip:ADDRESS", "uri:URI". */
static int san_parse(const char *text, struct san *san)
{
	mbedtls_x509_subject_alternative_name *to = &san->node.node;
	const char *value = strchr(text, ':');
	size_t kind = value ? (size_t)(value - text) : 0;
	size_t size;

	if (!value || !value[1] || strlen(++value) >= CHAIN_URI_SIZE)
		return -EINVAL;
	size = strlen(value);
	for (size_t i = 0; i < size; i++)
		if (value[i] <= ' ' || value[i] > '~')
			return -EINVAL;
	to->san.unstructured_name.p = (unsigned char *)(uintptr_t)value;
	to->san.unstructured_name.len = size;
	if (kind == 3 && memcmp(text, "dns", 3) == 0) {
		to->type = MBEDTLS_X509_SAN_DNS_NAME;
		return 0;
	}
	if (kind == 3 && memcmp(text, "uri", 3) == 0) {
		to->type = MBEDTLS_X509_SAN_UNIFORM_RESOURCE_IDENTIFIER;
		return 0;
	}
	if (kind != 2 || memcmp(text, "ip", 2) != 0)
		return -EINVAL;
	to->type = MBEDTLS_X509_SAN_IP_ADDRESS;
	to->san.unstructured_name.p = san->address;
	if (inet_pton(AF_INET, value, san->address) == 1)
		to->san.unstructured_name.len = 4;
	else if (inet_pton(AF_INET6, value, san->address) == 1)
		to->san.unstructured_name.len = 16;
	else
		return -EINVAL;
	return 0;
}

static int set_names(mbedtls_x509write_cert *crt, const struct cert_plan *plan)
{
	struct san list[CERT_NAMES_MAX] = { 0 };

	if (plan->n_names > CERT_NAMES_MAX)
		return -EINVAL;
	for (size_t i = 0; i < plan->n_names; i++) {
		int err = san_parse(plan->names[i], &list[i]);

		if (err)
			return err;
		if (i > 0)
			list[i - 1].node.next = &list[i].node;
	}
	if (plan->n_names == 0)
		return 0;
	return mbedtls_x509write_crt_set_subject_alternative_name(
		       crt, &list[0].node) == 0
		       ? 0
		       : -ENOMEM;
}

/* X.509 says until 2049 with two digits of the year; the library knows. */
static int set_dates(mbedtls_x509write_cert *crt, const struct cert_plan *plan)
{
	char text[2][16];
	int64_t t[2] = { plan->not_before, plan->not_after };

	for (int i = 0; i < 2; i++) {
		time_t seconds = (time_t)t[i];
		struct tm tm;

		if (!gmtime_r(&seconds, &tm) ||
		    strftime(text[i], sizeof(text[i]), "%Y%m%d%H%M%S", &tm) !=
			    14)
			return -EINVAL;
	}
	return mbedtls_x509write_crt_set_validity(crt, text[0], text[1]) == 0
		       ? 0
		       : -EINVAL;
}

static int set_tls_uses(mbedtls_x509write_cert *crt, uint8_t use)
{
	mbedtls_asn1_sequence eku[2] = { 0 };
	size_t n = 0;

	if (use & CHAIN_USE_SERVER) {
		eku[n].buf.p =
			(unsigned char *)(uintptr_t)MBEDTLS_OID_SERVER_AUTH;
		eku[n++].buf.len = MBEDTLS_OID_SIZE(MBEDTLS_OID_SERVER_AUTH);
	}
	if (use & CHAIN_USE_CLIENT) {
		eku[n].buf.p =
			(unsigned char *)(uintptr_t)MBEDTLS_OID_CLIENT_AUTH;
		eku[n++].buf.len = MBEDTLS_OID_SIZE(MBEDTLS_OID_CLIENT_AUTH);
	}
	if (n == 2)
		eku[0].next = &eku[1];
	for (size_t i = 0; i < n; i++)
		eku[i].buf.tag = MBEDTLS_ASN1_OID;
	return n ? mbedtls_x509write_crt_set_ext_key_usage(crt, eku) : 0;
}

static int set_use(mbedtls_x509write_cert *crt, const struct cert_plan *plan)
{
	bool ca = plan->use == CHAIN_USE_ISSUE;
	bool tls = plan->use & (CHAIN_USE_SERVER | CHAIN_USE_CLIENT);

	if (!plan->use || (plan->use & CHAIN_USE_ISSUE && !ca) ||
	    (plan->use & CHAIN_USE_SIGN && tls))
		return -EINVAL;
	if (mbedtls_x509write_crt_set_basic_constraints(
		    crt, ca, ca ? plan->path_length : -1) != 0 ||
	    mbedtls_x509write_crt_set_key_usage(
		    crt, ca ? MBEDTLS_X509_KU_KEY_CERT_SIGN |
					 MBEDTLS_X509_KU_CRL_SIGN
			    : MBEDTLS_X509_KU_DIGITAL_SIGNATURE) != 0 ||
	    set_tls_uses(crt, plan->use) != 0)
		return -ENOMEM;
	return 0;
}

static int set_serial(mbedtls_x509write_cert *crt)
{
	uint8_t serial[16];

	wire_random(serial, sizeof(serial));
	serial[0] = (serial[0] & 0x7f) | 0x40; /* positive, of full length */
	return mbedtls_x509write_crt_set_serial_raw(crt, serial,
						    sizeof(serial)) == 0
		       ? 0
		       : -ENOMEM;
}

static int set_issuer(mbedtls_x509write_cert *crt, const struct cert_plan *plan,
		      const struct cert_key *key, const struct chain *issuer)
{
	char subject[CHAIN_NAME_SIZE + 4], above[CHAIN_NAME_SIZE + 4];
	struct chain_facts facts;
	struct cert_public public;
	uint8_t pin[CHAIN_PIN_SIZE];
	int err = subject_text(plan->name, subject);

	text_copy(above, sizeof(above), subject);
	if (!err && issuer) {
		cert_key_public(key, &public);
		cert_pin(&public, pin);
		err = chain_facts(issuer, 0, &facts);
		if (!err && memcmp(pin, facts.pin, sizeof(pin)) != 0)
			err = -EINVAL;
		if (!err)
			err = subject_text(facts.name, above);
	}
	if (err)
		return err;
	mbedtls_x509write_crt_set_issuer_key(crt, key_pk(key));
	if (mbedtls_x509write_crt_set_subject_name(crt, subject) != 0 ||
	    mbedtls_x509write_crt_set_issuer_name(crt, above) != 0)
		return -ENOMEM;
	return 0;
}

static int fill(mbedtls_x509write_cert *crt, const struct cert_plan *plan,
		const struct cert_key *key, const struct chain *issuer)
{
	int err = set_issuer(crt, plan, key, issuer);

	mbedtls_x509write_crt_set_version(crt, MBEDTLS_X509_CRT_VERSION_3);
	mbedtls_x509write_crt_set_md_alg(crt, MBEDTLS_MD_SHA256);
	if (!err)
		err = set_serial(crt);
	if (!err)
		err = set_dates(crt, plan);
	if (!err)
		err = set_use(crt, plan);
	if (!err)
		err = set_names(crt, plan);
	if (!err && (mbedtls_x509write_crt_set_subject_key_identifier(crt) ||
		     mbedtls_x509write_crt_set_authority_key_identifier(crt)))
		err = -ENOMEM;
	return err;
}

int cert_issue(const struct cert_plan *plan, const struct cert_public *subject,
	       const struct cert_key *issuer_key, const struct chain *issuer,
	       char pem[CERT_PEM_SIZE])
{
	mbedtls_x509write_cert crt;
	mbedtls_pk_context pk;
	int err = -EINVAL;

	pem[0] = '\0';
	mbedtls_x509write_crt_init(&crt);
	mbedtls_pk_init(&pk);
	if (mbedtls_pk_parse_public_key(&pk, subject->der, CERT_PUBLIC_SIZE) ==
	    0) {
		mbedtls_x509write_crt_set_subject_key(&crt, &pk);
		err = fill(&crt, plan, issuer_key, issuer);
	}
	if (!err && mbedtls_x509write_crt_pem(&crt, (void *)pem, CERT_PEM_SIZE,
					      wire_rng, NULL) != 0)
		err = -ENOMEM;
	mbedtls_pk_free(&pk);
	mbedtls_x509write_crt_free(&crt);
	return err;
}

int64_t cert_renew_at(const struct chain_facts *facts, uint16_t random)
{
	int64_t life = facts->not_after - facts->not_before;

	return facts->not_before + life / 3 * 2 - life / 12 * random / 65536;
}
