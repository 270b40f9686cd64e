#define _GNU_SOURCE
#include "site.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/log.h"
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

static const struct node_registry *row_find(const struct node_json *node,
					    const char *host)
{
	for (unsigned i = 0; i < node->n_registry; i++)
		if (strcmp(node->registry[i].host, host) == 0)
			return &node->registry[i];
	return NULL;
}

/* Its own row, or that of all others. */
static const struct node_registry *row_of(const struct node_json *node,
					  const char *host)
{
	const struct node_registry *row = row_find(node, host);

	return row ? row : row_find(node, "*");
}

static int texts_copy(struct site *site, const struct node_registry *row)
{
	if (row && row->proxy) {
		site->proxy = strdup(row->proxy);
		if (!site->proxy)
			return -ENOMEM;
	}
	if (!row || !row->user)
		return 0;
	site->user = strdup(row->user);
	site->password = strdup(row->password);
	return site->user && site->password ? 0 : -ENOMEM;
}

static int site_fill(struct site *site, int boot,
		     const struct node_registry *row, char *text)
{
	const char *ca = row && row->ca[0] ? row->ca : NULL;
	int r = texts_copy(site, row);

	site->plain = row && row->http;
	if (!r)
		r = site_ca_read(site, boot, ca);
	if (r)
		snprintf(text, SITE_TEXT_SIZE,
			 "registry %.60s: certificates %.80s: %s", site->host,
			 ca ? ca : "of the image", strerror(-r));
	return r;
}

/* The hosts of the mirrors and its own, still without the rest. */
static void hosts_add(struct sites *sites, const struct node_json *node,
		      const char *host)
{
	const struct node_registry *row = row_find(node, host);

	for (unsigned i = 0; row && i < row->n_mirror; i++)
		text_copy(sites->site[sites->n++].host, REFERENCE_HOST_SIZE,
			  row->mirror[i]);
	text_copy(sites->site[sites->n++].host, REFERENCE_HOST_SIZE, host);
}

static const char *default_host(const struct node_json *node)
{
	for (unsigned i = 0; i < node->n_registry; i++)
		if (node->registry[i].is_default)
			return node->registry[i].host;
	return NULL;
}

int sites_find(int boot, struct reference *reference, struct sites *sites,
	       char text[SITE_TEXT_SIZE])
{
	autofree struct node_json *node = calloc(1, sizeof(*node));
	const char *host = reference->host;
	int r = 0;

	*sites = (struct sites){ 0 };
	if (!node)
		return -ENOMEM;
	if (node_read(boot, node))
		node->n_registry = 0;
	if (!*host) {
		host = default_host(node);
		if (!host) {
			snprintf(text, SITE_TEXT_SIZE,
				 "%.80s names no registry: write it before the "
				 "name, or mark one of node.json's registries "
				 "\"default\": true",
				 reference->repository);
			return -EINVAL;
		}
		text_copy(reference->host, sizeof(reference->host), host);
	}
	hosts_add(sites, node, host);
	for (unsigned i = 0; !r && i < sites->n; i++) {
		struct site *site = &sites->site[i];

		r = site_fill(site, boot, row_of(node, site->host), text);
	}
	return r;
}

static void secret_free(char *secret)
{
	if (secret)
		explicit_bzero(secret, strlen(secret));
	free(secret);
}

void sites_free(struct sites *sites)
{
	for (unsigned i = 0; i < sites->n; i++) {
		struct site *site = &sites->site[i];

		secret_free(site->password);
		secret_free(site->proxy);
		free(site->user);
		free(site->ca);
		*site = (struct site){ 0 };
	}
	sites->n = 0;
}

struct remote_source site_source(const struct site *site,
				 const char *repository)
{
	return (struct remote_source){
		.host = site->host,
		.repository = repository,
		.plain = site->plain,
		.ca = { site->ca, site->ca_size },
		.user = site->user,
		.password = site->password,
		.proxy = site->proxy,
	};
}
