/* How a registry is reached: what node.json says of it, and the certificates
 * in the image. */
#ifndef ZPULL_SITE_H
#define ZPULL_SITE_H

#include "registry/remote.h"

enum { SITE_TEXT_SIZE = 200, SITE_CA_MAX = 1 << 20 };

struct site {
	bool plain;
	char *ca; /* PEM, or NULL */
	size_t ca_size;
};

/* Fills *site, freed with site_free(). `boot` is the ZOOID partition with
 * node.json, or -1. 0, or -errno with one line: a certificate file that cannot
 * be read. A node.json that cannot be read names no registry. */
int site_find(int boot, const char *host, struct site *site,
	      char text[SITE_TEXT_SIZE]);
/* The certificates of a file, or of the image with path NULL. */
int site_ca_read(struct site *site, int dir, const char *path);
void site_free(struct site *site);

#endif
