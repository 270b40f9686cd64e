/* zgrant: reads the signed document that znode obeys for `zrun serve`, which
 * believes nothing of it that znode says. A program of its own, so that
 * certificates are parsed in no process that can make containers, and zrun is
 * small.
 *
 * The document is believed when its signer chains to the organism's root, whose
 * pin the token in node.json has: that file is on a partition which no daemon
 * can write. It prints
 *
 *	node NODE EPOCH REVISION PIN
 *	app NAME DIGEST			an application that has grants, and its
 *	grant TEXT			grants (oci/grant.h), one a line
 *
 * or "error TEXT" alone, and ends with 1. Whether the document is this node's,
 * and none of yesterday, is for who remembers: serve. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/confine.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/node_json.h"
#include "base/path.h"
#include "oci/desired.h"
#include "oci/envelope.h"
#include "zgrant_filter.h"

enum { DOCUMENT_MAX = CHAIN_PEM_MAX + ENVELOPE_SIZE_MAX };

__attribute__((format(printf, 1, 2))) _Noreturn static void fail(
	const char *fmt, ...)
{
	char text[600] = "error ";
	size_t n = strlen(text);
	va_list args;

	va_start(args, fmt);
	vsnprintf(text + n, sizeof(text) - n - 1, fmt, args);
	va_end(args);
	n = strlen(text);
	text[n++] = '\n';
	(void)!fd_write(STDOUT_FILENO, text, n);
	_exit(1);
}

static char *file_of(const char *directory, const char *name, size_t max,
		     size_t *size)
{
	autoclose int dir = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char *text = NULL;
	int r = dir < 0 ? -errno : file_read(dir, name, max, &text, size);

	if (r < 0)
		fail("%s/%s: %s", directory, name, strerror(-r));
	return text;
}

static void pin_read(const char *text, size_t size, uint8_t pin[CHAIN_PIN_SIZE])
{
	static struct node_json node;
	size_t scratch_size = NODE_SCRATCH_SIZE(size);
	void *scratch = malloc(scratch_size);
	char error[NODE_ERROR_SIZE];

	if (!scratch)
		fail("out of memory");
	if (node_json_parse(text, size, scratch, scratch_size, &node, error) <
	    0)
		fail("%s", error);
	if (!node.hub.n_hub)
		fail("node.json: names no hub, so nobody can grant anything");
	memcpy(pin, node.hub.pin, CHAIN_PIN_SIZE);
	free(scratch);
}

static void document_read(struct span text, const uint8_t pin[CHAIN_PIN_SIZE],
			  struct desired *desired)
{
	char error[ENVELOPE_ERROR_SIZE];
	struct envelope_trust trust = { .now = 0 };
	struct span envelope, payload;

	_Static_assert((int)DESIRED_ERROR_SIZE <= (int)ENVELOPE_ERROR_SIZE,
		       "one buffer for both");
	memcpy(trust.pin, pin, CHAIN_PIN_SIZE);
	if (envelope_split(text, &trust.root, &envelope) < 0)
		fail("document: no root certificate in it");
	if (envelope_open(envelope, ENVELOPE_DESIRED, &trust, &payload, NULL,
			  error) < 0)
		fail("document: %s", error);
	if (desired_parse(payload, desired, error) < 0)
		fail("%s", error);
}

static void print(FILE *out, const struct desired *desired,
		  const uint8_t pin[CHAIN_PIN_SIZE])
{
	char text[DIGEST_TEXT_SIZE];
	struct digest digest;

	memcpy(digest.bytes, pin, CHAIN_PIN_SIZE);
	digest_hex(&digest, text);
	fprintf(out, "node %s %llu %llu %s\n", desired->node,
		(unsigned long long)desired->epoch,
		(unsigned long long)desired->revision, text);
	for (unsigned i = 0; i < desired->n_apps; i++) {
		const struct desired_app *app = &desired->app[i];

		if (!app->grants.n)
			continue;
		digest_text(&app->digest, text);
		fprintf(out, "app %s %s\n", app->name, text);
		for (unsigned k = 0; k < app->grants.n; k++)
			fprintf(out, "grant %s\n", app->grants.item[k]);
	}
}

/* All of it or nothing: stdout itself would ask whether it is a terminal. */
static void say(const struct desired *desired,
		const uint8_t pin[CHAIN_PIN_SIZE])
{
	char *text = NULL;
	size_t size = 0;
	FILE *out = open_memstream(&text, &size);

	if (out)
		print(out, desired, pin);
	if (!out || fclose(out) != 0)
		fail("out of memory");
	_exit(fd_write(STDOUT_FILENO, text, size) < 0);
}

int main(int argc, char **argv)
{
	char directory[4096];
	uint8_t pin[CHAIN_PIN_SIZE];
	static struct desired desired;
	struct span document = { NULL, 0 }, node = { NULL, 0 };

	(void)argv;
	log_open("zgrant");
	if (argc != 1) {
		fputs("zgrant: only zrun serve starts it\n", stderr);
		return 2;
	}
	snprintf(directory, sizeof(directory), "%s/desired", path_data());
	node.data = file_of(path_boot(), "node.json", NODE_JSON_SIZE_MAX,
			    &node.size);
	document.data = file_of(directory, "document", DOCUMENT_MAX,
				&document.size);
	if (confine_files(NULL, 0) < 0 ||
	    confine(seccomp_filter,
		    sizeof(seccomp_filter) / sizeof(seccomp_filter[0])) < 0)
		fail("cannot confine itself");
	pin_read(node.data, node.size, pin);
	document_read(document, pin, &desired);
	say(&desired, pin);
}
