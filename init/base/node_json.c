/* node.json, from text to struct node_json: the table of its keys.
 *
 * Who chose the bytes: whoever could write the FAT partition, mostly a person
 * with an editor. They must not be able to stop a node from reaching its
 * console, nor to grant anything. So: no heap, no recursion, every key, type,
 * count and range checked, and the first mistake ends it with one line that
 * says where it is and what was wanted. */
#include "node_json.h"

#include <errno.h>
#include <yyjson.h>

#include "json_walk.h"
#include "node_json_text.h"
#include "span.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static struct node_json *node_of(struct json_walk *w)
{
	return w->whole;
}

/* Keeps "a", or "a" "=" "b" when b is not NULL, for as long as the node
 * lives; NULL when the room for texts is used up. */
static const char *text_keep(struct node_json *node, struct span a,
			     const struct span *b)
{
	size_t need = a.size + 1 + (b ? b->size + 1 : 0);
	char *kept = node->text + node->text_used;

	if (need > sizeof(node->text) - node->text_used)
		return NULL;
	node->text_used += need;
	memcpy(kept, a.data, a.size);
	if (b) {
		kept[a.size] = '=';
		memcpy(kept + a.size + 1, b->data, b->size);
	}
	kept[need - 1] = '\0';
	return kept;
}

static int fail_full(struct json_walk *w)
{
	return json_fail(w,
			 "commands and environments longer than %zu KB: "
			 "want less",
			 sizeof(node_of(w)->text) >> 10);
}

static int id_read(struct json_walk *w, yyjson_val *v, char out[64])
{
	struct span s;
	int error = json_string(w, v, WANT_ID, &s);

	if (error < 0)
		return error;
	if (!id_valid(s))
		return json_fail_value(w, v, WANT_ID);
	return span_copy(out, 64, s);
}

/* registries[] */

static int host_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct node_registry *registry = into;
	struct span s;
	int error = json_string(w, v, WANT_HOST, &s);

	if (error < 0)
		return error;
	if (!span_is(s, "*") && node_text_host(s, registry->host) < 0)
		return json_fail_value(w, v, WANT_HOST);
	if (span_is(s, "*"))
		text_copy(registry->host, sizeof(registry->host), "*");
	for (const struct node_registry *r = node_of(w)->registry; r < registry;
	     r++) {
		if (!strcmp(r->host, registry->host))
			return json_fail_value(w, v,
					       "is the host of a registry "
					       "before it: want another");
	}
	return 0;
}

static int http_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct node_registry *registry = into;

	if (!yyjson_is_bool(v))
		return json_fail_value(w, v, "want true or false");
	registry->http = yyjson_get_bool(v);
	return 0;
}

static int ca_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct node_registry *registry = into;
	struct span s;
	int error = json_string(w, v, WANT_FILE, &s);

	if (error < 0)
		return error;
	return node_text_file(s, registry->ca) < 0
		       ? json_fail_value(w, v, WANT_FILE)
		       : 0;
}

/* A user's name ends at the first colon of what is sent. */
static int credential_read(struct json_walk *w, yyjson_val *v,
			   const char **into, const char *no)
{
	static const char want[] = "want a line of text, a user without \":\"";
	struct span s;
	int error = json_string(w, v, want, &s);

	if (error < 0)
		return error;
	if (s.size == 0)
		return json_fail(w, want);
	for (size_t i = 0; i < s.size; i++)
		if ((unsigned char)s.data[i] < ' ' || strchr(no, s.data[i]))
			return json_fail(w, want);
	*into = text_keep(node_of(w), s, NULL);
	return *into ? 0 : fail_full(w);
}

static int user_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct node_registry *registry = into;

	return credential_read(w, v, &registry->user, ":");
}

static int secret_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct node_registry *registry = into;

	return credential_read(w, v, &registry->password, "");
}

