#define _GNU_SOURCE
#include "identity.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "json.h"

#define FILE_IDENTITY "identity.json"
#define FILE_PENDING  "pending.json"

enum { FILE_MAX = 64 << 10 };

struct identity identity;

static int dir = -1;

/* ---- the hub's words ---- */

static struct span string_of(yyjson_val *v)
{
	return (struct span){ yyjson_get_str(v), yyjson_get_len(v) };
}

static char *text_of(yyjson_val *object, const char *key)
{
	yyjson_val *v = yyjson_obj_get(object, key);

	if (!yyjson_is_str(v) || yyjson_get_len(v) > CHAIN_PEM_MAX)
		return NULL;
	return strdup(yyjson_get_str(v));
}

static int hubs_read(yyjson_val *list, char hub[][ENROL_ADDRESS_SIZE],
		     uint8_t *n)
{
	yyjson_arr_iter iter;
	yyjson_val *v;

	*n = 0;
	yyjson_arr_iter_init(list, &iter);
	while ((v = yyjson_arr_iter_next(&iter)) && *n < ENROL_HUBS_MAX) {
		if (!yyjson_is_str(v) || !enrol_address_valid(string_of(v)))
			return -EBADMSG;
		span_copy(hub[(*n)++], ENROL_ADDRESS_SIZE, string_of(v));
	}
	return *n ? 0 : -EBADMSG;
}

static int welcome_members(yyjson_val *root, struct welcome *w)
{
	if (member_text(root, "node", w->node, sizeof(w->node)) < 0 ||
	    member_text(root, "name", w->name, sizeof(w->name)) < 0 ||
	    !id_valid(span_of(w->node)) || !id_valid(span_of(w->name)))
		return -EBADMSG;
	w->chain = text_of(root, "chain");
	w->root = text_of(root, "root");
	if (!w->chain || !w->root)
		return -EBADMSG;
	return hubs_read(yyjson_obj_get(root, "hub"), w->hub, &w->n_hub);
}

int welcome_read(struct span reply, struct welcome *w)
{
	yyjson_doc *doc = reply.size ? yyjson_read(reply.data, reply.size, 0)
				     : NULL;
	int err;

	*w = (struct welcome){ .n_hub = 0 };
	err = welcome_members(yyjson_doc_get_root(doc), w);
	yyjson_doc_free(doc);
	if (err < 0)
		welcome_free(w);
	return err;
}

void welcome_free(struct welcome *w)
{
	free(w->chain);
	free(w->root);
	*w = (struct welcome){ .n_hub = 0 };
}

/* That the certificate is one of our key and ends at the pin; its dates do not
 * matter here, for the clock may be wrong. */
static int chain_ours(const struct identity *me, const char *pem,
		      const char *root, struct chain_facts *facts,
		      char error[200])
{
	struct chain_trust trust = { .root = span_of(root),
				     .use = CHAIN_USE_CLIENT };
	uint8_t pin[CHAIN_PIN_SIZE];
	struct cert_public public;
	struct chain *chain;
	int err = chain_read(span_of(pem), &chain);

	if (err < 0) {
		snprintf(error, 200, "its certificate cannot be read");
		return -EBADMSG;
	}
	memcpy(trust.pin, me->pin, sizeof(trust.pin));
	err = chain_check(chain, &trust, facts, error);
	chain_free(chain);
	if (err < 0)
		return -EBADMSG;
	cert_key_public(me->key, &public);
	cert_pin(&public, pin);
	if (memcmp(pin, facts->pin, sizeof(pin)) != 0) {
		snprintf(error, 200, "its certificate is of another key");
		return -EBADMSG;
	}
	return 0;
}

/* ---- files ---- */

static void add_key(yyjson_mut_doc *doc, yyjson_mut_val *root)
{
	char pem[CERT_PEM_SIZE], pin[65];

	cert_pin_text(identity.pin, pin);
	yyjson_mut_obj_add_strcpy(doc, root, "pin", pin);
	if (cert_key_write(identity.key, pem) == 0)
		yyjson_mut_obj_add_strcpy(doc, root, "key", pem);
	explicit_bzero(pem, sizeof(pem));
}

/* Frees doc. */
static int file_write(const char *name, yyjson_mut_doc *doc)
{
	size_t size;
	char *json = yyjson_mut_write(doc, YYJSON_WRITE_NEWLINE_AT_END, &size);
	int err = json ? file_replace(dir, name, 0600, json, size) : -ENOMEM;

	if (json)
		explicit_bzero(json, size);
	free(json);
	yyjson_mut_doc_free(doc);
	if (err < 0)
		log_error(name, "cannot be kept: %s", strerror(-err));
	return err;
}

