#define _GNU_SOURCE
#include "ca.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"

#define KEYS_NEW "keys.new"

enum {
	DAY = 24 * 3600,
	ROOT_DAYS = 20 * 365,
	ISSUER_DAYS = 5 * 365,
	LEAF_DAYS = 365,
	NAME_SIZE = 280, /* "dns:" and a name */
};

/* Nodes whose clock is a little behind must not refuse us. */
static int64_t valid_from(void)
{
	return time(NULL) - DAY;
}

static int fail(const char *name, int err)
{
	log_error(name, "%s", strerror(-err));
	return err;
}

static int key_save(int dir, const char *name, const struct cert_key *key)
{
	char pem[CERT_PEM_SIZE];
	int err = cert_key_write(key, pem);

	if (err == 0)
		err = file_replace(dir, name, 0600, pem, strlen(pem));
	explicit_bzero(pem, sizeof(pem));
	return err < 0 ? fail(name, err) : 0;
}

static int pem_save(int dir, const char *name, const char *pem)
{
	int err = file_replace(dir, name, 0644, pem, strlen(pem));

	return err < 0 ? fail(name, err) : 0;
}

static int pem_load(int dir, const char *name, char **pem)
{
	size_t size;
	int err = file_read(dir, name, CHAIN_PEM_MAX, pem, &size);

	return err < 0 ? fail(name, err) : 0;
}

static int key_load(int dir, const char *name, struct cert_key **key)
{
	autofree char *pem = NULL;
	int err = pem_load(dir, name, &pem);

	if (err < 0)
		return err;
	err = cert_key_read(span_of(pem), key);
	explicit_bzero(pem, strlen(pem));
	return err < 0 ? fail(name, err) : 0;
}

/* ---- plans ---- */

static int root_issue(const struct cert_key *key, char pem[CERT_PEM_SIZE])
{
	const char *uri = "uri:zooid:///";
	struct cert_plan plan = {
		.use = CHAIN_USE_ISSUE,
		.name = "zooid root",
		.names = &uri,
		.n_names = 1,
		.not_before = valid_from(),
		.not_after = valid_from() + (int64_t)ROOT_DAYS * DAY,
		.path_length = 2,
	};
	struct cert_public public;

	cert_key_public(key, &public);
	return cert_issue(&plan, &public, key, NULL, pem);
}

static int issuer_issue(const struct cert_key *root_key,
			const struct chain *root, const char *hub_name,
			const struct cert_key *key, char pem[CERT_PEM_SIZE])
{
	const char *uri = "uri:zooid:///";
	char name[CHAIN_NAME_SIZE];
	struct cert_plan plan = {
		.use = CHAIN_USE_ISSUE,
		.name = name,
		.names = &uri,
		.n_names = 1,
		.not_before = valid_from(),
		.not_after = valid_from() + (int64_t)ISSUER_DAYS * DAY,
	};
	struct cert_public public;

	snprintf(name, sizeof(name), "zooid hub %.50s", hub_name);
	cert_key_public(key, &public);
	return cert_issue(&plan, &public, root_key, root, pem);
}

static bool is_address(const char *host)
{
	uint8_t bytes[16];

	return inet_pton(AF_INET, host, bytes) == 1 ||
	       inet_pton(AF_INET6, host, bytes) == 1;
}

static int server_issue(const struct ca *ca, const struct ca_names *names,
			const struct cert_key *key, char pem[CERT_PEM_SIZE])
{
	char text[CERT_NAMES_MAX][NAME_SIZE];
	const char *list[CERT_NAMES_MAX];
	struct cert_plan plan = {
		.use = CHAIN_USE_SERVER,
		.name = "hub",
		.names = list,
		.n_names = names->n,
		.not_before = valid_from(),
		.not_after = time(NULL) + (int64_t)LEAF_DAYS * DAY,
	};
	struct cert_public public;

	if (names->n > CERT_NAMES_MAX)
		return -E2BIG;
	for (size_t i = 0; i < names->n; i++) {
		snprintf(text[i], NAME_SIZE, "%s:%s",
			 is_address(names->host[i]) ? "ip" : "dns",
			 names->host[i]);
		list[i] = text[i];
	}
	cert_key_public(key, &public);
	return cert_issue(&plan, &public, ca->key, ca->issuer, pem);
}

static int sign_issue(const struct ca *ca, const struct cert_key *key,
		      char pem[CERT_PEM_SIZE])
{
	const char *uri = "uri:zooid:///documents";
	struct cert_plan plan = {
		.use = CHAIN_USE_SIGN,
		.name = "documents",
		.names = &uri,
		.n_names = 1,
		.not_before = valid_from(),
		.not_after = time(NULL) + (int64_t)LEAF_DAYS * DAY,
	};
	struct cert_public public;

	cert_key_public(key, &public);
	return cert_issue(&plan, &public, ca->key, ca->issuer, pem);
}

