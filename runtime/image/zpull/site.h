/* How a registry is reached: what node.json says of it and of its mirrors, and
 * the certificates in the image. */
#ifndef ZPULL_SITE_H
#define ZPULL_SITE_H

#include "base/node_json.h"
#include "registry/remote.h"

enum {
	SITE_TEXT_SIZE = 200,
	SITE_CA_MAX = 1 << 20,
	SITES_MAX = NODE_MIRRORS_MAX + 1,
};

struct site {
	char host[REFERENCE_HOST_SIZE];
	bool plain;
	char *ca; /* PEM, or NULL */
	size_t ca_size;
	char *user, *password; /* NULL: none */
	char *proxy;	       /* URL, or NULL */
};

/* In the order in which they are tried: mirrors, then the registry itself. */
struct sites {
	unsigned n;
	struct site site[SITES_MAX];
};

/* Fills *sites, freed with sites_free() whatever the result, for the registry
 * of a reference; one that names none gets the default's host. `boot` is the
 * ZOOID partition with node.json, or -1. 0, or -errno with one line: no
 * default, a certificate file that cannot be read. A node.json that cannot be
 * read names no registry. */
int sites_find(int boot, struct reference *reference, struct sites *sites,
	       char text[SITE_TEXT_SIZE]);
/* The certificates of a file, or of the image with path NULL. */
int site_ca_read(struct site *site, int dir, const char *path);
void sites_free(struct sites *sites);

/* What remote_open() wants for it; points into both. */
struct remote_source site_source(const struct site *site,
				 const char *repository);

#endif
