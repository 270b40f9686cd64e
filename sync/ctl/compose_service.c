/* One service of a Compose file. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "compose_walk.h"
#include "oci/desired.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

struct limit {
	uint64_t value;
	unsigned line; /* 0: not said */
};

struct variable {
	const char *name, *value; /* value NULL: unset */
};

/* What a service says; text lives in the walk's arena. */
struct service {
	const char *image;
	char digest[DIGEST_TEXT_SIZE];
	const char *command[DESIRED_ARGS_MAX];
	unsigned n_command;
	struct variable variable[DESIRED_ENV_MAX];
	unsigned n_variables;
	struct desired_port port[DESIRED_PORTS_MAX];
	unsigned n_ports;
	const char *restart;
	struct limit memory, cpus_milli, pids;
	bool read_only;
};

/* ---- image ---- */

/* NAME@sha256:HEX is a name and a digest to the hub. */
static void image_read(struct walk *w, const struct compose_node *value,
		       void *into)
{
	struct service *s = into;
	const char *text = walk_text(w, value, "the name of an image"), *at;
	struct digest digest;
	char *name;

	if (!text)
		return;
	for (const char *p = text; *p; p++)
		if (*p <= ' ' || *p > '~') {
			walk_fail(w, value->line, "want a name without spaces");
			return;
		}
	at = strchr(text, '@');
	name = compose_alloc(&w->arena, strlen(text) + 1);
	if (!text[0] || at == text || !name ||
	    strlen(text) >= DESIRED_IMAGE_SIZE) {
		walk_fail(w, value->line, "want the name of an image");
		return;
	}
	text_copy(name, (at ? (size_t)(at - text) : strlen(text)) + 1, text);
	s->image = name;
	if (!at)
		return;
	if (digest_parse(span_of(at + 1), &digest) < 0)
		walk_fail(w, value->line,
			  "want @sha256: and 64 hex digits for a digest");
	else
		digest_text(&digest, s->digest);
}

/* ---- command ---- */

static void command_list(struct walk *w, const struct compose_node *value,
			 struct service *s)
{
	if (value->n > DESIRED_ARGS_MAX) {
		walk_fail(w, value->line, "want at most %u words",
			  DESIRED_ARGS_MAX);
		return;
	}
	for (unsigned i = 0; i < value->n; i++) {
		size_t used = walk_item(w, i);
		const char *word = walk_text(w, value->item[i], "text");

		if (word)
			s->command[s->n_command++] = word;
		walk_back(w, used);
	}
}

static void command_read(struct walk *w, const struct compose_node *value,
			 void *into)
{
	unsigned before = w->n_problems;
	struct service *s = into;
	const char *text;
	int n;

	if (compose_is_null(value))
		return; /* the image's */
	if (value->kind == COMPOSE_LIST) {
		command_list(w, value, s);
	} else {
		text = walk_text(w, value, "text or a list");
		n = text ? text_split(w, value->line, text, s->command,
				      DESIRED_ARGS_MAX)
			 : 0;
		s->n_command = n > 0 ? (unsigned)n : 0;
	}
	if (!s->n_command && w->n_problems == before)
		walk_fail(w, value->line,
			  "an empty command is not supported "
			  "yet");
}

/* ---- environment ---- */

/* The last of a name stands, as in a list of Compose's. */
static void variable_set(struct walk *w, struct service *s, unsigned line,
			 struct variable v)
{
	unsigned i = 0;

	if (!v.name[0]) {
		walk_fail(w, line, "want a name");
		return;
	}
	while (i < s->n_variables && strcmp(s->variable[i].name, v.name) != 0)
		i++;
	if (i == DESIRED_ENV_MAX) {
		walk_fail(w, line, "want at most %u variables",
			  DESIRED_ENV_MAX);
		return;
	}
	if (i == s->n_variables)
		s->n_variables++;
	s->variable[i] = v;
}

/* KEY: VALUE, or KEY: for that of zctl's own environment. */
static void environment_map(struct walk *w, const struct compose_node *map,
			    struct service *s)
{
	for (unsigned i = 0; i < map->n; i++) {
		const struct compose_node *key = map->item[2 * i];
		const struct compose_node *value = map->item[2 * i + 1];
		size_t used = walk_key(w, key->text.data);
		struct variable v = { key->text.data, NULL };
		bool is_null = compose_is_null(value);

		v.value = is_null ? text_variable(w, key->line, v.name)
				  : walk_text(w, value, "text");
		if (strchr(v.name, '='))
			walk_fail(w, key->line, "want a name without \"=\"");
		else if (is_null || v.value)
			variable_set(w, s, key->line, v);
		walk_back(w, used);
	}
}