/* ---- making ---- */

static int root_make(int keys, const char *hub_name)
{
	struct cert_key *root_key = NULL, *key = NULL;
	struct chain *root = NULL;
	char root_pem[CERT_PEM_SIZE], pem[CERT_PEM_SIZE];
	int err = cert_key_make(&root_key);

	if (err == 0)
		err = cert_key_make(&key);
	if (err == 0)
		err = root_issue(root_key, root_pem);
	if (err == 0)
		err = chain_read(span_of(root_pem), &root);
	if (err == 0)
		err = issuer_issue(root_key, root, hub_name, key, pem);
	if (err < 0)
		fail("keys", err);
	if (err == 0)
		err = key_save(keys, "root.key", root_key);
	if (err == 0)
		err = pem_save(keys, "root.pem", root_pem);
	if (err == 0)
		err = key_save(keys, "ca.key", key);
	if (err == 0)
		err = pem_save(keys, "ca.pem", pem);
	chain_free(root);
	cert_key_free(root_key);
	cert_key_free(key);
	return err;
}

/* A leaf that the hub holds itself gets a new key with each certificate. The
 * certificate is written before the key: a crash in between leaves two that do
 * not fit, which ca_open() sees and makes anew. */
static int leaf_make(int keys, const char *name, const struct ca *ca,
		     const struct ca_names *names)
{
	struct cert_key *key = NULL;
	char pem[CERT_PEM_SIZE], file[32];
	int err = cert_key_make(&key);

	if (err == 0)
		err = names ? server_issue(ca, names, key, pem)
			    : sign_issue(ca, key, pem);
	if (err < 0)
		fail(name, err);
	snprintf(file, sizeof(file), "%s.pem", name);
	if (err == 0)
		err = pem_save(keys, file, pem);
	snprintf(file, sizeof(file), "%s.key", name);
	if (err == 0)
		err = key_save(keys, file, key);
	cert_key_free(key);
	return err;
}

static int folder_open(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	return fd < 0 ? fail(name, -errno) : fd;
}

static int issuer_load(int keys, struct ca *ca)
{
	struct chain *root = NULL;
	struct chain_facts facts;
	int err = pem_load(keys, "root.pem", &ca->root_pem);

	if (err == 0)
		err = pem_load(keys, "ca.pem", &ca->issuer_pem);
	if (err == 0)
		err = key_load(keys, "ca.key", &ca->key);
	if (err < 0)
		return err;
	err = chain_read(span_of(ca->root_pem), &root);
	if (err == 0)
		err = chain_facts(root, 0, &facts);
	if (err == 0)
		err = chain_read(span_of(ca->issuer_pem), &ca->issuer);
	chain_free(root);
	if (err < 0)
		return fail("keys/root.pem, ca.pem", err);
	memcpy(ca->pin, facts.pin, sizeof(ca->pin));
	cert_pin_text(ca->pin, ca->pin_text);
	return 0;
}

/* In a folder that only becomes keys/ when all is in it: a key that was made is
 * never written over. */
int ca_make(int dir, const char *hub_name, const struct ca_names *names)
{
	autoclose int keys = -1;
	struct ca ca = { 0 };
	int err = path_remove_tree(dir, KEYS_NEW);

	if (err == 0 && mkdirat(dir, KEYS_NEW, 0700) < 0)
		err = -errno;
	if (err < 0)
		return fail(KEYS_NEW, err);
	keys = folder_open(dir, KEYS_NEW);
	if (keys < 0)
		return keys;
	err = root_make(keys, hub_name);
	if (err == 0)
		err = issuer_load(keys, &ca);
	if (err == 0)
		err = leaf_make(keys, "server", &ca, names);
	if (err == 0)
		err = leaf_make(keys, "sign", &ca, NULL);
	ca_close(&ca);
	if (err == 0 &&
	    (renameat(dir, KEYS_NEW, dir, "keys") < 0 || fsync(dir) < 0))
		err = fail("keys", -errno);
	if (err < 0)
		path_remove_tree(dir, KEYS_NEW);
	return err;
}

/* ---- loading ---- */

/* Whether the first certificate of pem is one of this key; when it is due. */
static int leaf_check(const char *pem, const struct cert_key *key,
		      int64_t *renew_at)
{
	uint8_t pin[CHAIN_PIN_SIZE];
	struct cert_public public;
	struct chain_facts facts;
	struct chain *chain;
	int err = chain_read(span_of(pem), &chain);

	if (err < 0)
		return err;
	err = chain_facts(chain, 0, &facts);
	chain_free(chain);
	if (err < 0)
		return err;
	cert_key_public(key, &public);
	cert_pin(&public, pin);
	*renew_at = cert_renew_at(&facts, 0);
	return memcmp(pin, facts.pin, sizeof(pin)) ? -EKEYREJECTED : 0;
}

