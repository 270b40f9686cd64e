#define _GNU_SOURCE
#include "document.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "oci/image_descriptor.h"

#define DOCUMENT "document"
#define PIN	 "pin"
#define STOPPED	 "stopped"
#define INDEX	 "index-"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

enum {
	FILE_MAX = CHAIN_PEM_MAX + ENVELOPE_SIZE_MAX,
	STOPPED_MAX = DESIRED_APPS_MAX * 64,
	INDEX_NAME_SIZE = sizeof(INDEX) + DIGEST_HEX_SIZE,
};

/* Removes what begins with `prefix` and, where there are any, is none of the
 * n names. The names are our own, so this runs unconfined too. */
static void remove_others(int dir, const char *prefix,
			  char (*names)[INDEX_NAME_SIZE], unsigned n)
{
	DIR *list = path_list(dir, ".");
	struct dirent *d;

	while (list && (d = readdir(list))) {
		unsigned i = 0;

		if (strncmp(d->d_name, prefix, strlen(prefix)) != 0)
			continue;
		while (i < n && strcmp(names[i], d->d_name) != 0)
			i++;
		if (i == n)
			unlinkat(dir, d->d_name, 0);
	}
	if (list)
		closedir(list);
}

/* As file_replace() names them. */
static const char *const temporaries[] = { "." DOCUMENT, "." PIN, "." STOPPED,
					   "." INDEX };

void document_open(struct document *doc)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/desired", path_data());
	doc->dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (doc->dir < 0)
		log_notice(path, "%s: no desired document is taken",
			   strerror(errno));
	for (size_t i = 0; doc->dir >= 0 && i < ARRAY_SIZE(temporaries); i++)
		remove_others(doc->dir, temporaries[i], NULL, 0);
}

/* ------------------------------------------------------------------- pin */

static void pin_load(struct document *doc)
{
	autofree char *text = NULL;
	struct digest pin;
	size_t size;
	int r = file_read(doc->dir, PIN, DIGEST_HEX_SIZE, &text, &size);

	if (r == -ENOENT)
		return;
	if (!r)
		r = digest_parse_hex((struct span){ text, size }, &pin);
	if (r) {
		log_error(PIN, "%s", strerror(-r));
		return;
	}
	memcpy(doc->pin, pin.bytes, sizeof(doc->pin));
	doc->pinned = true;
}

static void pin_set(struct document *doc, const uint8_t pin[CHAIN_PIN_SIZE])
{
	char hex[DIGEST_HEX_SIZE];
	struct digest digest;
	int r;

	if (doc->pinned && memcmp(doc->pin, pin, CHAIN_PIN_SIZE) == 0)
		return;
	doc->pinned = true;
	memcpy(doc->pin, pin, CHAIN_PIN_SIZE);
	memcpy(digest.bytes, pin, CHAIN_PIN_SIZE);
	digest_hex(&digest, hex);
	r = file_replace(doc->dir, PIN, 0600, hex, strlen(hex));
	/* The document itself has the root too. */
	if (r)
		log_warning(PIN, "not stored: %s", strerror(-r));
}

/* -------------------------------------------------------------- document */

static int document_read(struct document *doc, char error[TRUST_ERROR_SIZE])
{
	autofree char *text = NULL;
	struct offer offer;
	struct root root;
	size_t size;
	int r = file_read(doc->dir, DOCUMENT, FILE_MAX, &text, &size);

	if (r) {
		snprintf(error, TRUST_ERROR_SIZE, "%s", strerror(-r));
		return r;
	}
	r = envelope_split((struct span){ text, size }, &offer.chain,
			   &offer.envelope);
	if (r)
		snprintf(error, TRUST_ERROR_SIZE, "no root certificate in it");
	else
		r = trust_reopen(&offer, &root, &doc->desired, error);
	if (!r)
		pin_set(doc, root.pin);
	return r;
}

void document_load(struct document *doc)
{
	char error[TRUST_ERROR_SIZE];
	int r;

	if (doc->dir < 0)
		return;
	pin_load(doc);
	r = document_read(doc, error);
	doc->obeyed = r == 0;
	doc->known = r == 0 || r == -ENOENT;
	if (!doc->known)
		log_error(DOCUMENT,
			  "cannot be read: %s; what runs is left alone until "
			  "the hub sends it again",
			  error);
	else if (doc->obeyed)
		log_info(DOCUMENT, "%llu.%llu of node %s is obeyed",
			 (unsigned long long)doc->desired.epoch,
			 (unsigned long long)doc->desired.revision,
			 doc->desired.node);
}