/* "KEY=VALUE", or "KEY". */
static void environment_list(struct walk *w, const struct compose_node *list,
			     struct service *s)
{
	for (unsigned i = 0; i < list->n; i++) {
		const struct compose_node *item = list->item[i];
		size_t used = walk_item(w, i);
		const char *text = walk_text(w, item, "KEY=VALUE");
		const char *equals = text ? strchr(text, '=') : NULL;
		struct variable v = { text, NULL };
		char *name;

		if (equals) {
			name = compose_alloc(&w->arena,
					     (size_t)(equals - text) + 1);
			if (name)
				text_copy(name, (size_t)(equals - text) + 1,
					  text);
			v = (struct variable){ name, equals + 1 };
		} else if (text) {
			v.value = text_variable(w, item->line, text);
		}
		if (v.name)
			variable_set(w, s, item->line, v);
		else if (text)
			walk_fail(w, item->line, "the file is too large");
		walk_back(w, used);
	}
}

static void environment_read(struct walk *w, const struct compose_node *value,
			     void *into)
{
	if (value->kind == COMPOSE_MAP)
		environment_map(w, value, into);
	else if (value->kind == COMPOSE_LIST)
		environment_list(w, value, into);
	else
		walk_fail(w, value->line, "want a map or a list");
}

/* ---- ports ---- */

static int port_number(struct walk *w, unsigned line, struct span s,
		       uint16_t *port)
{
	uint64_t n;

	if (span_u64(s, 65535, &n) < 0 || !n) {
		walk_fail(w, line, "\"%.*s\": want a port, 1 to 65535",
			  (int)(s.size < 40 ? s.size : 40), s.data);
		return -EINVAL;
	}
	*port = (uint16_t)n;
	return 0;
}

static void port_add(struct walk *w, struct service *s, unsigned line,
		     struct desired_port port)
{
	for (unsigned i = 0; i < s->n_ports; i++)
		if (s->port[i].host == port.host) {
			walk_fail(w, line, "host port %u is there twice",
				  port.host);
			return;
		}
	if (s->n_ports == DESIRED_PORTS_MAX)
		walk_fail(w, line, "want at most %u ports", DESIRED_PORTS_MAX);
	else
		s->port[s->n_ports++] = port;
}

/* HOST:CONTAINER[/tcp]. */
static void port_short(struct walk *w, struct service *s, unsigned line,
		       const char *text)
{
	struct span rest = span_of(text), ports, protocol, host, container;
	struct desired_port port;

	span_cut(&rest, '/', &ports);
	protocol = rest;
	if (protocol.data && !span_is(protocol, "tcp"))
		walk_fail(w, line, "\"%.40s\": only tcp is supported yet",
			  text);
	else if (memchr(ports.data, '-', ports.size))
		walk_fail(w, line, "\"%.40s\": ranges are not supported yet",
			  text);
	else if (!memchr(ports.data, ':', ports.size))
		walk_fail(w, line,
			  "\"%.40s\": want HOST:CONTAINER; a free host port is "
			  "not chosen yet",
			  text);
	else if (ports.data[0] == '[' || strchr(strchr(text, ':') + 1, ':'))
		walk_fail(w, line,
			  "\"%.40s\": an address to listen on is not supported "
			  "yet; want HOST:CONTAINER",
			  text);
	else {
		span_cut(&ports, ':', &host);
		container = ports;
		if (port_number(w, line, host, &port.host) == 0 &&
		    port_number(w, line, container, &port.container) == 0)
			port_add(w, s, line, port);
	}
}

static void target_read(struct walk *w, const struct compose_node *value,
			void *into)
{
	struct desired_port *port = into;
	const char *text = walk_text(w, value, "a port");

	if (text)
		port_number(w, value->line, span_of(text), &port->container);
}

static void published_read(struct walk *w, const struct compose_node *value,
			   void *into)
{
	struct desired_port *port = into;
	const char *text = walk_text(w, value, "a port");

	if (text)
		port_number(w, value->line, span_of(text), &port->host);
}

static void protocol_read(struct walk *w, const struct compose_node *value,
			  void *into)
{
	const char *text = walk_text(w, value, "tcp");

	(void)into;
	if (text && strcmp(text, "tcp") != 0)
		walk_fail(w, value->line,
			  "\"%.20s\": only tcp is supported yet", text);
}

