/* Envelopes and certificates against openssl: what it signed is opened, what we
 * signed it verifies; and everything that must not be believed. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "oci/envelope.h"
#include "tap.h"
#include "wire/sign.h"
#include "wire_pki.h"

#define TYPE ENVELOPE_DESIRED

static struct pki pki, other;
static char dir[] = "/tmp/zooid-envelope-XXXXXX";
static int dir_fd;

static void put(const char *name, const void *data, size_t size)
{
	if (file_replace(dir_fd, name, 0600, data, size) < 0)
		abort();
}

static void put_text(const char *name, const char *text)
{
	put(name, text, strlen(text));
}

static void put_key(const char *name, const struct cert_key *key)
{
	char pem[CERT_PEM_SIZE];

	cert_key_write(key, pem);
	put_text(name, pem);
}

/* Runs a shell line in dir; its exit status. */
static int run(const char *line)
{
	char command[600];

	snprintf(command, sizeof(command), "cd %s && ( %s ) >log 2>&1", dir,
		 line);
	return system(command);
}

static char *get(const char *name)
{
	char *data;
	size_t size;

	if (file_read(dir_fd, name, 1 << 20, &data, &size) < 0)
		abort();
	return data;
}

static struct envelope_trust trust_of(const struct pki *p, int64_t now)
{
	struct envelope_trust trust = { .root = span_of(p->root.pem),
					.now = now };

	memcpy(trust.pin, p->pin, sizeof(trust.pin));
	return trust;
}

static int open_text(const char *text, const struct envelope_trust *trust,
		     char *out, size_t out_size, char *error)
{
	struct span payload;
	int err = envelope_open(span_of(text), TYPE, trust, &payload, NULL,
				error);

	if (!err)
		span_copy(out, out_size, payload);
	free((char *)(uintptr_t)payload.data);
	return err;
}

/* "text" with every line end as \n of JSON. */
static char *json_lines(const char *text)
{
	char *out = malloc(2 * strlen(text) + 1), *p = out;

	for (; *text; text++)
		if (*text == '\n') {
			*p++ = '\\';
			*p++ = 'n';
		} else {
			*p++ = *text;
		}
	*p = '\0';
	return out;
}

static void test_openssl(void)
{
	static const char payload[] = "{\"node\":\"n-1\"}";
	struct envelope_trust trust = trust_of(&pki, 0);
	char pae[200], out[200], error[ENVELOPE_ERROR_SIZE];
	autofree char *sig = NULL, *body = NULL, *cert = NULL, *text = NULL;
	autofree char *made = NULL;
	size_t size;

	/* Signed by openssl over PAE written out by hand. */
	snprintf(pae, sizeof(pae), "DSSEv1 37 %s 14 %s", TYPE, payload);
	put_text("pae", pae);
	put_text("payload", payload);
	put_key("signer.key", pki.signer.key);
	ok(run("openssl dgst -sha256 -sign signer.key -out sig pae && "
	       "openssl base64 -A -in sig -out sig64 && "
	       "openssl base64 -A -in payload -out payload64") == 0,
	   "openssl signs");
	sig = get("sig64");
	body = get("payload64");
	cert = json_lines(pki.signer.chain);
	if (asprintf(&text,
		     "{\"payload\":\"%s\",\"payloadType\":\"%s\",\"unknown\":1,"
		     "\"signatures\":[{\"sig\":\"%s\",\"cert\":\"%s\"}]}",
		     body, TYPE, sig, cert) < 0)
		abort();
	ok(open_text(text, &trust, out, sizeof(out), error) == 0 &&
		   strcmp(out, payload) == 0,
	   "what openssl signed is opened: %s", error);

	/* And ours by openssl: the bytes of sig and PAE are taken from JSON. */
	if (envelope_sign(TYPE, span_of(payload), pki.signer.key,
			  span_of(pki.signer.chain), &made, &size))
		abort();
	put_text("made", made);
	put_text("signer.pem", pki.signer.pem);
	ok(run("sed 's/.*\"sig\":\"\\([^\"]*\\)\".*/\\1/' made | "
	       "openssl base64 -d -A -out sig2 && "
	       "openssl x509 -in signer.pem -noout -pubkey >signer.pub && "
	       "openssl dgst -sha256 -verify signer.pub -signature sig2 pae") ==
		   0,
	   "what we signed openssl verifies");
	ok(run("test $(sed 's/.*\"keyid\":\"\\([^\"]*\\)\".*/\\1/' made) = "
	       "$(openssl pkey -pubin -in signer.pub -outform DER | "
	       "sha256sum | cut -c1-64)") == 0,
	   "keyid is the key's sha256");
}

