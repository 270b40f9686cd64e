#define _GNU_SOURCE
#include "site.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/node_json.h"
#include "base/path.h"

/* In our image, and on ordinary hosts. */
static const char *const public_files[] = {
	"/etc/ssl/cert.pem",
	"/etc/ssl/certs/ca-certificates.crt",
};

static int node_parse(char *text, size_t size, struct node_json *node)
{
	size_t scratch_size = NODE_SCRATCH_SIZE(size);
	autofree void *scratch = malloc(scratch_size);
	char error[NODE_ERROR_SIZE];
	int r;

	if (!scratch)
		return -ENOMEM;
	r = node_json_parse(text, size, scratch, scratch_size, node, error);
	if (r)
		log_error(NULL, "%s; no registry is taken from it", error);
	return r;
}

/* It is read anew for each pull: rarely, and nothing of it is kept in memory
 * meanwhile. */
static int node_read(int boot, struct node_json *node)
{
	autofree char *text = NULL;
	size_t size;
	int r = boot < 0 ? -ENOENT
			 : file_read(boot, "node.json", NODE_JSON_SIZE_MAX,
				     &text, &size);

	if (r && r != -ENOENT)
		log_error("node.json", "%s", strerror(-r));
	return r ? r : node_parse(text, size, node);
}

static int public_read(struct site *site)
{
	int r = -ENOENT;

	for (size_t i = 0; r == -ENOENT && i < 2; i++)
		r = file_read(AT_FDCWD, public_files[i], SITE_CA_MAX, &site->ca,
			      &site->ca_size);
	/* Then no certificate can be verified, which the handshake says. */
	return r == -ENOENT || r == -EACCES ? 0 : r;
}

int site_ca_read(struct site *site, int dir, const char *path)
{
	autoclose int fd = -1;
	struct stat st;
	ssize_t n;

	if (!path)
		return public_read(site);
	fd = dir == AT_FDCWD ? open(path, O_RDONLY | O_CLOEXEC)
			     : path_open_beneath(dir, path, O_RDONLY, 0);
	if (fd < 0)
		return dir == AT_FDCWD ? -errno : fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size == 0)
		return -EINVAL;
	if (st.st_size > SITE_CA_MAX)
		return -EFBIG;
	site->ca = malloc((size_t)st.st_size);
	if (!site->ca)
		return -ENOMEM;
	n = fd_read(fd, site->ca, (size_t)st.st_size);
	site->ca_size = n < 0 ? 0 : (size_t)n;
	return n < 0 ? (int)n : 0;
}

int site_find(int boot, const char *host, struct site *site,
	      char text[SITE_TEXT_SIZE])
{
	autofree struct node_json *node = malloc(sizeof(*node));
	const char *ca = NULL;
	int r;

	*site = (struct site){ 0 };
	if (node && node_read(boot, node) == 0)
		for (unsigned i = 0; i < node->n_registry; i++)
			if (strcmp(node->registry[i].host, host) == 0) {
				site->plain = node->registry[i].http;
				if (node->registry[i].ca[0])
					ca = node->registry[i].ca;
			}
	r = site_ca_read(site, boot, ca);
	if (r)
		snprintf(text, SITE_TEXT_SIZE,
			 "registry %.60s: certificates %.80s: %s", host,
			 ca ? ca : "of the image", strerror(-r));
	return r;
}

void site_free(struct site *site)
{
	free(site->ca);
	*site = (struct site){ 0 };
}
