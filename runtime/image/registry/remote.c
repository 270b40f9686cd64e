#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fd.h"

#include "remote_parts.h"

/* Requests that are on their way when it ends still get through. */
enum { TOKEN_MARGIN_S = 5 };

static bool is_text(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < ' ' || *text == 127)
			return false;
	return true;
}

static int credentials_copy(struct remote *remote,
			    const struct remote_source *source)
{
	size_t size;

	if (source->token) {
		if (!token_valid(span_of(source->token)))
			return -EINVAL;
		remote->token = strdup(source->token);
		remote->token_given = true;
		return remote->token ? 0 : -ENOMEM;
	}
	if (!source->user || !source->password)
		return 0;
	if (!is_text(source->user) || !is_text(source->password) ||
	    strchr(source->user, ':'))
		return -EINVAL;
	size = strlen(source->user) + strlen(source->password) + 2;
	remote->user_password = malloc(size);
	if (!remote->user_password)
		return -ENOMEM;
	snprintf(remote->user_password, size, "%s:%s", source->user,
		 source->password);
	return 0;
}

static int source_copy(struct remote *remote,
		       const struct remote_source *source)
{
	struct span host = span_of(source->host);
	struct span repository = span_of(source->repository);

	if (!reference_host_valid(host) ||
	    !reference_repository_valid(repository))
		return -EINVAL;
	span_copy(remote->host, sizeof(remote->host), host);
	span_copy(remote->repository, sizeof(remote->repository), repository);
	remote->plain = source->plain;
	if (source->ca.size > 0) {
		remote->ca = malloc(source->ca.size);
		if (!remote->ca)
			return -ENOMEM;
		memcpy(remote->ca, source->ca.data, source->ca.size);
		remote->ca_size = source->ca.size;
	}
	if (source->proxy) {
		remote->proxy = strdup(source->proxy);
		if (!remote->proxy)
			return -ENOMEM;
	}
	return credentials_copy(remote, source);
}

int remote_open(struct remote_client *client,
		const struct remote_source *source, struct remote **out)
{
	struct remote *remote = calloc(1, sizeof(*remote));
	int r = remote ? source_copy(remote, source) : -ENOMEM;

	if (r) {
		remote_close(remote);
		return r;
	}
	remote->client = client;
	*out = remote;
	return 0;
}

static void secret_free(char *secret)
{
	if (secret)
		explicit_bzero(secret, strlen(secret));
	free(secret);
}

void remote_close(struct remote *remote)
{
	if (!remote)
		return;
	free(remote->ca);
	secret_free(remote->proxy);
	secret_free(remote->user_password);
	secret_free(remote->token);
	free(remote);
}

const char *remote_token(const struct remote *remote)
{
	if (remote->token_given || remote->token_until_ms > clock_ms())
		return remote->token;
	return NULL;
}

int remote_token_keep(struct remote *remote, const char *token,
		      uint32_t expires_s)
{
	char *kept = strdup(token);

	if (!kept)
		return -ENOMEM;
	secret_free(remote->token);
	remote->token = kept;
	if (expires_s > TOKEN_MARGIN_S)
		expires_s -= TOKEN_MARGIN_S;
	remote->token_until_ms = clock_ms() + (uint64_t)expires_s * 1000;
	return 0;
}

char *remote_url(const struct remote *remote, const struct remote_get *get)
{
	const char *scheme = remote->plain ? "http" : "https";
	char digest[DIGEST_TEXT_SIZE], *url = malloc(URL_MAX);

	if (!url)
		return NULL;
	digest_text(&get->digest, digest);
	snprintf(url, URL_MAX, "%s://%s/v2/%s/%s/%s", scheme, remote->host,
		 remote->repository,
		 get->what == REMOTE_BLOB ? "blobs" : "manifests",
		 get->what == REMOTE_BLOB ? digest : get->reference);
	return url;
}

/* Appends "&name=value" with what must be escaped. */
static int query_add(CURLU *u, const char *name, const char *value)
{
	size_t size = strlen(name) + strlen(value) + 2;
	autofree char *pair = malloc(size);

	if (!pair)
		return -ENOMEM;
	snprintf(pair, size, "%s=%s", name, value);
	return curl_url_set(u, CURLUPART_QUERY, pair,
			    CURLU_APPENDQUERY | CURLU_URLENCODE) == 0
		       ? 0
		       : -EINVAL;
}

char *remote_token_url(const struct remote *remote,
		       const struct challenge *challenge)
{
	char scope[REFERENCE_REPOSITORY_SIZE + 32], *url = NULL, *copy = NULL;
	CURLU *u = curl_url();

	snprintf(scope, sizeof(scope), "repository:%s:pull",
		 remote->repository);
	if (u &&
	    curl_url_set(u, CURLUPART_URL, challenge->realm,
			 CURLU_DISALLOW_USER) == 0 &&
	    (!challenge->service[0] ||
	     query_add(u, "service", challenge->service) == 0) &&
	    query_add(u, "scope",
		      challenge->scope[0] ? challenge->scope : scope) == 0 &&
	    curl_url_get(u, CURLUPART_URL, &url, 0) == 0)
		copy = strdup(url);
	curl_free(url);
	curl_url_cleanup(u);
	return copy;
}
