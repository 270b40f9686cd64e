#define _GNU_SOURCE
#include "config.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json_walk.h"
#include "base/log.h"

enum { CONFIG_SIZE_MAX = 64 << 10 };

static int port_parse(const char *text, uint16_t *port)
{
	uint64_t n;

	if (span_u64(span_of(text), 65535, &n) < 0)
		return -EINVAL;
	*port = (uint16_t)n;
	return 0;
}

int config_split(const char *text, char host[CONFIG_HOST_SIZE], uint16_t *port)
{
	const char *colon = strrchr(text, ':');
	const char *end = text + strlen(text);
	struct span name = { text, 0 };

	if (text[0] == '[') {
		end = strchr(text, ']');
		if (!end || (end[1] && end[1] != ':'))
			return -EINVAL;
		name.data++;
		colon = end[1] ? end + 1 : NULL;
	} else if (colon && strchr(text, ':') == colon) {
		end = colon;
	} else {
		colon = NULL; /* none, or a bare IPv6 address */
	}
	name.size = (size_t)(end - name.data);
	if (span_copy(host, CONFIG_HOST_SIZE, name) < 0)
		return -EINVAL;
	return colon ? port_parse(colon + 1, port) : 0;
}

static int listen_address(const char *text, struct sockaddr_storage *out,
			  socklen_t *size)
{
	struct sockaddr_in *v4 = (struct sockaddr_in *)out;
	struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)out;
	char host[CONFIG_HOST_SIZE];
	uint16_t port = 443;

	*out = (struct sockaddr_storage){ 0 };
	if (config_split(text, host, &port) < 0)
		return -EINVAL;
	if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
		v4->sin_family = AF_INET;
		v4->sin_port = htons(port);
		*size = sizeof(*v4);
		return 0;
	}
	/* "" is every address of both families. */
	if (host[0] && inet_pton(AF_INET6, host, &v6->sin6_addr) != 1)
		return -EINVAL;
	v6->sin6_family = AF_INET6;
	v6->sin6_port = htons(port);
	*size = sizeof(*v6);
	return 0;
}

int config_listen_set(struct config *config, struct span text)
{
	struct sockaddr_storage address;
	char listen[CONFIG_HOST_SIZE];
	socklen_t size;

	/* Who dials a port that the kernel chose? */
	if (span_copy(listen, sizeof(listen), text) < 0 ||
	    listen_address(listen, &address, &size) < 0 ||
	    !((struct sockaddr_in *)&address)->sin_port)
		return -EINVAL;
	text_copy(config->listen, sizeof(config->listen), listen);
	return 0;
}

/* ---- addresses ---- */

static bool host_is_v6(const char *host)
{
	return strchr(host, ':');
}

static bool label_valid(struct span label)
{
	if (!label.size || label.size > 63 || label.data[0] == '-' ||
	    label.data[label.size - 1] == '-')
		return false;
	for (size_t i = 0; i < label.size; i++)
		if (!strchr("abcdefghijklmnopqrstuvwxyz"
			    "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-",
			    label.data[i]))
			return false;
	return true;
}

/* RFC 1123, 2.1: what ends in a number is an address, so it must be one. */
static bool host_valid(const char *host)
{
	struct span rest = span_of(host), label = { NULL, 0 };
	uint8_t bytes[16];
	uint64_t number;

	if (host_is_v6(host))
		return inet_pton(AF_INET6, host, bytes) == 1;
	while (span_cut(&rest, '.', &label))
		if (!label_valid(label))
			return false;
	return strlen(host) < 254 &&
	       (span_u64(label, UINT64_MAX, &number) < 0 ||
		inet_pton(AF_INET, host, bytes) == 1);
}

int config_address_add(struct config *config, const char *text)
{
	char host[CONFIG_HOST_SIZE], ignored[CONFIG_HOST_SIZE];
	unsigned i = config->n_addresses;
	uint16_t port = 443;

	if (i == CONFIG_ADDRESSES_MAX) {
		log_error(text, "more than %d addresses", CONFIG_ADDRESSES_MAX);
		return -E2BIG;
	}
	if (config_split(config->listen, ignored, &port) < 0 ||
	    config_split(text, host, &port) < 0 || !host_valid(host) || !port) {
		log_error(text, "want a DNS name or address [:port] that "
				"clients dial");
		return -EINVAL;
	}
	snprintf(config->address[i], CONFIG_HOST_SIZE,
		 host_is_v6(host) ? "[%.254s]:%u" : "%.254s:%u", host, port);
	text_copy(config->host[i], CONFIG_HOST_SIZE, host);
	config->names[i] = config->host[i];
	config->n_addresses++;
	return 0;
}

struct ca_names config_names(const struct config *config)
{
	return (struct ca_names){ config->names, config->n_addresses };
}

/* ---- hub.json ---- */