/* An operator may have removed it, to have another. */
static bool leaf_is_there(int keys, const char *name)
{
	char key[32], pem[32];

	snprintf(key, sizeof(key), "%s.key", name);
	snprintf(pem, sizeof(pem), "%s.pem", name);
	return faccessat(keys, key, F_OK, 0) == 0 &&
	       faccessat(keys, pem, F_OK, 0) == 0;
}

/* One that is missing is NULL and due. */
static int leaf_load(int keys, const char *name, const char *above,
		     struct cert_key **key, char **chain, int64_t *renew_at)
{
	autofree char *pem = NULL;
	char file[32];
	int err;

	cert_key_free(*key);
	free(*chain);
	*key = NULL;
	*chain = NULL;
	*renew_at = 0; /* at once */
	if (!leaf_is_there(keys, name))
		return 0;
	snprintf(file, sizeof(file), "%s.key", name);
	err = key_load(keys, file, key);
	snprintf(file, sizeof(file), "%s.pem", name);
	if (err == 0)
		err = pem_load(keys, file, &pem);
	if (err < 0)
		return err;
	if (asprintf(chain, "%s%s", pem, above) < 0) {
		*chain = NULL;
		return -ENOMEM;
	}
	if (leaf_check(pem, *key, renew_at) < 0)
		*renew_at = 0;
	return 0;
}

static int leaves_load(int keys, struct ca *ca)
{
	autofree char *above = NULL;
	int err;

	if (asprintf(&above, "%s%s", ca->issuer_pem, ca->root_pem) < 0) {
		above = NULL;
		return -ENOMEM;
	}
	err = leaf_load(keys, "server", above, &ca->server_key,
			&ca->server_chain, &ca->server_renew_at);
	if (err == 0)
		err = leaf_load(keys, "sign", ca->issuer_pem, &ca->sign_key,
				&ca->sign_chain, &ca->sign_renew_at);
	return err;
}

int ca_open(int dir, struct ca *ca)
{
	autoclose int keys = folder_open(dir, "keys");
	int err;

	*ca = (struct ca){ 0 };
	if (keys < 0)
		return keys;
	err = issuer_load(keys, ca);
	if (err == 0)
		err = leaves_load(keys, ca);
	if (err < 0)
		ca_close(ca);
	return err;
}

void ca_close(struct ca *ca)
{
	cert_key_free(ca->key);
	cert_key_free(ca->server_key);
	cert_key_free(ca->sign_key);
	chain_free(ca->issuer);
	free(ca->root_pem);
	free(ca->issuer_pem);
	free(ca->server_chain);
	free(ca->sign_chain);
	*ca = (struct ca){ 0 };
}

int ca_refresh(int dir, struct ca *ca, const struct ca_names *names, bool force,
	       bool *changed)
{
	autoclose int keys = -1;
	int64_t now = time(NULL);
	bool server = force || now >= ca->server_renew_at;
	bool sign = now >= ca->sign_renew_at;
	int err = 0;

	*changed = false;
	if (!server && !sign)
		return 0;
	keys = folder_open(dir, "keys");
	if (keys < 0)
		return keys;
	if (server)
		err = leaf_make(keys, "server", ca, names);
	if (err == 0 && sign)
		err = leaf_make(keys, "sign", ca, NULL);
	if (err == 0)
		err = leaves_load(keys, ca);
	*changed = err == 0 && server;
	if (err == 0)
		log_notice("keys", "renewed the certificate%s",
			   server && sign ? "s of server and documents"
			   : server	  ? " of the server"
					  : " of documents");
	return err;
}

int64_t ca_end_of(unsigned days)
{
	return time(NULL) + (int64_t)days * DAY;
}

int ca_issue_client(const struct ca *ca, const char *name, const char *uri,
		    int64_t not_after, const struct cert_public *public,
		    char **chain)
{
	char pem[CERT_PEM_SIZE], uri_name[CHAIN_URI_SIZE + 8];
	const char *list[] = { uri_name };
	struct cert_plan plan = {
		.use = CHAIN_USE_CLIENT,
		.name = name,
		.names = list,
		.n_names = 1,
		.not_before = valid_from(),
		.not_after = not_after,
	};
	int err;

	snprintf(uri_name, sizeof(uri_name), "uri:%s", uri);
	err = cert_issue(&plan, public, ca->key, ca->issuer, pem);
	if (err < 0)
		return err;
	if (asprintf(chain, "%s%s", pem, ca->issuer_pem) < 0) {
		*chain = NULL;
		return -ENOMEM;
	}
	return 0;
}