static void port_long(struct walk *w, struct service *s,
		      const struct compose_node *value)
{
	static const struct walk_key keys[] = {
		{ "target", target_read },
		{ "published", published_read },
		{ "protocol", protocol_read },
	};
	static const char *const others[] = { "host_ip", "mode", "name",
					      "app_protocol", NULL };
	struct desired_port port = { 0 };
	unsigned before = w->n_problems;

	walk_map(w, value, keys, ARRAY_SIZE(keys), others, &port);
	if (w->n_problems > before)
		return;
	if (!port.host || !port.container)
		walk_fail(w, value->line, "want target and published");
	else
		port_add(w, s, value->line, port);
}

static void ports_read(struct walk *w, const struct compose_node *value,
		       void *into)
{
	if (value->kind != COMPOSE_LIST) {
		walk_fail(w, value->line, "want a list");
		return;
	}
	for (unsigned i = 0; i < value->n; i++) {
		const struct compose_node *item = value->item[i];
		size_t used = walk_item(w, i);
		const char *text;

		if (item->kind == COMPOSE_MAP)
			port_long(w, into, item);
		else if ((text = walk_text(w, item, "HOST:CONTAINER")))
			port_short(w, into, item->line, text);
		walk_back(w, used);
	}
}

/* ---- restart, read_only ---- */

static void restart_read(struct walk *w, const struct compose_node *value,
			 void *into)
{
	static const char *const words[] = { "no", "always", "on-failure",
					     "unless-stopped" };
	static const char want[] = "no, always, on-failure or unless-stopped";
	struct service *s = into;
	const char *text = walk_text(w, value, want);

	for (size_t i = 0; text && i < ARRAY_SIZE(words); i++)
		if (!strcmp(text, words[i])) {
			s->restart = words[i];
			return;
		}
	if (text && !strncmp(text, "on-failure:", strlen("on-failure:")))
		walk_fail(w, value->line,
			  "\"%.40s\": a number of tries is not "
			  "supported yet",
			  text);
	else if (text)
		walk_fail(w, value->line, "\"%.40s\": want %s", text, want);
}

/* Booleans as YAML 1.1 spells them, since Compose takes them. */
static void read_only_read(struct walk *w, const struct compose_node *value,
			   void *into)
{
	static const char *const words[][2] = {
		{ "false", "true" }, { "no", "yes" },	  { "off", "on" },
		{ "n", "y" },	     { "False", "True" },
	};
	struct service *s = into;
	const char *text = walk_text(w, value, "true or false");

	for (size_t i = 0; text && i < 2 * ARRAY_SIZE(words); i++)
		if (!strcmp(text, words[i / 2][i % 2])) {
			s->read_only = i % 2;
			return;
		}
	if (text)
		walk_fail(w, value->line, "\"%.20s\": want true or false",
			  text);
}

/* ---- limits ---- */

/* Thousandths of a decimal number without sign or exponent; `max` is of whole
 * ones. */
static int milli_read(struct span s, uint64_t max, uint64_t *milli)
{
	struct span whole, part;
	uint64_t fraction = 0;

	*milli = 0;
	if (!span_cut(&s, '.', &whole) || (!whole.size && !s.size) ||
	    (whole.size && span_u64(whole, max, milli) < 0))
		return -EINVAL;
	if (s.data) {
		part = s;
		while (part.size > 3 && part.data[part.size - 1] == '0')
			part.size--;
		if (part.size > 3 || span_u64(part, 999, &fraction) < 0)
			return -EINVAL;
		for (size_t i = part.size; i < 3; i++)
			fraction *= 10;
	}
	*milli = *milli * 1000 + fraction;
	return 0;
}

/* The number in front of b, k, kb, m, mb, g, gb, in any case, of 1024. */
static int bytes_read(const char *text, uint64_t *bytes)
{
	static const struct {
		char unit;
		unsigned shift;
	} units[] = { { 'k', 10 }, { 'm', 20 }, { 'g', 30 } };
	struct span s = span_of(text);
	unsigned shift = 0;
	uint64_t milli;

	if (s.size > 1 && (s.data[s.size - 1] | 0x20) == 'b')
		s.size--;
	for (size_t i = 0; s.size && i < ARRAY_SIZE(units); i++)
		if ((s.data[s.size - 1] | 0x20) == units[i].unit) {
			shift = units[i].shift;
			s.size--;
			break;
		}
	if (s.size && s.data[s.size - 1] == ' ')
		s.size--;
	if (!shift)
		return span_u64(s, INT64_MAX, bytes);
	if (milli_read(s, 1ULL << (43 - shift), &milli) < 0)
		return -EINVAL;
	*bytes = (milli << shift) / 1000;
	return 0;
}