static yyjson_mut_doc *document(yyjson_mut_val **root)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);

	*root = yyjson_mut_obj(doc);
	yyjson_mut_doc_set_root(doc, *root);
	yyjson_mut_obj_add_str(doc, *root, "token", identity.token);
	return doc;
}

static int pending_write(void)
{
	yyjson_mut_val *root;
	yyjson_mut_doc *doc = document(&root);

	add_key(doc, root);
	return file_write(FILE_PENDING, doc);
}

static int identity_write(void)
{
	yyjson_mut_val *root, *list;
	yyjson_mut_doc *doc = document(&root);

	yyjson_mut_obj_add_str(doc, root, "node", identity.node);
	yyjson_mut_obj_add_str(doc, root, "name", identity.name);
	list = yyjson_mut_obj_add_arr(doc, root, "hub");
	for (unsigned i = 0; i < identity.n_hub; i++)
		yyjson_mut_arr_add_str(doc, list, identity.hub[i]);
	add_key(doc, root);
	yyjson_mut_obj_add_str(doc, root, "chain", identity.chain);
	yyjson_mut_obj_add_str(doc, root, "root", identity.root);
	return file_write(FILE_IDENTITY, doc);
}

static yyjson_doc *file_load(const char *name)
{
	autofree char *text = NULL;
	yyjson_doc *doc;
	size_t size;
	int err = file_read(dir, name, FILE_MAX, &text, &size);

	if (err == -ENOENT)
		return NULL;
	doc = err < 0 ? NULL : yyjson_read(text, size, 0);
	if (text)
		explicit_bzero(text, size);
	if (!doc)
		log_error(name, "%s: not used",
			  err < 0 ? strerror(-err) : "not JSON");
	return doc;
}

/* What both files have: of which token, and the key. */
static int key_load(yyjson_val *root, const struct enrol_token *want)
{
	char pin[65];

	if (member_text(root, "token", identity.token, sizeof(identity.token)) <
		    0 ||
	    member_text(root, "pin", pin, sizeof(pin)) < 0 ||
	    cert_pin_parse(span_of(pin), identity.pin) < 0)
		return -EBADMSG;
	if (want && (strcmp(want->id, identity.token) != 0 ||
		     memcmp(want->pin, identity.pin, sizeof(want->pin)) != 0))
		return -ESTALE;
	return cert_key_read(string_of(yyjson_obj_get(root, "key")),
			     &identity.key);
}

/* Takes what w holds. */
static void welcome_take(struct welcome *w)
{
	text_copy(identity.node, sizeof(identity.node), w->node);
	text_copy(identity.name, sizeof(identity.name), w->name);
	memcpy(identity.hub, w->hub, sizeof(identity.hub));
	identity.n_hub = w->n_hub;
	free(identity.chain);
	free(identity.root);
	identity.chain = ptr_take(&w->chain);
	identity.root = ptr_take(&w->root);
	identity.enrolled = true;
}

static int identity_load(yyjson_val *root, const struct enrol_token *want)
{
	struct welcome w = { .n_hub = 0 };
	char error[200] = "";
	int err = key_load(root, want);

	if (err == 0)
		err = welcome_members(root, &w);
	if (err == 0)
		err = chain_ours(&identity, w.chain, w.root, &identity.facts,
				 error);
	if (err == 0)
		welcome_take(&w);
	else if (err != -ESTALE)
		log_error(FILE_IDENTITY, "not used: %s",
			  error[0] ? error : "parts of it are missing");
	else
		log_notice(FILE_IDENTITY,
			   "node.json has another token: enrolling anew");
	welcome_free(&w);
	return err;
}

static void forget(void)
{
	cert_key_free(identity.key);
	free(identity.chain);
	free(identity.root);
	identity = (struct identity){ .enrolled = false };
}

static bool load(const char *name, const struct enrol_token *token,
		 int (*read)(yyjson_val *root, const struct enrol_token *want))
{
	yyjson_doc *doc = file_load(name);
	int err = doc ? read(yyjson_doc_get_root(doc), token) : -ENOENT;

	yyjson_doc_free(doc);
	if (err < 0)
		forget();
	return err == 0;
}

static int pending_make(const struct enrol_token *token)
{
	int err = cert_key_make(&identity.key);

	if (err < 0) {
		log_error("key", "%s", strerror(-err));
		return err;
	}
	text_copy(identity.token, sizeof(identity.token), token->id);
	memcpy(identity.pin, token->pin, sizeof(identity.pin));
	return pending_write();
}

