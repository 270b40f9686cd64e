/* zgrant: reads the signed document that znode obeys for `zrun serve`, which
 * believes nothing of it that znode says. A program of its own, so that
 * certificates are parsed in no process that can make containers, and zrun is
 * small.
 *
 * The document is believed when its signer chains to the organism's root, whose
 * pin the token in node.json has: that file is on a partition which no daemon
 * can write. It prints what node.json says,
 *
 *	free				it names no hub: nothing is signed
 *	hub				it does, so what is signed holds
 *	local NAME IMAGE		an application of its own, if so
 *
 * then the document,
 *
 *	node NODE EPOCH REVISION PIN
 *	app NAME DIGEST			an application, then of it:
 *	grant TEXT			a grant (oci/grant.h)
 *	application NAME
 *	service NAME...			by which its neighbours find it
 *	alone				it has no network
 *	joins APP			it has that one's
 *	policy LINE			where it may go (oci/net_policy.h)
 *
 * or in its place "error TEXT", and ends with 1. Whether the document is this
 * node's, and none of yesterday, is for who remembers: serve. */
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
#include "oci/net_policy.h"
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

struct file {
	char directory[4096];
	const char *name;
	int error; /* 0 or -errno */
	struct span text;
};

static void file_get(struct file *f, size_t max)
{
	autoclose int dir = open(f->directory,
				 O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char *text = NULL;

	f->error = dir < 0 ? -errno
			   : file_read(dir, f->name, max, &text, &f->text.size);
	f->text.data = text;
}

_Noreturn static void fail_file(const struct file *f)
{
	fail("%s/%s: %s", f->directory, f->name, strerror(-f->error));
}

static void say_node(const char *line)
{
	if (fd_write(STDOUT_FILENO, line, strlen(line)) < 0)
		_exit(1);
}

/* What names no hub, be it because a person has put nonsense there. */
__attribute__((format(printf, 1, 2))) _Noreturn static void fail_free(
	const char *fmt, ...)
{
	char text[NODE_ERROR_SIZE + 100];
	va_list args;

	va_start(args, fmt);
	vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	say_node("free\n");
	fail("%s", text);
}

/* Said at once: known even where the document is no good. */
static void node_read(const struct file *f, uint8_t pin[CHAIN_PIN_SIZE])
{
	static struct node_json node;
	size_t scratch_size = NODE_SCRATCH_SIZE(f->text.size);
	void *scratch = malloc(scratch_size);
	char error[NODE_ERROR_SIZE], line[300];

	if (f->error == -ENOENT)
		fail_free("%s/%s: %s", f->directory, f->name, strerror(ENOENT));
	if (f->error < 0)
		fail_file(f);
	if (!scratch)
		fail("out of memory");
	if (node_json_parse(f->text.data, f->text.size, scratch, scratch_size,
			    &node, error) < 0)
		fail_free("%s", error);
	if (!node.hub.n_hub)
		fail_free("node.json: names no hub, so nobody can grant "
			  "anything");
	memcpy(pin, node.hub.pin, CHAIN_PIN_SIZE);
	free(scratch);
	say_node("hub\n");
	for (unsigned i = 0; i < node.n_app; i++) {
		snprintf(line, sizeof(line), "local %s %s\n", node.app[i].name,
			 node.app[i].image);
		say_node(line);
	}
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

static void print_network(FILE *out, const struct desired_app *app)
{
	static char policy[NET_POLICY_TEXT_MAX];
	char names[DESIRED_NAMES_SIZE];
	struct span rest = { policy, 0 }, line;

	fprintf(out, "application %s\n", app->application);
	desired_names(app, names);
	fprintf(out, "service %s\n", names);
	if (app->no_network)
		fputs("alone\n", out);
	if (app->pod.shares & DESIRED_POD_NETWORK)
		fprintf(out, "joins %s\n", app->pod.on.app);
	if (!desired_has_policy(app))
		return;
	desired_policy_text(app, policy);
	rest.size = strlen(policy) - 1;
	while (span_cut(&rest, '\n', &line))
		fprintf(out, "policy %.*s\n", (int)line.size, line.data);
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

		digest_text(&app->digest, text);
		fprintf(out, "app %s %s\n", app->name, text);
		for (unsigned k = 0; k < app->grants.n; k++)
			fprintf(out, "grant %s\n", app->grants.item[k]);
		print_network(out, app);
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
	static struct file node = { .name = "node.json" },
			   document = { .name = "document" };
	static struct desired desired;
	uint8_t pin[CHAIN_PIN_SIZE];

	(void)argv;
	log_open("zgrant");
	if (argc != 1) {
		fputs("zgrant: only zrun serve starts it\n", stderr);
		return 2;
	}
	text_copy(node.directory, sizeof(node.directory), path_boot());
	snprintf(document.directory, sizeof(document.directory), "%s/desired",
		 path_data());
	file_get(&node, NODE_JSON_SIZE_MAX);
	file_get(&document, DOCUMENT_MAX);
	if (confine_files(NULL, 0) < 0 ||
	    confine(seccomp_filter,
		    sizeof(seccomp_filter) / sizeof(seccomp_filter[0])) < 0)
		fail("cannot confine itself");
	node_read(&node, pin);
	if (document.error < 0)
		fail_file(&document);
	document_read(document.text, pin, &desired);
	say(&desired, pin);
}