/* A limit may be said in two places, but not as two numbers. */
static void limit_set(struct walk *w, struct limit *limit, unsigned line,
		      uint64_t value)
{
	if (limit->line && limit->value != value)
		walk_fail(w, line, "differs from line %u", limit->line);
	*limit = (struct limit){ value, line };
}

static void memory_read(struct walk *w, const struct compose_node *value,
			void *into)
{
	struct service *s = into;
	const char *text = walk_text(w, value, "bytes, as 64m");
	uint64_t bytes;

	if (text && bytes_read(text, &bytes) < 0)
		walk_fail(w, value->line, "\"%.40s\": want bytes, as 64m",
			  text);
	else if (text)
		limit_set(w, &s->memory, value->line, bytes);
}

static void cpus_read(struct walk *w, const struct compose_node *value,
		      void *into)
{
	static const char want[] = "0 to 4096 with at most 3 decimals";
	struct service *s = into;
	const char *text = walk_text(w, value, want);
	uint64_t milli;

	if (text &&
	    (milli_read(span_of(text), 4096, &milli) < 0 || milli > 4096000))
		walk_fail(w, value->line, "\"%.40s\": want %s", text, want);
	else if (text)
		limit_set(w, &s->cpus_milli, value->line, milli);
}

/* -1 is no limit. */
static void pids_read(struct walk *w, const struct compose_node *value,
		      void *into)
{
	struct service *s = into;
	const char *text = walk_text(w, value, "a number");
	uint64_t n = 0;

	if (text && strcmp(text, "-1") != 0 &&
	    span_u64(span_of(text), 4 << 20, &n) < 0)
		walk_fail(w, value->line, "\"%.40s\": want a number", text);
	else if (text)
		limit_set(w, &s->pids, value->line, n);
}

static void limits_read(struct walk *w, const struct compose_node *value,
			void *into)
{
	static const struct walk_key keys[] = {
		{ "memory", memory_read },
		{ "cpus", cpus_read },
		{ "pids", pids_read },
	};
	static const char *const others[] = { "devices", "generic_resources",
					      NULL };

	walk_map(w, value, keys, ARRAY_SIZE(keys), others, into);
}

static void resources_read(struct walk *w, const struct compose_node *value,
			   void *into)
{
	static const struct walk_key keys[] = { { "limits", limits_read } };
	static const char *const others[] = { "reservations", NULL };

	walk_map(w, value, keys, ARRAY_SIZE(keys), others, into);
}

static void deploy_read(struct walk *w, const struct compose_node *value,
			void *into)
{
	static const struct walk_key keys[] = { { "resources",
						  resources_read } };
	static const char *const others[] = { "mode",
					      "replicas",
					      "placement",
					      "labels",
					      "restart_policy",
					      "update_config",
					      "rollback_config",
					      "endpoint_mode",
					      NULL };

	walk_map(w, value, keys, ARRAY_SIZE(keys), others, into);
}

/* ---- the service ---- */

static yyjson_mut_val *lists_write(yyjson_mut_doc *d, const struct service *s,
				   yyjson_mut_val *app)
{
	yyjson_mut_val *list = NULL;

	for (unsigned i = 0; i < s->n_command; i++) {
		if (!list)
			list = yyjson_mut_obj_add_arr(d, app, "command");
		yyjson_mut_arr_add_strcpy(d, list, s->command[i]);
	}
	list = NULL;
	for (unsigned i = 0; i < s->n_variables; i++) {
		if (!s->variable[i].value)
			continue;
		if (!list)
			list = yyjson_mut_obj_add_obj(d, app, "environment");
		yyjson_mut_obj_add(list,
				   yyjson_mut_strcpy(d, s->variable[i].name),
				   yyjson_mut_strcpy(d, s->variable[i].value));
	}
	list = NULL;
	for (unsigned i = 0; i < s->n_ports; i++) {
		yyjson_mut_val *port;

		if (!list)
			list = yyjson_mut_obj_add_arr(d, app, "ports");
		port = yyjson_mut_arr_add_obj(d, list);
		yyjson_mut_obj_add_uint(d, port, "host", s->port[i].host);
		yyjson_mut_obj_add_uint(d, port, "container",
					s->port[i].container);
	}
	return app;
}