/* What file_replace() had in hand when this process was killed. */
static void remains_remove(void)
{
	int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *entries = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *e;

	if (!entries) {
		fd_close(&copy);
		return;
	}
	while ((e = readdir(entries)))
		if (e->d_name[0] == '.' && e->d_name[1] != '\0' &&
		    e->d_name[1] != '.')
			unlinkat(dir, e->d_name, 0);
	closedir(entries);
}

int identity_open(int at, const struct enrol_token *token)
{
	dir = at;
	remains_remove();
	if (load(FILE_IDENTITY, token, identity_load)) {
		unlinkat(dir, FILE_PENDING, 0);
		return 0;
	}
	if (!token)
		return 0;
	if (load(FILE_PENDING, token, key_load))
		return 0;
	return pending_make(token);
}

void identity_close(void)
{
	forget();
}

/* ---- changes ---- */

int identity_enrolled(struct span reply, char error[200])
{
	struct chain_facts facts;
	struct welcome w;
	int err = welcome_read(reply, &w);

	if (err < 0) {
		snprintf(error, 200, "its answer cannot be read");
		return err;
	}
	err = chain_ours(&identity, w.chain, w.root, &facts, error);
	if (err == 0 && strcmp(facts.name, w.node) != 0) {
		snprintf(error, 200,
			 "its certificate is for \"%s\", not \"%s\"",
			 facts.name, w.node);
		err = -EBADMSG;
	}
	if (err == 0) {
		welcome_take(&w);
		identity.facts = facts;
		err = identity_write();
		if (err < 0) {
			identity.enrolled = false;
			snprintf(error, 200, "cannot be kept: %s",
				 strerror(-err));
		}
	}
	welcome_free(&w);
	if (err < 0)
		return err;
	unlinkat(dir, FILE_PENDING, 0);
	unlinkat(dir, "session", 0);
	return 0;
}

int identity_renewed(struct span reply, char error[200])
{
	yyjson_doc *doc = reply.size ? yyjson_read(reply.data, reply.size, 0)
				     : NULL;
	autofree char *chain = text_of(yyjson_doc_get_root(doc), "chain");
	struct chain_facts facts;
	int err;

	yyjson_doc_free(doc);
	if (!chain) {
		snprintf(error, 200, "its answer cannot be read");
		return -EBADMSG;
	}
	err = chain_ours(&identity, chain, identity.root, &facts, error);
	if (err == 0 && strcmp(facts.name, identity.node) != 0) {
		snprintf(error, 200, "its certificate is for another node");
		err = -EBADMSG;
	}
	if (err < 0)
		return err;
	free(identity.chain);
	identity.chain = ptr_take(&chain);
	identity.facts = facts;
	err = identity_write();
	if (err < 0)
		snprintf(error, 200, "cannot be kept: %s", strerror(-err));
	/* The old session speaks for the old certificate. */
	unlinkat(dir, "session", 0);
	return err;
}

/* ---- the lesser files ---- */

size_t identity_session_load(char address[ENROL_ADDRESS_SIZE],
			     char session[IDENTITY_SESSION_MAX])
{
	const size_t most = ENROL_ADDRESS_SIZE + IDENTITY_SESSION_MAX;
	autofree char *data = NULL;
	struct span rest, line;
	size_t size;

	address[0] = '\0';
	if (file_read(dir, "session", most, &data, &size) < 0)
		return 0;
	rest = (struct span){ data, size };
	if (!span_cut(&rest, '\n', &line) || !enrol_address_valid(line) ||
	    span_copy(address, ENROL_ADDRESS_SIZE, line) < 0 ||
	    rest.size > IDENTITY_SESSION_MAX)
		return 0;
	if (rest.size)
		memcpy(session, rest.data, rest.size);
	return rest.size;
}

void identity_session_save(const char *address, struct span session)
{
	autoclose int fd = openat(dir, "session.new",
				  O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC,
				  0600);

	if (fd < 0 || fd_write(fd, address, strlen(address)) < 0 ||
	    fd_write(fd, "\n", 1) < 0 ||
	    fd_write(fd, session.data, session.size) < 0 ||
	    renameat(dir, "session.new", dir, "session") < 0)
		unlinkat(dir, "session.new", 0);
}

int64_t identity_time_load(void)
{
	autofree char *text = NULL;
	uint64_t seconds;
	size_t size;

	if (file_read(dir, "time", 32, &text, &size) < 0 ||
	    span_u64((struct span){ text, size }, INT64_MAX, &seconds) < 0)
		return 0;
	return (int64_t)seconds;
}

void identity_time_save(int64_t seconds)
{
	char text[24];
	int n = snprintf(text, sizeof(text), "%lld", (long long)seconds);
	int err = file_replace(dir, "time", 0600, text, (size_t)n);

	if (err < 0)
		log_warning("time", "cannot be kept: %s", strerror(-err));
}