/* Not shown: it may hold a password. */
static int proxy_read(struct json_walk *w, yyjson_val *v, void *into)
{
	static const char want[] = "want http://HOST:PORT";
	struct node_registry *registry = into;
	struct span s;
	int error = json_string(w, v, want, &s);

	if (error < 0)
		return error;
	if (s.size <= 7 || memcmp(s.data, "http://", 7) != 0)
		return json_fail(w, want);
	for (size_t i = 0; i < s.size; i++)
		if (s.data[i] <= ' ' || s.data[i] == 127)
			return json_fail(w, want);
	registry->proxy = text_keep(node_of(w), s, NULL);
	return registry->proxy ? 0 : fail_full(w);
}

static int mirror_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct node_registry *registry = into;
	char host[NODE_HOST_SIZE];
	struct span s;
	int error = json_string(w, v, WANT_HOST, &s);

	if (error < 0)
		return error;
	if (node_text_host(s, host) < 0)
		return json_fail_value(w, v, WANT_HOST);
	registry->mirror[registry->n_mirror] = text_keep(node_of(w),
							 span_of(host), NULL);
	return registry->mirror[registry->n_mirror++] ? 0 : fail_full(w);
}

static int mirrors_read(struct json_walk *w, yyjson_val *v, void *into)
{
	return json_array(w, v, NODE_MIRRORS_MAX, mirror_read, into);
}

static int default_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct node_registry *registry = into;

	if (!yyjson_is_bool(v))
		return json_fail_value(w, v, "want true or false");
	registry->is_default = yyjson_get_bool(v);
	for (const struct node_registry *r = node_of(w)->registry; r < registry;
	     r++)
		if (r->is_default && registry->is_default)
			return json_fail(w, "a registry before it is the "
					    "default: want one of them");
	return 0;
}

static int registry_read(struct json_walk *w, yyjson_val *v, void *into)
{
	static const struct json_key keys[] = {
		{ "host", host_read, true },
		{ "http", http_read, false },
		{ "ca", ca_read, false },
		{ "user", user_read, false },
		{ "password", secret_read, false },
		{ "proxy", proxy_read, false },
		{ "mirrors", mirrors_read, false },
		{ "default", default_read, false },
	};
	struct node_json *node = into;
	struct node_registry *registry = &node->registry[node->n_registry];
	int error = json_object(w, v, keys, ARRAY_SIZE(keys), registry);

	if (error < 0)
		return error;
	if (registry->http && registry->ca[0])
		return json_fail(w, "both http and ca: want one of them");
	if (!registry->user != !registry->password)
		return json_fail(w, "want user and password, or neither");
	/* They would hold for whatever host an image names. */
	if (!strcmp(registry->host, "*") &&
	    (registry->http || registry->user || registry->n_mirror ||
	     registry->is_default))
		return json_fail(w, "of \"*\" only ca and proxy can be said: "
				    "name the host");
	node->n_registry++;
	return 0;
}

/* interfaces[] */

static int match_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct node_interface *interface = into;
	struct span s;
	int error = json_string(w, v, WANT_MATCH, &s);

	if (error < 0)
		return error;
	if (node_text_match(s, interface->match) < 0)
		return json_fail_value(w, v, WANT_MATCH);
	for (const struct node_interface *i = node_of(w)->interface;
	     i < interface; i++) {
		if (!strcmp(i->match, interface->match))
			return json_fail_value(w, v,
					       "is taken by an interface "
					       "before it: want another");
	}
	return 0;
}

static int cidr_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct node_interface *interface = into;
	struct span s;
	int error = json_string(w, v, WANT_CIDR, &s);

	if (error < 0)
		return error;
	if (node_text_cidr(s, &interface->address[interface->n_address]) < 0)
		return json_fail_value(w, v, WANT_CIDR);
	interface->n_address++;
	return 0;
}