static void replace(char *text, const char *old, const char *new)
{
	char *at = strstr(text, old);

	if (!at || strlen(old) != strlen(new))
		abort();
	memcpy(at, new, strlen(new));
}

static char *made_by(const struct party *who, const char *chain,
		     const char *type, const char *payload)
{
	char *text = NULL;
	size_t size;

	if (envelope_sign(type, span_of(payload), who->key, span_of(chain),
			  &text, &size))
		abort();
	return text;
}

/* text is freed. */
static void expect(const char *what, char *text,
		   const struct envelope_trust *trust, int error)
{
	char out[100], said[ENVELOPE_ERROR_SIZE] = "";
	int err = open_text(text, trust, out, sizeof(out), said);

	ok(err == error && !err == !said[0], "%s: %d %s", what, err, said);
	free(text);
}

/* Bytes that are no envelope. */
static void test_malformed(void)
{
#define HEAD	 "{\"payloadType\":\"" TYPE "\",\"payload\":"
#define UNSIGNED ",\"signatures\":[]}"
	static const struct {
		const char *what, *text;
		int error;
	} cases[] = {
		{ "empty", "", -EBADMSG },
		{ "not JSON", "{\"payload\":", -EBADMSG },
		{ "an array", "[]", -EBADMSG },
		{ "no signature", HEAD "\"e30=\"" UNSIGNED, -EKEYREJECTED },
		{ "signatures not a list", HEAD "\"e30=\",\"signatures\":3}",
		  -EKEYREJECTED },
		{ "bad base64", HEAD "\"e3!=\"" UNSIGNED, -EBADMSG },
		{ "base64 with bits to spare", HEAD "\"e31=\"" UNSIGNED,
		  -EBADMSG },
		{ "five signatures",
		  HEAD "\"e30=\",\"signatures\":[1,2,3,4,5]}", -EBADMSG },
		{ "no certificate",
		  HEAD "\"e30=\",\"signatures\":[{\"sig\":\"MAA=\"}]}",
		  -EBADMSG },
	};
	struct envelope_trust always = trust_of(&pki, 0);

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		expect(cases[i].what, strdup(cases[i].text), &always,
		       cases[i].error);
}

/* Sound envelopes by whom they are not to be believed. */
static void test_signers(void)
{
	struct envelope_trust always = trust_of(&pki, 0);
	struct envelope_trust foreign = trust_of(&other, 0), mixed = always;
	char *good = made_by(&pki.signer, pki.signer.chain, TYPE, "{}");
	const struct {
		const char *what;
		const struct party *by;
		const char *chain;
	} cases[] = {
		{ "signed by a node", &pki.node, pki.node.chain },
		{ "signed by a server", &pki.server, pki.server.chain },
		{ "signed by the hub's CA", &pki.hub_ca, pki.hub_ca.chain },
		{ "without the intermediate", &pki.signer, pki.signer.pem },
	};

	mixed.root = span_of(other.root.pem);
	expect("good", strdup(good), &always, 0);
	expect("another organism's", strdup(good), &foreign, -EKEYREJECTED);
	expect("root of another pin", strdup(good), &mixed, -EKEYREJECTED);
	expect("another type",
	       made_by(&pki.signer, pki.signer.chain, ENVELOPE_TIME, "{}"),
	       &always, -EBADMSG);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		expect(cases[i].what,
		       made_by(cases[i].by, cases[i].chain, TYPE, "{}"),
		       &always, -EKEYREJECTED);
	free(good);
}

static void test_changed(void)
{
	struct envelope_trust always = trust_of(&pki, 0);
	char *good = made_by(&pki.signer, pki.signer.chain, TYPE, "{}");
	char out[100], error[ENVELOPE_ERROR_SIZE];
	char *other_payload = strdup(good);

	replace(other_payload, "e30=", "W10=");
	expect("payload changed", other_payload, &always, -EKEYREJECTED);
	good[strlen(good) / 2] ^= 1;
	ok(open_text(good, &always, out, sizeof(out), error) != 0,
	   "a flipped bit: %s", error);
	free(good);
}

