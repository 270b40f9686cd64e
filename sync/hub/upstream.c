/* A connection to a repository stays open for a while after its last use: what
 * follows a manifest is its blobs. Certificates of the system are read when a
 * connection needs them, from a descriptor that was opened before the hub shut
 * itself in. */
#define _GNU_SOURCE
#include "upstream.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "registry.h"

enum { IDLE_MS = 60000, CA_SIZE_MAX = 4 << 20, FOLDERS_MAX = 2 };

struct upstream {
	struct hub *hub;
	struct remote *remote;
	char repo[REGISTRY_REPO_SIZE];
	unsigned holders;
	struct timer idle;
	struct upstream *next;
};

struct upstreams {
	struct remote_client *client;
	struct upstream *first;
	struct upstream_stats stats;
	int ca_fd[CONFIG_UPSTREAMS_MAX]; /* of each rule of hub.json */
	int folder[FOLDERS_MAX];
	size_t n_folders;
};

/* ---- opening ---- */

/* Where distributions have the certificates that they trust. */
static int system_ca_open(void)
{
	static const char *const paths[] = {
		"/etc/ssl/certs/ca-certificates.crt",
		"/etc/pki/tls/certs/ca-bundle.crt",
		"/etc/ssl/cert.pem",
	};
	const char *said = getenv("SSL_CERT_FILE");
	int fd = said ? open(said, O_RDONLY | O_CLOEXEC) : -1;

	for (size_t i = 0; fd < 0 && i < sizeof(paths) / sizeof(*paths); i++)
		fd = open(paths[i], O_RDONLY | O_CLOEXEC);
	return fd;
}

static int rule_ca_open(struct hub *hub, const struct config_upstream *rule)
{
	int fd = rule->plain ? -1
		 : rule->ca[0]
			 ? openat(hub->dir, rule->ca, O_RDONLY | O_CLOEXEC)
			 : system_ca_open();

	if (fd >= 0 || rule->plain)
		return fd;
	if (rule->ca[0]) {
		log_error(rule->ca, "%s", strerror(errno));
		return -errno;
	}
	log_warning("upstreams", "no certificates of the system: install "
				 "ca-certificates to pull from elsewhere");
	return -1;
}

static void folder_add(struct upstreams *u, const char *path)
{
	int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0)
		u->folder[u->n_folders++] = fd;
}

/* /etc has hosts and resolv.conf, which may lead elsewhere. Files, not folders,
 * would be lost when they are replaced. */
static void folders_find(struct upstreams *u)
{
	char path[PATH_MAX], *slash;

	folder_add(u, "/etc");
	if (!realpath("/etc/resolv.conf", path))
		return;
	slash = strrchr(path, '/');
	*slash = '\0';
	if (slash != path && strcmp(path, "/etc"))
		folder_add(u, path);
}

int upstreams_open(struct hub *hub)
{
	struct upstreams *u = calloc(1, sizeof(*u));
	int err = u ? 0 : -ENOMEM;

	if (!u)
		return err;
	hub->upstreams = u;
	for (unsigned i = 0; i < hub->config.n_upstreams && err == 0; i++) {
		u->ca_fd[i] = rule_ca_open(hub, &hub->config.upstream[i]);
		if (u->ca_fd[i] < -1)
			err = u->ca_fd[i];
	}
	if (err == 0 && hub->config.n_upstreams) {
		folders_find(u);
		err = remote_client_open(&hub->loop, &u->client);
		if (err < 0)
			log_error("upstreams", "%s", strerror(-err));
	}
	return err;
}

static void upstream_free(struct upstream *up)
{
	struct upstream **p = &up->hub->upstreams->first;

	while (*p != up)
		p = &(*p)->next;
	*p = up->next;
	timer_cancel(&up->idle);
	remote_close(up->remote);
	free(up);
}

void upstreams_close(struct hub *hub)
{
	struct upstreams *u = hub->upstreams;

	if (!u)
		return;
	while (u->first)
		upstream_free(u->first);
	remote_client_close(u->client);
	for (unsigned i = 0; i < hub->config.n_upstreams; i++)
		fd_close(&u->ca_fd[i]);
	for (size_t i = 0; i < u->n_folders; i++)
		fd_close(&u->folder[i]);
	free(u);
	hub->upstreams = NULL;
}

size_t upstreams_folders(struct hub *hub, const int **dirs)
{
	*dirs = hub->upstreams->folder;
	return hub->upstreams->n_folders;
}

struct upstream_stats *upstream_stats(struct hub *hub)
{
	return &hub->upstreams->stats;
}

/* ---- names ---- */