static int name_read(struct json_walk *w, yyjson_val *v, void *into)
{
	static const char want[] = "want 1 to 63 of a-z, 0-9 and -";
	struct config *config = into;
	struct span s;
	int err = json_string(w, v, want, &s);

	if (err < 0)
		return err;
	return id_valid(s) ? span_copy(config->name, sizeof(config->name), s)
			   : json_fail_value(w, v, want);
}

static int listen_read(struct json_walk *w, yyjson_val *v, void *into)
{
	static const char want[] = "want an IP address and a port, or :PORT";
	struct span s;
	int err = json_string(w, v, want, &s);

	if (err < 0)
		return err;
	return config_listen_set(into, s) < 0 ? json_fail_value(w, v, want) : 0;
}

static int address_read(struct json_walk *w, yyjson_val *v, void *into)
{
	char text[CONFIG_HOST_SIZE];
	struct span s;
	int err = json_string(w, v, "want \"HOST:PORT\"", &s);

	if (err < 0)
		return err;
	if (span_copy(text, sizeof(text), s) < 0 ||
	    config_address_add(into, text) < 0)
		return json_fail_value(w, v, "want \"HOST:PORT\"");
	return 0;
}

static int addresses_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct config *config = into;
	int err = json_array(w, v, CONFIG_ADDRESSES_MAX, address_read, into);

	json_place(w, v);
	return err == 0 && !config->n_addresses
		       ? json_fail(w, "want one at least: clients dial them")
		       : err;
}

int config_load(int dir, struct config *config)
{
	static const struct json_key keys[] = {
		{ "name", name_read, true },
		{ "listen", listen_read, true },
		{ "addresses", addresses_read, true },
		{ "upstreams", config_upstreams_read, false },
	};
	char error[200] = "hub.json: out of memory";
	autofree char *text = NULL, *scratch = NULL;
	struct json_walk w = { .file = "hub.json",
			       .error = error,
			       .error_size = sizeof(error) };
	yyjson_val *root;
	size_t size;
	int err = file_read(dir, "hub.json", CONFIG_SIZE_MAX, &text, &size);

	*config = (struct config){ 0 };
	config_upstreams_default(config);
	if (err < 0) {
		log_error("hub.json", "%s: make it with zhub init",
			  strerror(-err));
		return err;
	}
	w.text = (struct span){ text, size };
	scratch = malloc(16 * size + 4096);
	err = scratch ? json_open(&w, scratch, 16 * size + 4096, &root)
		      : -ENOMEM;
	if (err == 0)
		err = json_object(&w, root, keys, 4, config);
	if (err < 0)
		log_error(NULL, "%s", error);
	return err;
}

static void upstreams_save(const struct config *config, yyjson_mut_doc *doc,
			   yyjson_mut_val *root)
{
	yyjson_mut_val *list, *o;

	if (!config->n_upstreams)
		return;
	list = yyjson_mut_obj_add_arr(doc, root, "upstreams");
	for (unsigned i = 0; i < config->n_upstreams; i++) {
		o = yyjson_mut_arr_add_obj(doc, list);
		yyjson_mut_obj_add_str(doc, o, "host",
				       config->upstream[i].host);
		if (config->upstream[i].is_default)
			yyjson_mut_obj_add_bool(doc, o, "default", true);
	}
}

int config_save(int dir, const struct config *config)
{
	yyjson_mut_doc *doc = yyjson_mut_doc_new(NULL);
	yyjson_mut_val *root = yyjson_mut_obj(doc), *list;
	autofree char *text = NULL;
	int err = -ENOMEM;

	yyjson_mut_doc_set_root(doc, root);
	yyjson_mut_obj_add_str(doc, root, "name", config->name);
	yyjson_mut_obj_add_str(doc, root, "listen", config->listen);
	list = yyjson_mut_obj_add_arr(doc, root, "addresses");
	for (unsigned i = 0; i < config->n_addresses; i++)
		yyjson_mut_arr_add_str(doc, list, config->address[i]);
	upstreams_save(config, doc, root);
	text = yyjson_mut_write(doc,
				YYJSON_WRITE_PRETTY_TWO_SPACES |
					YYJSON_WRITE_NEWLINE_AT_END,
				NULL);
	yyjson_mut_doc_free(doc);
	if (text)
		err = file_replace(dir, "hub.json", 0600, text, strlen(text));
	if (err < 0)
		log_error("hub.json", "%s", strerror(-err));
	return err;
}

/* ---- the socket ---- */

int config_listen(const char *listen_text)
{
	struct sockaddr_storage address;
	autoclose int fd = -1;
	socklen_t size;
	int on = 1, off = 0;

	if (listen_address(listen_text, &address, &size) < 0) {
		log_error(listen_text, "want an IP address and a port to "
				       "listen on");
		return -EINVAL;
	}
	fd = socket(address.ss_family,
		    SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd >= 0) {
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
		if (address.ss_family == AF_INET6)
			setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &off,
				   sizeof(off));
	}
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) < 0 ||
	    listen(fd, 1024) < 0) {
		int err = -errno;

		log_error(listen_text, "cannot listen: %s", strerror(-err));
		return err;
	}
	return fd_take(&fd);
}