static void test_dates_and_names(void)
{
	int64_t now = time(NULL), day = 86400;
	static const char *const any[] = { "uri:zooid:///", NULL };
	struct envelope_trust always = trust_of(&pki, 0);
	struct envelope_trust today = trust_of(&pki, now);
	struct party expired = { 0 }, named = { 0 };

	pki_issue(&expired, &pki.hub_ca, CHAIN_USE_SIGN, "documents", any,
		  now - 500 * day, now - 400 * day);
	pki_issue(&named, &pki.hub_ca, CHAIN_USE_CLIENT, "documents", any,
		  now - day, now + day);
	expect("good, dates checked",
	       made_by(&pki.signer, pki.signer.chain, TYPE, "{}"), &today, 0);
	expect("signer expired, dates checked",
	       made_by(&expired, expired.chain, TYPE, "{}"), &today,
	       -EKEYEXPIRED);
	expect("signer expired, clock not believed",
	       made_by(&expired, expired.chain, TYPE, "{}"), &always, 0);
	expect("a client that is called documents",
	       made_by(&named, named.chain, TYPE, "{}"), &always,
	       -EKEYREJECTED);
	cert_key_free(expired.key);
	cert_key_free(named.key);
}

/* openssl's request with the last byte of its signature changed. */
static void test_broken_request(void)
{
	struct cert_public public;
	autofree char *der = NULL, *pem = NULL;
	size_t size;

	ok(run("openssl req -in o.csr -outform DER -out o.der") == 0, "as DER");
	if (file_read(dir_fd, "o.der", 1 << 16, &der, &size) < 0)
		abort();
	der[size - 1] ^= 1;
	put("bad.der", der, size);
	ok(run("openssl req -inform DER -in bad.der -out bad.csr") == 0,
	   "changed");
	pem = get("bad.csr");
	ok(cert_request_read(span_of(pem), &public) == -EKEYREJECTED,
	   "a request that its key did not sign is refused");
}

static void test_certificates(void)
{
	char pem[CERT_PEM_SIZE], text[CERT_PEM_SIZE];
	struct cert_public public, again;
	struct chain_facts facts;
	struct chain *chain;
	autofree char *csr = NULL, *key = NULL, *pin = NULL;
	struct cert_key *read;

	put_text("root.pem", pki.root.pem);
	put_text("ca.pem", pki.hub_ca.pem);
	put_text("server.pem", pki.server.pem);
	put_text("node.pem", pki.node.pem);
	ok(run("openssl verify -x509_strict -purpose sslserver -verify_ip "
	       "127.0.0.1 -CAfile root.pem -untrusted ca.pem server.pem && "
	       "openssl verify -verify_hostname localhost -CAfile root.pem "
	       "-untrusted ca.pem server.pem") == 0,
	   "openssl verifies the server's chain and names");
	ok(run("openssl verify -x509_strict -purpose sslclient -CAfile "
	       "root.pem "
	       "-untrusted ca.pem node.pem") == 0,
	   "and the node's");
	ok(run("openssl x509 -in node.pem -noout -ext subjectAltName | "
	       "grep -q 'URI:zooid:///n1'") == 0,
	   "the node's URI");
	cert_request_make(pki.node.key, "n-1", pem);
	put_text("our.csr", pem);
	ok(run("openssl req -in our.csr -verify -noout") == 0,
	   "openssl verifies our request");
	ok(run("openssl genpkey -algorithm EC -pkeyopt "
	       "ec_paramgen_curve:P-256 -out o.key && openssl req -new -key "
	       "o.key -subj /CN=x -out o.csr && openssl pkey -in o.key -pubout "
	       "-outform DER | sha256sum | cut -c1-64 | tr -d '\\n' >o.pin") ==
		   0,
	   "openssl makes key and request");
	csr = get("o.csr");
	key = get("o.key");
	pin = get("o.pin");
	ok(cert_request_read(span_of(csr), &public) == 0,
	   "we read its request");
	ok(cert_key_read(span_of(key), &read) == 0, "and its key");
	cert_key_public(read, &again);
	ok(memcmp(&public, &again, sizeof(public)) == 0, "of one another");
	cert_pin(&public, facts.pin);
	cert_pin_text(facts.pin, text);
	ok(strcmp(text, pin) == 0, "the pin is what openssl and sha256sum say");
	cert_key_free(read);
	test_broken_request();
	ok(run("openssl genpkey -algorithm RSA -out r.key && openssl req -new "
	       "-key r.key -subj /CN=x -out r.csr && openssl genpkey "
	       "-algorithm "
	       "EC -pkeyopt ec_paramgen_curve:P-384 -out p.key && openssl req "
	       "-new -key p.key -subj /CN=x -out p.csr") == 0,
	   "others");
	for (int i = 0; i < 2; i++) {
		autofree char *wrong = get(i ? "r.csr" : "p.csr");
		autofree char *wrong_key = get(i ? "r.key" : "p.key");

		ok(cert_request_read(span_of(wrong), &public) == -EINVAL &&
			   cert_key_read(span_of(wrong_key), &read) == -EINVAL,
		   "%s is not taken", i ? "RSA" : "P-384");
	}
	chain_read(span_of(pki.node.chain), &chain);
	ok(chain_facts(chain, 0, &facts) == 0 &&
		   strcmp(facts.name, "n-0123456789abcd") == 0 &&
		   strcmp(facts.uri, "zooid:///n1") == 0 &&
		   facts.use == CHAIN_USE_CLIENT && facts.serial_size == 16 &&
		   facts.not_after - facts.not_before == 91 * 86400,
	   "facts of the node");
	ok(chain_facts(chain, 2, &facts) == -ENOENT, "two in the chain");
	chain_facts(chain, 0, &facts);
	ok(cert_renew_at(&facts, 0) - facts.not_before == 91 * 86400 / 3 * 2 &&
		   cert_renew_at(&facts, 65535) > facts.not_before + 50 * 86400,
	   "renewal at two thirds");
	chain_free(chain);
}

