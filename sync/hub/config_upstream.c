/* "upstreams" of hub.json:
 *
 *	[{"host":"hub.example","user":"me","password":"...","default":true},
 *	 {"host":"10.0.0.5:5000","plain":true},
 *	 {"host":"registry.example","ca":"example.pem"},
 *	 {"host":"*"}]
 */
#include <errno.h>
#include <string.h>

#include "base/json_walk.h"
#include "base/log.h"
#include "config.h"

static int host_read(struct json_walk *w, yyjson_val *v, void *into)
{
	static const char want[] = "want HOST, HOST:PORT or \"*\"";
	struct config_upstream *u = into;
	struct span s;
	int err = json_string(w, v, want, &s);

	if (err < 0)
		return err;
	if (!span_is(s, "*") && !reference_host_valid(s))
		return json_fail_value(w, v, want);
	return span_copy(u->host, sizeof(u->host), s);
}

static int text_read(struct json_walk *w, yyjson_val *v, char *out, size_t size)
{
	struct span s;
	int err = json_string(w, v, "want a string", &s);

	if (err < 0)
		return err;
	return !s.size || span_copy(out, size, s) < 0
		       ? json_fail(w, "want a shorter string, not empty")
		       : 0;
}

static int user_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct config_upstream *u = into;

	return text_read(w, v, u->user, sizeof(u->user));
}

static int password_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct config_upstream *u = into;

	return text_read(w, v, u->password, sizeof(u->password));
}

static int ca_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct config_upstream *u = into;

	return text_read(w, v, u->ca, sizeof(u->ca));
}

static int plain_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct config_upstream *u = into;

	if (!yyjson_is_bool(v))
		return json_fail_value(w, v, "want true or false");
	u->plain = yyjson_get_bool(v);
	return 0;
}

static int default_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct config_upstream *u = into;

	if (!yyjson_is_bool(v))
		return json_fail_value(w, v, "want true or false");
	u->is_default = yyjson_get_bool(v);
	return 0;
}

static bool has_default(const struct config *config)
{
	for (unsigned i = 0; i < config->n_upstreams; i++)
		if (config->upstream[i].is_default)
			return true;
	return false;
}

static int upstream_read(struct json_walk *w, yyjson_val *v, void *into)
{
	static const struct json_key keys[] = {
		{ "host", host_read, true },
		{ "user", user_read, false },
		{ "password", password_read, false },
		{ "ca", ca_read, false },
		{ "plain", plain_read, false },
		{ "default", default_read, false },
	};
	struct config *config = into;
	struct config_upstream *u = &config->upstream[config->n_upstreams];
	int err;

	*u = (struct config_upstream){ 0 };
	err = json_object(w, v, keys, sizeof(keys) / sizeof(*keys), u);
	if (err < 0)
		return err;
	json_place(w, v);
	if (!u->user[0] != !u->password[0])
		return json_fail(w, "want user and password, or neither");
	/* They would go to whatever host an image names. */
	if (!strcmp(u->host, "*") && (u->user[0] || u->plain))
		return json_fail(w, "credentials and plain HTTP are for one "
				    "host: name it");
	if (!strcmp(u->host, "*") && u->is_default)
		return json_fail(w, "the default is one host: name it");
	if (u->is_default && has_default(config))
		return json_fail(w, "another one is the default already");
	if (u->plain && u->ca[0])
		return json_fail(w, "plain HTTP has no use for a ca");
	config->n_upstreams++;
	return 0;
}

int config_upstreams_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct config *config = into;

	config->n_upstreams = 0;
	return json_array(w, v, CONFIG_UPSTREAMS_MAX, upstream_read, config);
}

int config_upstream_add(struct config *config, const char *text)
{
	struct config_upstream *u = &config->upstream[config->n_upstreams];
	struct span rest = span_of(text), host = { NULL, 0 }, more;

	if (config->n_upstreams == CONFIG_UPSTREAMS_MAX) {
		log_error(text, "more than %d upstreams", CONFIG_UPSTREAMS_MAX);
		return -E2BIG;
	}
	*u = (struct config_upstream){ 0 };
	span_cut(&rest, ',', &host);
	u->is_default = span_cut(&rest, ',', &more);
	if ((u->is_default &&
	     (!span_is(more, "default") || rest.data || has_default(config))) ||
	    !(reference_host_valid(host) ||
	      (span_is(host, "*") && !u->is_default)) ||
	    span_copy(u->host, sizeof(u->host), host) < 0) {
		log_error(text, "--upstream: want HOST[:PORT], or \"*\" for "
				"every public one; for one of them "
				"HOST,default");
		return -EINVAL;
	}
	config->n_upstreams++;
	return 0;
}

void config_upstreams_default(struct config *config)
{
	config->upstream[0] = (struct config_upstream){ .host = "*" };
	config->n_upstreams = 1;
}