static int gateway_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct node_interface *interface = into;
	struct node_address *gateway =
		&interface->gateway[interface->n_gateway];
	struct span s;
	int error = json_string(w, v, WANT_ADDRESS, &s);

	if (error < 0)
		return error;
	if (node_text_address(s, gateway) < 0)
		return json_fail_value(w, v, WANT_ADDRESS);
	if (interface->n_gateway == 1 &&
	    node_address_is_v4(gateway) ==
		    node_address_is_v4(&interface->gateway[0]))
		return json_fail_value(w, v,
				       "is the second of its family: want at "
				       "most one IPv4 and one IPv6");
	interface->n_gateway++;
	return 0;
}

static int dns_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct node_interface *interface = into;
	struct span s;
	int error = json_string(w, v, WANT_ADDRESS, &s);

	if (error < 0)
		return error;
	if (node_text_address(s, &interface->dns[interface->n_dns]) < 0)
		return json_fail_value(w, v, WANT_ADDRESS);
	interface->n_dns++;
	return 0;
}

static int addresses_read(struct json_walk *w, yyjson_val *v, void *into)
{
	return json_array(w, v, NODE_ADDRESSES_MAX, cidr_read, into);
}

static int gateways_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct node_interface *interface = into;

	return json_array(w, v, ARRAY_SIZE(interface->gateway), gateway_read,
			  into);
}

static int dns_all_read(struct json_walk *w, yyjson_val *v, void *into)
{
	return json_array(w, v, NODE_ADDRESSES_MAX, dns_read, into);
}

/* Below 1,280 the kernel would switch IPv6 off on the interface. */
static int mtu_read(struct json_walk *w, yyjson_val *v, void *into)
{
	static const char want[] = "want a number from 1280 to 65535";
	struct node_interface *interface = into;
	uint64_t mtu;

	if (!yyjson_is_raw(v) || span_u64(json_text(v), UINT16_MAX, &mtu) < 0 ||
	    mtu < 1280)
		return json_fail_value(w, v, want);
	interface->mtu = (uint16_t)mtu;
	return 0;
}

static bool has_address_like(const struct node_interface *interface,
			     const struct node_address *gateway)
{
	for (unsigned int i = 0; i < interface->n_address; i++) {
		if (node_address_is_v4(&interface->address[i]) ==
		    node_address_is_v4(gateway))
			return true;
	}
	return false;
}

static int interface_read(struct json_walk *w, yyjson_val *v, void *into)
{
	static const struct json_key keys[] = {
		{ "match", match_read, true },
		{ "address", addresses_read, false },
		{ "gateway", gateways_read, false },
		{ "dns", dns_all_read, false },
		{ "mtu", mtu_read, false },
	};
	struct node_json *node = into;
	struct node_interface *interface = &node->interface[node->n_interface];
	int error = json_object(w, v, keys, ARRAY_SIZE(keys), interface);

	if (error < 0)
		return error;
	for (unsigned int i = 0; i < interface->n_gateway; i++) {
		if (!has_address_like(interface, &interface->gateway[i]))
			return json_fail(w, "gateway without an address of its "
					    "family: want both, or neither for "
					    "DHCP");
	}
	node->n_interface++;
	return 0;
}

/* apps[] */

static int app_name_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct node_app *app = into;
	int error = id_read(w, v, app->name);

	if (error < 0)
		return error;
	for (const struct node_app *a = node_of(w)->app; a < app; a++) {
		if (!strcmp(a->name, app->name))
			return json_fail_value(w, v,
					       "is the name of an app before "
					       "it: want another");
	}
	return 0;
}

static int image_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct node_app *app = into;
	struct span s;
	int error = json_string(w, v, WANT_IMAGE, &s);

	if (error < 0)
		return error;
	if (node_text_image(s, app->image, app->tag) < 0)
		return json_fail_value(w, v, WANT_IMAGE);
	return 0;
}

static int argument_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct node_app *app = into;
	struct span s;
	int error = json_string(w, v, "want a string \"...\"", &s);

	if (error < 0)
		return error;
	if (s.size == 0 && app->n_command == 0)
		return json_fail_value(w, v, "want the name of a program");
	app->command[app->n_command] = text_keep(node_of(w), s, NULL);
	if (!app->command[app->n_command])
		return fail_full(w);
	app->n_command++;
	return 0;
}

