/* The network of a container of a node that obeys a hub: who it is to its
 * neighbours, and where it may go, as the signed document says and not znode.
 *
 * Theory of operation. A captured znode would leave out a container's policy,
 * or start its image under another name: so an address, or the network of
 * another container, is only for who is in the document by app and image, with
 * exactly what it says there, or is an application of node.json, whose image
 * lies on a partition that no daemon can write. The id has the app's name in
 * it, by which containers are told apart from here on.
 *
 * Where node.json names no hub nothing is signed: znode is believed. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <unistd.h>

#include "base/path.h"
#include "grants.h"
#include "oci/digest/digest.h"
#include "serve.h"

static const char *text_of(const struct runtime_config *config, const char *key)
{
	const char *text = text_map_find(&config->annotations, key);

	return text ? text : "";
}

/* Whether the id is APP-NUMBER. */
static bool is_of(const char *id, struct span app)
{
	struct span rest = span_of(id);
	uint64_t number;

	if (rest.size <= app.size || id[app.size] != '-' ||
	    memcmp(id, app.data, app.size) != 0)
		return false;
	rest.data += app.size + 1;
	rest.size -= app.size + 1;
	return span_u64(rest, UINT32_MAX, &number) == 0;
}

static bool layout_has(struct span path, const char *image)
{
	char file[4096];
	struct digest digest;

	if (digest_parse(span_of(image), &digest) < 0)
		return false;
	int n = snprintf(file, sizeof(file) - DIGEST_HEX_SIZE,
			 "%s/%.*s/blobs/sha256/", path_boot(), (int)path.size,
			 path.data);

	if (n >= (int)(sizeof(file) - DIGEST_HEX_SIZE))
		return false;
	digest_hex(&digest, file + n);
	return access(file, F_OK) == 0;
}

static bool is_local(const struct network_asked *a, const struct grants *g)
{
	struct span rest = g->local, line, name;

	while (grants_line(&rest, "local", &line)) {
		if (!span_cut(&line, ' ', &name) || !span_is(name, a->app))
			continue;
		return layout_has(line, a->image) && !a->joined &&
		       !*text_of(a->config, ZRUN_ANNOTATION_APPLICATION) &&
		       span_is(name,
			       text_of(a->config, ZRUN_ANNOTATION_SERVICE));
	}
	return false;
}

static int check_place(const struct network_asked *a, struct span *rest,
		       char *refusal)
{
	struct span line;

	if (grants_line(rest, "alone", &line))
		return policy_refuse(refusal, "the signed document gives it no "
					      "network");
	bool joins = grants_line(rest, "joins", &line);

	if (joins == (a->joined != NULL) && (!joins || is_of(a->joined, line)))
		return 0;
	return policy_refuse(refusal,
			     "linux.namespaces: network: the signed document "
			     "gives it another one");
}

/* Line by line, as both write them. */
static int check_policy(const struct network_asked *a, struct span *rest,
			char *refusal)
{
	struct span asked = span_of(text_of(a->config, ZRUN_ANNOTATION_POLICY));
	struct span line, word;
	bool same = true;

	if (asked.size == 0)
		asked.data = NULL;
	else if (asked.data[asked.size - 1] == '\n')
		asked.size--;
	while (same && grants_line(rest, "policy", &line))
		same = span_cut(&asked, '\n', &word) &&
		       word.size == line.size &&
		       memcmp(word.data, line.data, line.size) == 0;
	return same && !asked.data
		       ? 0
		       : policy_refuse(refusal,
				       "annotations." ZRUN_ANNOTATION_POLICY
				       ": the signed document has another "
				       "one");
}

static int check_listed(const struct network_asked *a, struct span rest,
			char *refusal)
{
	static const struct {
		const char *word, *key;
	} names[] = {
		{ "application", ZRUN_ANNOTATION_APPLICATION },
		{ "service", ZRUN_ANNOTATION_SERVICE },
	};
	struct span line;

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		if (!grants_line(&rest, names[i].word, &line) ||
		    !span_is(line, text_of(a->config, names[i].key)))
			return policy_refuse(
				refusal,
				"annotations.%s: the signed document has "
				"another one",
				names[i].key);
	}
	int r = check_place(a, &rest, refusal);

	return r < 0 ? r : check_policy(a, &rest, refusal);
}

int grants_network(const struct network_asked *a, const struct grants *g,
		   char refusal[POLICY_TEXT_SIZE])
{
	if (!g->is_bound ||
	    (!a->joined &&
	     !text_map_find(&a->config->annotations, ZRUN_ANNOTATION_ADDRESS)))
		return 0;
	if (!is_of(a->id, span_of(a->app)))
		return policy_refuse(refusal,
				     "id: want that of its app, %.63s-NUMBER",
				     a->app);
	if (g->is_listed)
		return check_listed(a, g->network, refusal);
	return is_local(a, g)
		       ? 0
		       : policy_refuse(
				 refusal,
				 "annotations: app %.63s of that image is not "
				 "in the signed document, and so has no "
				 "network",
				 a->app);
}