/* "0.5", "2", "1.125". */
static void cpus_write(yyjson_mut_doc *d, yyjson_mut_val *app, uint64_t milli)
{
	char text[32];
	size_t n = (size_t)snprintf(text, sizeof(text), "%llu.%03llu",
				    (unsigned long long)(milli / 1000),
				    (unsigned long long)(milli % 1000));

	while (text[n - 1] == '0')
		text[--n] = '\0';
	if (text[n - 1] == '.')
		text[--n] = '\0';
	yyjson_mut_obj_add_val(d, app, "cpus", yyjson_mut_rawcpy(d, text));
}

static void service_write(struct walk *w, const char *name,
			  const struct service *s)
{
	yyjson_mut_doc *d = w->compose->apps;
	yyjson_mut_val *app =
		yyjson_mut_arr_add_obj(d, yyjson_mut_doc_get_root(d));

	yyjson_mut_obj_add_strcpy(d, app, "name", name);
	yyjson_mut_obj_add_strcpy(d, app, "image", s->image);
	if (s->digest[0])
		yyjson_mut_obj_add_strcpy(d, app, "digest", s->digest);
	lists_write(d, s, app);
	if (s->restart)
		yyjson_mut_obj_add_str(d, app, "restart", s->restart);
	if (s->memory.value)
		yyjson_mut_obj_add_uint(d, app, "memory", s->memory.value);
	if (s->cpus_milli.value)
		cpus_write(d, app, s->cpus_milli.value);
	if (s->pids.value)
		yyjson_mut_obj_add_uint(d, app, "pids", s->pids.value);
	if (s->read_only)
		yyjson_mut_obj_add_bool(d, app, "read_only", true);
}

/* What Compose knows beside; all else is a mistake. */
static const char *const other_keys[] = {
	"annotations",
	"attach",
	"blkio_config",
	"build",
	"cap_add",
	"cap_drop",
	"cgroup",
	"cgroup_parent",
	"configs",
	"container_name",
	"cpu_count",
	"cpu_percent",
	"cpu_period",
	"cpu_quota",
	"cpu_rt_period",
	"cpu_rt_runtime",
	"cpu_shares",
	"cpuset",
	"credential_spec",
	"depends_on",
	"develop",
	"device_cgroup_rules",
	"devices",
	"dns",
	"dns_opt",
	"dns_search",
	"domainname",
	"entrypoint",
	"env_file",
	"expose",
	"extends",
	"external_links",
	"extra_hosts",
	"gpus",
	"group_add",
	"healthcheck",
	"hostname",
	"init",
	"ipc",
	"isolation",
	"label_file",
	"labels",
	"links",
	"logging",
	"mac_address",
	"mem_reservation",
	"mem_swappiness",
	"memswap_limit",
	"models",
	"network_mode",
	"networks",
	"oom_kill_disable",
	"oom_score_adj",
	"pid",
	"platform",
	"post_start",
	"pre_stop",
	"privileged",
	"profiles",
	"provider",
	"pull_policy",
	"runtime",
	"scale",
	"secrets",
	"security_opt",
	"shm_size",
	"stdin_open",
	"stop_grace_period",
	"stop_signal",
	"storage_opt",
	"sysctls",
	"tmpfs",
	"tty",
	"ulimits",
	"use_api_socket",
	"user",
	"userns_mode",
	"uts",
	"volumes",
	"volumes_from",
	"working_dir",
	NULL,
};

void service_read(struct walk *w, const char *name, unsigned line,
		  const struct compose_node *node)
{
	static const struct walk_key keys[] = {
		{ "image", image_read },
		{ "command", command_read },
		{ "environment", environment_read },
		{ "ports", ports_read },
		{ "restart", restart_read },
		{ "mem_limit", memory_read },
		{ "cpus", cpus_read },
		{ "pids_limit", pids_read },
		{ "deploy", deploy_read },
		{ "read_only", read_only_read },
	};
	unsigned before = w->n_problems;
	struct service *s;

	if (!id_valid(span_of(name)))
		walk_fail(w, line, "want 1 to 63 of a-z, 0-9 and - for a name");
	s = calloc(1, sizeof(*s));
	if (!s) {
		walk_fail(w, line, "out of memory");
		return;
	}
	walk_map(w, node, keys, ARRAY_SIZE(keys), other_keys, s);
	if (!s->image && w->n_problems == before)
		walk_fail(w, line, "image: is missing");
	if (w->n_problems == before)
		service_write(w, name, s);
	free(s);
}