static int command_read(struct json_walk *w, yyjson_val *v, void *into)
{
	if (yyjson_is_arr(v) && yyjson_arr_size(v) == 0)
		return json_fail(
			w, "empty: want a program, or no such key for the "
			   "image's own");
	return json_array(w, v, NODE_ARGS_MAX, argument_read, into);
}

static bool environment_has(const struct node_app *app, struct span name)
{
	for (unsigned int i = 0; i < app->n_environment; i++) {
		const char *entry = app->environment[i];

		if (!strncmp(entry, name.data, name.size) &&
		    entry[name.size] == '=')
			return true;
	}
	return false;
}

/* Values may be secrets: no message shows one. */
static int variable_read(struct json_walk *w, yyjson_val *key, void *into)
{
	yyjson_val *v = yyjson_obj_iter_get_val(key);
	struct span name = json_text(key), value;
	struct node_app *app = into;
	int error;

	if (!node_text_environment(name))
		return json_fail(w, "%s", WANT_ENVIRONMENT);
	if (environment_has(app, name))
		return json_fail(w, "given twice: want it once");
	json_place(w, v);
	error = json_string(w, v, "want a string \"...\"", &value);
	if (error < 0)
		return error;
	app->environment[app->n_environment] = text_keep(node_of(w), name,
							 &value);
	if (!app->environment[app->n_environment])
		return fail_full(w);
	app->n_environment++;
	return 0;
}

static int environment_read(struct json_walk *w, yyjson_val *v, void *into)
{
	return json_members(w, v, NODE_ENV_MAX, variable_read, into);
}

/* A port of the node is given out once, whoever of the apps wants it. */
static bool port_taken(const struct node_json *node,
		       const struct node_app *last, uint16_t host)
{
	for (const struct node_app *app = node->app; app <= last; app++) {
		for (unsigned int i = 0; i < app->n_port; i++) {
			if (app->port[i].host == host)
				return true;
		}
	}
	return false;
}

static int port_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct node_app *app = into;
	struct node_port port;
	struct span s;
	int error = json_string(w, v, WANT_PORT, &s);

	if (error < 0)
		return error;
	if (node_text_port(s, &port) < 0)
		return json_fail_value(w, v, WANT_PORT);
	if (port_taken(node_of(w), app, port.host))
		return json_fail_value(w, v,
				       "host port is taken by a port before "
				       "it: want another");
	app->port[app->n_port++] = port;
	return 0;
}

static int ports_read(struct json_walk *w, yyjson_val *v, void *into)
{
	return json_array(w, v, NODE_PORTS_MAX, port_read, into);
}

static int memory_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct node_app *app = into;
	struct span s;
	int error = json_string(w, v, WANT_MEMORY, &s);

	if (error < 0)
		return error;
	if (node_text_memory(s, &app->memory_bytes) < 0)
		return json_fail_value(w, v, WANT_MEMORY);
	return 0;
}

static int restart_read(struct json_walk *w, yyjson_val *v, void *into)
{
	static const char *const name[] = {
		[NODE_RESTART_ALWAYS] = "always",
		[NODE_RESTART_ON_FAILURE] = "on-failure",
		[NODE_RESTART_NO] = "no",
	};
	struct node_app *app = into;

	for (size_t i = 0; i < ARRAY_SIZE(name); i++) {
		if (yyjson_equals_str(v, name[i])) {
			app->restart = (enum node_restart)i;
			return 0;
		}
	}
	return json_fail_value(w, v, "want always, on-failure or no");
}

