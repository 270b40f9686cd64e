#define _GNU_SOURCE
#include "credential.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <yyjson.h>

#include "base/fd.h"
#include "base/log.h"

enum { FILE_MAX = 64 << 10 };

static const char *environment(const char *name)
{
	const char *value = getenv(name);

	return value && value[0] ? value : NULL;
}

/* The first that is said decides, whether or not it is there. */
static int file_find(const struct ctl *ctl, char file[512])
{
	const char *said = ctl->hub_file ? ctl->hub_file
					 : environment("ZOOID_OPERATOR");
	const char *folder = environment("ZOOID_HUB");
	const char *home = environment("HOME");
	int n;

	if (said)
		n = snprintf(file, 512, "%s", said);
	else if (folder)
		n = snprintf(file, 512, "%s/operator.json", folder);
	else if (home)
		n = snprintf(file, 512, "%s/.config/zooid/operator.json", home);
	else
		n = -1;
	if (n > 0 && n < 512)
		return EXIT_DONE;
	log_error(NULL, "which credential? Give --hub-file FILE or set "
			"ZOOID_OPERATOR");
	return EXIT_FAILED;
}

static int refuse(const struct credential *c, const char *what)
{
	log_error(c->file, "%s; want what zhub init or zhub operator wrote",
		  what);
	return EXIT_FAILED;
}

static int hubs_read(struct credential *c, yyjson_val *list)
{
	yyjson_arr_iter iter;
	yyjson_val *v;

	yyjson_arr_iter_init(list, &iter);
	while ((v = yyjson_arr_iter_next(&iter))) {
		struct span s = { yyjson_get_str(v), yyjson_get_len(v) };

		if (!s.data || c->n_hubs == CREDENTIAL_HUBS_MAX ||
		    span_copy(c->hub[c->n_hubs], sizeof(c->hub[0]), s) < 0)
			return -EINVAL;
		c->n_hubs++;
	}
	return c->n_hubs ? 0 : -EINVAL;
}

/* The certificate must be that of the key. */
static int chain_fits(const struct credential *c)
{
	struct cert_public public;
	struct chain_facts facts;
	uint8_t pin[CHAIN_PIN_SIZE];
	struct chain *chain;
	int err = chain_read(span_of(c->chain), &chain);

	if (err)
		return err;
	err = chain_facts(chain, 0, &facts);
	chain_free(chain);
	cert_key_public(c->key, &public);
	cert_pin(&public, pin);
	return !err && memcmp(pin, facts.pin, sizeof(pin)) ? -EINVAL : err;
}

static int document_read(struct credential *c, yyjson_val *root)
{
	const char *key = yyjson_get_str(yyjson_obj_get(root, "key"));
	const char *pin = yyjson_get_str(yyjson_obj_get(root, "pin"));
	const char *chain = yyjson_get_str(yyjson_obj_get(root, "chain"));

	if (!yyjson_is_obj(root))
		return refuse(c, "is not JSON");
	if (hubs_read(c, yyjson_obj_get(root, "hub")) < 0)
		return refuse(c, "hub: is no list of 1 to 16 HOST:PORT");
	if (!pin || cert_pin_parse(span_of(pin), c->pin) < 0)
		return refuse(c, "pin: is not 64 hex digits");
	if (!key || cert_key_read(span_of(key), &c->key) < 0)
		return refuse(c, "key: is no P-256 key");
	if (!chain || !(c->chain = strdup(chain)))
		return refuse(c, "chain: is missing");
	if (chain_fits(c) < 0)
		return refuse(c, "chain: holds no certificate of that key");
	return EXIT_DONE;
}

/* Whoever can read it is the operator. */
static void mode_check(const char *file)
{
	struct stat st;

	if (stat(file, &st) == 0 && st.st_mode & 077)
		log_warning(file,
			    "others may read this key (mode %03o); run "
			    "chmod 600",
			    st.st_mode & 0777);
}

int credential_read(const struct ctl *ctl, struct credential *c)
{
	autofree char *text = NULL;
	yyjson_doc *doc;
	size_t size;
	int code, err;

	*c = (struct credential){ 0 };
	code = file_find(ctl, c->file);
	if (code)
		return code;
	err = file_read(AT_FDCWD, c->file, FILE_MAX, &text, &size);
	if (err < 0) {
		log_error(c->file,
			  "%s; give --hub-file FILE or set "
			  "ZOOID_OPERATOR",
			  strerror(-err));
		return EXIT_FAILED;
	}
	mode_check(c->file);
	doc = yyjson_read(text, size, 0);
	code = document_read(c, yyjson_doc_get_root(doc));
	yyjson_doc_free(doc);
	explicit_bzero(text, size);
	if (code)
		credential_free(c);
	return code;
}

void credential_free(struct credential *c)
{
	if (c->key)
		cert_key_free(c->key);
	free(c->chain);
	c->key = NULL;
	c->chain = NULL;
}
