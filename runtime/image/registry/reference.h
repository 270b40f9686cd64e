/* References to images as people write them, such as
 *
 *	busybox				library/busybox:latest, no host
 *	registry.example/team/web:1.0
 *	10.0.2.2:5000/web@sha256:HEX
 *
 * with the defaults of docker(1): what is before the first slash is a registry
 * when it has a dot or a colon or is "localhost". Of which registry names are
 * that say none, is configuration, never known here. The grammar is that of the
 * OCI distribution specification, but that a repository may start with the
 * HOST:PORT of another registry, as it does within a hub. */
#ifndef REGISTRY_REFERENCE_H
#define REGISTRY_REFERENCE_H

#include "oci/digest/digest.h"

enum {
	REFERENCE_HOST_SIZE = 264,
	REFERENCE_REPOSITORY_SIZE = 256,
	REFERENCE_TAG_SIZE = 129,
};

struct reference {
	char host[REFERENCE_HOST_SIZE]; /* HOST, HOST:PORT; "": not said */
	char repository[REFERENCE_REPOSITORY_SIZE]; /* "library/busybox" */
	char tag[REFERENCE_TAG_SIZE]; /* "" when there is only a digest */
	bool has_digest;
	struct digest digest;
};

/* Foreign bytes: a person's, a document's. 0, -EINVAL, -ENOTSUP (a digest that
 * is no sha256). */
int reference_parse(struct span text, struct reference *reference);

/* The parts by themselves. */
bool reference_host_valid(struct span host);
bool reference_repository_valid(struct span repository);
bool reference_tag_valid(struct span tag);

#endif