static int document_write(const struct document *doc, const struct offer *offer,
			  const struct root *root)
{
	static const char end[] = "-----END CERTIFICATE-----";
	const char *p = memmem(root->pem.data, root->pem.size, end,
			       sizeof(end) - 1);
	size_t n = (size_t)(p - root->pem.data) + sizeof(end) - 1;
	autofree char *text = malloc(n + 1 + offer->envelope.size);

	if (!text)
		return -ENOMEM;
	memcpy(text, root->pem.data, n);
	text[n] = '\n';
	memcpy(text + n + 1, offer->envelope.data, offer->envelope.size);
	return file_replace(doc->dir, DOCUMENT, 0600, text,
			    n + 1 + offer->envelope.size);
}

/* What the next document is judged by. The numbers only count under the root
 * whose document is obeyed. */
static struct trust trust_now(const struct document *doc,
			      const uint8_t *token_pin)
{
	struct trust trust = { .pinned = doc->pinned || token_pin };

	memcpy(trust.pin, token_pin ? token_pin : doc->pin, sizeof(trust.pin));
	if (doc->obeyed &&
	    memcmp(trust.pin, doc->pin, sizeof(trust.pin)) == 0) {
		trust.epoch = doc->desired.epoch;
		trust.revision = doc->desired.revision;
	}
	return trust;
}

int document_take(struct document *doc, const struct offer *offer,
		  const uint8_t *token_pin, struct desired *old,
		  char error[TRUST_ERROR_SIZE])
{
	struct trust trust = trust_now(doc, token_pin);
	struct desired desired;
	struct root root;
	int r = doc->dir < 0 ? -EROFS : 0;

	if (!r) {
		r = trust_judge(&trust, offer, &root, &desired, error);
		if (r)
			return r;
		r = document_write(doc, offer, &root);
		if (r)
			desired_free(&desired);
	}
	if (r) {
		snprintf(error, TRUST_ERROR_SIZE,
			 "document not stored in %s/desired: %s", path_data(),
			 strerror(-r));
		return r;
	}
	pin_set(doc, root.pin);
	*old = doc->desired;
	doc->desired = desired;
	doc->obeyed = doc->known = true;
	return 0;
}

/* --------------------------------------------------------------- indexes */

static void index_name(const struct digest *index, char name[INDEX_NAME_SIZE])
{
	char hex[DIGEST_HEX_SIZE];

	digest_hex(index, hex);
	snprintf(name, INDEX_NAME_SIZE, INDEX "%s", hex);
}

int document_index_read(const struct document *doc, const struct digest *index,
			char **text, size_t *size)
{
	char name[INDEX_NAME_SIZE];

	if (doc->dir < 0)
		return -ENOENT;
	index_name(index, name);
	return file_read(doc->dir, name, IMAGE_DOCUMENT_MAX, text, size);
}

int document_index_store(const struct document *doc, const struct digest *index,
			 struct span text)
{
	char name[INDEX_NAME_SIZE];

	index_name(index, name);
	return file_replace(doc->dir, name, 0600, text.data, text.size);
}

void document_index_sweep(const struct document *doc)
{
	unsigned n = doc->desired.n_apps;
	autofree char(*names)[INDEX_NAME_SIZE] = calloc(n + 1, sizeof(*names));

	if (!names || doc->dir < 0)
		return;
	for (unsigned i = 0; i < n; i++)
		index_name(&doc->desired.app[i].digest, names[i]);
	remove_others(doc->dir, INDEX, names, n);
}

/* --------------------------------------------------------------- stopped */

void document_stopped_read(const struct document *doc, char **text)
{
	size_t size;
	int r = doc->dir < 0 ? -ENOENT
			     : file_read(doc->dir, STOPPED, STOPPED_MAX, text,
					 &size);

	if (r && r != -ENOENT)
		log_error(STOPPED, "%s", strerror(-r));
}

void document_stopped_write(const struct document *doc, const char *text)
{
	int r = doc->dir < 0 ? -EROFS
			     : file_replace(doc->dir, STOPPED, 0600, text,
					    strlen(text));

	if (r)
		log_error(STOPPED, "not stored, is forgotten at boot: %s",
			  strerror(-r));
}