/* What stands before the first slash; empty when there is none. */
static struct span host_of(struct span repo)
{
	const char *slash = memchr(repo.data, '/', repo.size);

	return (struct span){ repo.data,
			      slash ? (size_t)(slash - repo.data) : 0 };
}

bool upstream_named(struct span repo)
{
	struct span host = host_of(repo);

	return host.size && (span_is(host, "localhost") ||
			     memchr(host.data, '.', host.size) ||
			     memchr(host.data, ':', host.size));
}

bool upstream_repo_valid(struct span repo)
{
	struct span host = host_of(repo);
	struct span rest = { repo.data + host.size + 1,
			     repo.size - host.size - 1 };

	return repo.size < REGISTRY_REPO_SIZE && reference_host_valid(host) &&
	       reference_repository_valid(rest);
}

/* A name that others than this machine's network could know: addresses and
 * single labels are for rules of their own. */
static bool is_public(const char *host)
{
	size_t n = strcspn(host, ":");
	const char *dot = memrchr(host, '.', n);

	return host[0] != '[' && dot &&
	       ((dot[1] >= 'a' && dot[1] <= 'z') ||
		(dot[1] >= 'A' && dot[1] <= 'Z'));
}

static int rule_find(const struct config *config, const char *host)
{
	for (unsigned i = 0; i < config->n_upstreams; i++)
		if (!strcmp(config->upstream[i].host, host))
			return (int)i;
	for (unsigned i = 0; i < config->n_upstreams; i++)
		if (!strcmp(config->upstream[i].host, "*") && is_public(host))
			return (int)i;
	return -EPERM;
}

/* ---- holding ---- */

static int ca_text(int fd, char **text, size_t *size)
{
	struct stat st;

	*text = NULL;
	*size = 0;
	if (fd < 0)
		return 0;
	if (fstat(fd, &st) < 0 || st.st_size > CA_SIZE_MAX)
		return -EIO;
	*text = malloc((size_t)st.st_size + 1);
	if (!*text)
		return -ENOMEM;
	if (pread(fd, *text, (size_t)st.st_size, 0) != st.st_size)
		return -EIO;
	(*text)[st.st_size] = '\0';
	*size = (size_t)st.st_size;
	return 0;
}

static int upstream_open(struct hub *hub, const char *repo,
			 struct upstream **out)
{
	char host[REFERENCE_HOST_SIZE];
	struct upstream *up = calloc(1, sizeof(*up));
	const char *name = repo + host_of(span_of(repo)).size + 1;
	const struct config_upstream *rule;
	autofree char *ca = NULL;
	struct remote_source source = { .host = host, .repository = name };
	int i, err;

	span_copy(host, sizeof(host), host_of(span_of(repo)));
	i = rule_find(&hub->config, host);
	if (!up || i < 0) {
		free(up);
		return up ? i : -ENOMEM;
	}
	rule = &hub->config.upstream[i];
	source.plain = rule->plain;
	source.user = rule->user[0] ? rule->user : NULL;
	source.password = rule->user[0] ? rule->password : NULL;
	err = ca_text(hub->upstreams->ca_fd[i], &ca, &source.ca.size);
	source.ca.data = ca;
	if (err == 0)
		err = remote_open(hub->upstreams->client, &source, &up->remote);
	if (err < 0) {
		free(up);
		return err;
	}
	up->hub = hub;
	text_copy(up->repo, sizeof(up->repo), repo);
	up->next = hub->upstreams->first;
	hub->upstreams->first = up;
	*out = up;
	return 0;
}

static void idle_fire(struct timer *t)
{
	upstream_free(container_of(t, struct upstream, idle));
}

int upstream_hold(struct hub *hub, const char *repo, struct upstream **out,
		  char why[UPSTREAM_WHY_SIZE])
{
	struct upstream *up = hub->upstreams->first;
	int err = 0;

	while (up && strcmp(up->repo, repo))
		up = up->next;
	if (!up)
		err = upstream_open(hub, repo, &up);
	if (err < 0) {
		snprintf(why, UPSTREAM_WHY_SIZE, "%.200s: %s", repo,
			 err == -EPERM ? "hub.json has no upstream for that "
					 "registry"
				       : strerror(-err));
		return err;
	}
	timer_cancel(&up->idle);
	up->holders++;
	*out = up;
	return 0;
}

struct remote *upstream_remote(struct upstream *up)
{
	return up->remote;
}

void upstream_release(struct upstream *up)
{
	if (--up->holders)
		return;
	up->idle.fire = idle_fire;
	timer_set(&up->hub->loop, &up->idle, IDLE_MS);
}