/* Path constraint: who may issue for whom. */
static void test_paths(void)
{
	static const struct {
		const char *ca, *leaf;
		uint8_t use;
		int error;
	} cases[] = {
		{ "uri:zooid:///", "uri:zooid:///tokyo/n1", CHAIN_USE_CLIENT,
		  0 },
		{ "uri:zooid:///tokyo/", "uri:zooid:///tokyo/n1",
		  CHAIN_USE_CLIENT, 0 },
		{ "uri:zooid:///tokyo", "uri:zooid:///tokyo/n1",
		  CHAIN_USE_CLIENT, 0 },
		{ "uri:zooid:///tokyo", "uri:zooid:///tokyo2/n1",
		  CHAIN_USE_CLIENT, -EKEYREJECTED },
		{ "uri:zooid:///tokyo/", "uri:zooid:///osaka/n1",
		  CHAIN_USE_CLIENT, -EKEYREJECTED },
		{ "uri:zooid:///tokyo/", "uri:zooid:///operator/eve",
		  CHAIN_USE_CLIENT, -EKEYREJECTED },
		{ "uri:zooid:///tokyo/", NULL, CHAIN_USE_CLIENT,
		  -EKEYREJECTED },
		{ "uri:zooid:///tokyo/", NULL, CHAIN_USE_SIGN, -EKEYREJECTED },
		{ "uri:zooid:///tokyo/", "dns:hub.example", CHAIN_USE_SERVER,
		  0 },
	};
	int64_t now = time(NULL);

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const char *ca_names[] = { cases[i].ca, NULL };
		const char *names[] = { cases[i].leaf, NULL };
		struct chain_trust trust = { .root = span_of(pki.root.pem),
					     .now = now,
					     .use = cases[i].use };
		struct party ca = { 0 }, leaf = { 0 };
		char error[CHAIN_ERROR_SIZE];
		struct chain *chain;

		pki_issue(&ca, &pki.root, CHAIN_USE_ISSUE, "sub", ca_names,
			  now - 9, now + 999);
		pki_issue(&leaf, &ca, cases[i].use, "leaf", names, now - 9,
			  now + 999);
		memcpy(trust.pin, pki.pin, sizeof(trust.pin));
		chain_read(span_of(leaf.chain), &chain);
		ok(chain_check(chain, &trust, NULL, error) == cases[i].error,
		   "%s beneath %s: %s",
		   cases[i].leaf ? cases[i].leaf : "no name", cases[i].ca,
		   error);
		chain_free(chain);
		cert_key_free(ca.key);
		cert_key_free(leaf.key);
	}
}

int main(void)
{
	char command[100];

	wire_init();
	if (!mkdtemp(dir))
		return 1;
	dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	pki_make(&pki);
	pki_make(&other);
	test_openssl();
	test_malformed();
	test_signers();
	test_changed();
	test_dates_and_names();
	test_certificates();
	test_paths();
	pki_free(&pki);
	pki_free(&other);
	close(dir_fd);
	snprintf(command, sizeof(command), "rm -r %s", dir);
	return system(command) || tap_done();
}