static int app_read(struct json_walk *w, yyjson_val *v, void *into)
{
	static const struct json_key keys[] = {
		{ "name", app_name_read, true },
		{ "image", image_read, true },
		{ "command", command_read, false },
		{ "environment", environment_read, false },
		{ "ports", ports_read, false },
		{ "memory", memory_read, false },
		{ "restart", restart_read, false },
	};
	struct node_json *node = into;
	int error = json_object(w, v, keys, ARRAY_SIZE(keys),
				&node->app[node->n_app]);

	if (error < 0)
		return error;
	node->n_app++;
	return 0;
}

/* The file */

static int name_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct node_json *node = into;

	return id_read(w, v, node->name);
}

/* A wrong hash is not shown: it may be a password in clear. */
static int password_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct node_json *node = into;

	if (!yyjson_is_str(v) ||
	    node_text_password(json_text(v), node->password) < 0)
		return json_fail(w, "not a password hash: %s", WANT_PASSWORD);
	return 0;
}

static int console_read(struct json_walk *w, yyjson_val *v, void *into)
{
	static const struct json_key keys[] = {
		{ "password", password_read, false },
	};

	return json_object(w, v, keys, ARRAY_SIZE(keys), into);
}

/* Not shown either: whoever has it can enrol. */
static int token_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct node_json *node = into;

	if (!yyjson_is_str(v) ||
	    enrol_token_parse(json_text(v), &node->hub) < 0)
		return json_fail(w, "not an enrolment token: %s", WANT_TOKEN);
	return 0;
}

static int heartbeat_read(struct json_walk *w, yyjson_val *v, void *into)
{
	static const char want[] = "want seconds, 30 to 300";
	struct node_json *node = into;
	uint64_t seconds;

	if (!yyjson_is_raw(v) || span_u64(json_text(v), 300, &seconds) < 0 ||
	    seconds < 30)
		return json_fail_value(w, v, want);
	node->heartbeat_s = (uint16_t)seconds;
	return 0;
}

static int hub_read(struct json_walk *w, yyjson_val *v, void *into)
{
	static const struct json_key keys[] = {
		{ "token", token_read, true },
		{ "heartbeat", heartbeat_read, false },
	};

	return json_object(w, v, keys, ARRAY_SIZE(keys), into);
}

static int registries_read(struct json_walk *w, yyjson_val *v, void *into)
{
	return json_array(w, v, NODE_REGISTRIES_MAX, registry_read, into);
}

static int interfaces_read(struct json_walk *w, yyjson_val *v, void *into)
{
	return json_array(w, v, NODE_INTERFACES_MAX, interface_read, into);
}

static int apps_read(struct json_walk *w, yyjson_val *v, void *into)
{
	return json_array(w, v, NODE_APPS_MAX, app_read, into);
}

static int root_read(struct json_walk *w, yyjson_val *root)
{
	static const struct json_key keys[] = {
		{ "name", name_read, false },
		{ "console", console_read, false },
		{ "hub", hub_read, false },
		{ "registries", registries_read, false },
		{ "interfaces", interfaces_read, false },
		{ "apps", apps_read, false },
	};

	return json_object(w, root, keys, ARRAY_SIZE(keys), node_of(w));
}

static void node_defaults(struct node_json *node)
{
	memset(node, 0, sizeof(*node));
	text_copy(node->name, sizeof(node->name), "zooid");
}

int node_json_parse(const char *text, size_t size, void *scratch,
		    size_t scratch_size, struct node_json *node,
		    char error[NODE_ERROR_SIZE])
{
	struct json_walk w = {
		.file = "node.json",
		.text = { text, size },
		.error = error,
		.error_size = NODE_ERROR_SIZE,
		.whole = node,
	};
	yyjson_val *root;

	node_defaults(node);
	error[0] = '\0';
	if (size > NODE_JSON_SIZE_MAX) {
		json_fail(&w, "%zu bytes: want at most %d", size,
			  NODE_JSON_SIZE_MAX);
		return -E2BIG;
	}
	if (json_open(&w, scratch, scratch_size, &root) < 0 ||
	    root_read(&w, root) < 0) {
		node_defaults(node);
		return -EINVAL;
	}
	return 0;
}
