/* One app of the document: the keys whose values are plain. */
#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>

#include "desired_read.h"
#include "grant.h"
#include "runtime_config.h"
#include "signal_name.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static int port_number(struct json_walk *w, yyjson_val *v, uint16_t *port)
{
	uint64_t n;

	if (!yyjson_is_raw(v) || span_u64(json_text(v), 65535, &n) < 0 || !n)
		return json_fail_value(w, v, "want a port, 1 to 65535");
	*port = (uint16_t)n;
	return 0;
}

static int app_name_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;
	int err = desired_id_read(w, v, app->name);

	for (struct desired_app *a = desired_reader(w)->desired->app;
	     err == 0 && a < app; a++)
		if (!strcmp(a->name, app->name))
			err = json_fail_value(w, v, "two apps of that name");
	return err;
}

bool desired_name_valid(struct span name)
{
	if (!name.size || name.size > 63 || name.data[0] == '.' ||
	    name.data[name.size - 1] == '.')
		return false;
	for (size_t i = 0; i < name.size; i++)
		if (!strchr("abcdefghijklmnopqrstuvwxyz0123456789-_.",
			    name.data[i]) ||
		    !name.data[i])
			return false;
	return true;
}

static const char want_name[] = "want 1 to 63 of a-z, 0-9, -, _ and .";

static int service_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;
	struct span s;
	int err = json_string(w, v, want_name, &s);

	if (err < 0)
		return err;
	return desired_name_valid(s)
		       ? span_copy(app->service, sizeof(app->service), s)
		       : json_fail_value(w, v, want_name);
}

static int aliases_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;
	int err = desired_list_read(w, v, &app->aliases, DESIRED_LIST_MAX);

	for (unsigned i = 0; err == 0 && i < app->aliases.n; i++)
		if (!desired_name_valid(span_of(app->aliases.item[i])))
			err = json_fail(w, want_name);
	return err;
}

void desired_names(const struct desired_app *app, char out[DESIRED_NAMES_SIZE])
{
	size_t n = text_copy(out, DESIRED_NAMES_SIZE,
			     app->service[0] ? app->service : app->name);

	for (unsigned i = 0; i < app->aliases.n; i++)
		n += (size_t)snprintf(out + n, DESIRED_NAMES_SIZE - n, " %s",
				      app->aliases.item[i]);
}

static int names_check(struct json_walk *w, const struct desired_app *app)
{
	size_t n = 0;

	for (unsigned i = 0; i < app->aliases.n; i++)
		n += 1 + strlen(app->aliases.item[i]);
	return n > DESIRED_ALIASES_MAX
		       ? json_fail(w, "aliases: want at most %d bytes of them",
				   DESIRED_ALIASES_MAX)
		       : 0;
}

static int app_image_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;
	int err = desired_text_read(w, v, app->image, sizeof(app->image));

	return err == 0 && !app->image[0] ? json_fail(w, "want an image") : err;
}

static int app_digest_read(struct json_walk *w, yyjson_val *v, void *into)
{
	static const char want[] = "want \"sha256:\" and 64 hex digits";
	struct desired_app *app = into;
	struct span s;
	int err = json_string(w, v, want, &s);

	if (err < 0)
		return err;
	app->has_digest = digest_parse(s, &app->digest) == 0;
	return app->has_digest ? 0 : json_fail_value(w, v, want);
}

static int entrypoint_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;

	app->no_entrypoint = yyjson_is_arr(v) && !yyjson_arr_size(v);
	return desired_list_read(w, v, &app->entrypoint, DESIRED_ARGS_MAX);
}

static int command_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;

	app->no_command = yyjson_is_arr(v) && !yyjson_arr_size(v);
	return desired_list_read(w, v, &app->command, DESIRED_ARGS_MAX);
}

static int environment_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;

	return desired_pairs_read(w, v, &app->environment, DESIRED_ENV_MAX);
}

static int labels_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;

	return desired_pairs_read(w, v, &app->labels, DESIRED_LIST_MAX);
}

static int sysctls_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;

	return desired_pairs_read(w, v, &app->sysctls, DESIRED_LIST_MAX);
}

static int extra_hosts_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;

	return desired_pairs_read(w, v, &app->extra_hosts, DESIRED_LIST_MAX);
}

bool desired_resolver_word(const char *text)
{
	size_t n = strlen(text);

	return n > 0 && n <= 63 &&
	       strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
			    "abcdefghijklmnopqrstuvwxyz0123456789._:-") == n;
}

static int resolver_read(struct json_walk *w, yyjson_val *v,
			 struct desired_list *list)
{
	int err = desired_list_read(w, v, list, DESIRED_RESOLVER_MAX);

	for (unsigned i = 0; err == 0 && i < list->n; i++)
		if (!desired_resolver_word(list->item[i]))
			err = json_fail(w, "want words of resolv.conf");
	return err;
}

static int dns_search_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;

	return resolver_read(w, v, &app->dns_search);
}

static int dns_opt_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;

	return resolver_read(w, v, &app->dns_opt);
}

bool desired_group_valid(const char *text)
{
	size_t n = strlen(text);
	uint64_t gid;

	if (span_u64(span_of(text), INT32_MAX, &gid) == 0)
		return true;
	return n > 0 && n <= 32 && !isdigit((unsigned char)text[0]) &&
	       strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
			    "abcdefghijklmnopqrstuvwxyz0123456789_.-") == n;
}

static int group_add_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;

	int err = desired_list_read(w, v, &app->group_add, DESIRED_GROUPS_MAX);

	for (unsigned i = 0; err == 0 && i < app->group_add.n; i++)
		if (!desired_group_valid(app->group_add.item[i]))
			err = json_fail(w, "want numbers, or names of groups");
	return err;
}

static int user_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;

	return desired_string_read(w, v, &app->user);
}

static int working_dir_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;
	int err = desired_string_read(w, v, &app->working_dir);

	if (err == 0 && app->working_dir[0] != '/')
		err = json_fail_value(w, v, "want an absolute path");
	return err;
}

static int hostname_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;

	return desired_string_read(w, v, &app->hostname);
}

static int domainname_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;

	return desired_string_read(w, v, &app->domainname);
}

static int stop_signal_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;

	int err = desired_string_read(w, v, &app->stop_signal);

	if (err == 0 && signal_number(app->stop_signal) <= 0)
		err = json_fail_value(w, v, "want a signal, as SIGTERM");
	return err;
}

static int stop_grace_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;
	uint64_t n;
	int err = desired_number_read(w, v, DESIRED_TIME_MAX_MS, &n);

	if (err == 0)
		app->stop_grace_ms = (uint32_t)n;
	return err;
}

static int network_read(struct json_walk *w, yyjson_val *v, void *into)
{
	static const char *const words[] = { "none" };
	struct desired_app *app = into;
	int n = desired_word_read(w, v, words, ARRAY_SIZE(words),
				  "want none, or no such key");

	app->no_network = n == 0;
	return n < 0 ? n : 0;
}

static unsigned host_share(enum grant_kind kind)
{
	return kind == GRANT_NETWORK ? DESIRED_POD_NETWORK
	       : kind == GRANT_PID   ? DESIRED_POD_PID
	       : kind == GRANT_IPC   ? DESIRED_POD_IPC
				     : 0;
}

static int grants_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;
	struct grant grant;
	int err = desired_list_read(w, v, &app->grants, DESIRED_LIST_MAX);

	for (unsigned i = 0; err == 0 && i < app->grants.n; i++) {
		if (grant_parse(span_of(app->grants.item[i]), &grant) < 0)
			return json_fail(w, GRANT_WANT);
		app->host_shares |= host_share(grant.kind);
		app->privileged |= grant.kind == GRANT_PRIVILEGED;
	}
	return err;
}

static int cap_drop_one(struct json_walk *w, yyjson_val *v, void *into)
{
	static const char want[] = "want one of OCI's default capabilities";
	struct desired_app *app = into;
	char name[64];
	int n, err = desired_text_read(w, v, name, sizeof(name));

	if (err < 0)
		return err;
	n = capability_number(name);
	if (n < 0 || !(RUNTIME_CAP_DEFAULT >> n & 1))
		return json_fail_value(w, v, want);
	app->cap_drop |= UINT64_C(1) << n;
	return 0;
}

static int cap_drop_read(struct json_walk *w, yyjson_val *v, void *into)
{
	return json_array(w, v, DESIRED_LIST_MAX, cap_drop_one, into);
}

static int host_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_port *port = into;

	return port_number(w, v, &port->host);
}

static int container_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_port *port = into;

	return port_number(w, v, &port->container);
}

int desired_address(struct span text, uint8_t address[16])
{
	char copy[INET6_ADDRSTRLEN];

	memset(address, 0, 16);
	if (span_copy(copy, sizeof(copy), text) < 0)
		return -EINVAL;
	if (inet_pton(AF_INET6, copy, address) == 1)
		return 0;
	memset(address, 0, 16);
	if (inet_pton(AF_INET, copy, address + 12) != 1)
		return -EINVAL;
	/* 0.0.0.0 is every address, of both families. */
	if (strcmp(copy, "0.0.0.0") != 0)
		address[10] = address[11] = 0xff;
	return 0;
}

static int address_read(struct json_walk *w, yyjson_val *v, void *into)
{
	static const char want[] = "want an address in digits";
	struct desired_port *port = into;
	struct span s;
	int err = json_string(w, v, want, &s);

	if (err == 0 && desired_address(s, port->address) < 0)
		err = json_fail_value(w, v, want);
	return err;
}

static int protocol_read(struct json_walk *w, yyjson_val *v, void *into)
{
	static const char want[] = "want tcp or udp";
	struct desired_port *port = into;
	struct span s;
	int err = json_string(w, v, want, &s);

	if (err < 0)
		return err;
	port->udp = span_is(s, "udp");
	return port->udp || span_is(s, "tcp") ? 0 : json_fail_value(w, v, want);
}

static int proxy_protocol_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_port *port = into;
	uint64_t n;
	int err = desired_number_read(w, v, UINT32_MAX, &n);

	if (err == 0 && n != 2)
		return json_fail_value(w, v, "want 2, or no such key");
	port->proxy_protocol = 2;
	return err;
}

bool desired_port_same(const struct desired_port *a,
		       const struct desired_port *b)
{
	return a->host == b->host && a->udp == b->udp;
}

static int port_read(struct json_walk *w, yyjson_val *v, void *into)
{
	static const struct json_key keys[] = {
		{ "host", host_read, true },
		{ "container", container_read, true },
		{ "address", address_read, false },
		{ "protocol", protocol_read, false },
		{ "proxy_protocol", proxy_protocol_read, false },
	};
	struct desired_app *app = into;
	struct desired_port *port = &app->port[app->n_ports];
	int err = json_object(w, v, keys, ARRAY_SIZE(keys), port);

	if (err < 0)
		return err;
	if (port->udp && port->proxy_protocol)
		return json_fail(w, "want tcp with proxy_protocol");
	for (unsigned i = 0; i < app->n_ports; i++)
		if (desired_port_same(&app->port[i], port))
			return json_fail(w, "host port %u given twice",
					 port->host);
	app->n_ports++;
	return 0;
}

static int ports_read(struct json_walk *w, yyjson_val *v, void *into)
{
	return json_array(w, v, DESIRED_PORTS_MAX, port_read, into);
}

static const char *const restart_names[] = {
	[DESIRED_RESTART_NO] = "no",
	[DESIRED_RESTART_ON_FAILURE] = "on-failure",
	[DESIRED_RESTART_ALWAYS] = "always",
	[DESIRED_RESTART_UNLESS_STOPPED] = "unless-stopped",
};

static int restart_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;
	int n = desired_word_read(w, v, restart_names,
				  ARRAY_SIZE(restart_names),
				  "want always, unless-stopped, on-failure or "
				  "no");

	if (n >= 0)
		app->restart = (enum desired_restart)n;
	return n < 0 ? n : 0;
}

static int restart_max_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;
	uint64_t n;
	int err = desired_number_read(w, v, INT32_MAX, &n);

	if (err == 0)
		app->restart_max = (uint32_t)n;
	return err;
}

static int memory_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;

	return desired_number_read(w, v, INT64_MAX, &app->memory_bytes);
}

static int memory_reserved_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;

	return desired_number_read(w, v, INT64_MAX,
				   &app->memory_reserved_bytes);
}

/* -1 is no limit. */
static int memory_swap_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;

	if (yyjson_is_raw(v) && span_is(json_text(v), "-1")) {
		app->memory_swap_bytes = UINT64_MAX;
		return 0;
	}
	return desired_number_read(w, v, INT64_MAX, &app->memory_swap_bytes);
}

static int cpu_shares_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;
	uint64_t n;
	int err = desired_number_read(w, v, DESIRED_CPU_SHARES_MAX, &n);

	if (err == 0 && n < 2)
		err = json_fail(w, "want at least 2");
	if (err == 0)
		app->cpu_shares = (uint32_t)n;
	return err;
}

bool desired_cpuset_valid(const char *text)
{
	size_t n = strlen(text);

	return n > 0 && n < 64 && strspn(text, "0123456789,-") == n &&
	       isdigit((unsigned char)text[0]) &&
	       isdigit((unsigned char)text[n - 1]);
}

static int cpuset_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;
	int err = desired_string_read(w, v, &app->cpuset);

	if (err == 0 && !desired_cpuset_valid(app->cpuset))
		err = json_fail_value(w, v, "want processors, as 0-3,7");
	return err;
}

static int oom_score_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;
	uint64_t n;
	int err = desired_number_read(w, v, DESIRED_OOM_SCORE_MAX, &n);

	if (err == 0)
		app->oom_score = (uint32_t)n;
	return err;
}

static int log_size_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;
	uint64_t n;
	int err = desired_number_read(w, v, UINT32_MAX, &n);

	if (err == 0)
		app->log_bytes = (uint32_t)n;
	return err;
}

static int log_files_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;
	uint64_t n;
	int err = desired_number_read(w, v, 100, &n);

	if (err == 0)
		app->log_files = (uint32_t)n;
	return err;
}

static int log_read(struct json_walk *w, yyjson_val *v, void *into)
{
	static const struct json_key keys[] = {
		{ "size", log_size_read, false },
		{ "files", log_files_read, false },
	};

	return json_object(w, v, keys, ARRAY_SIZE(keys), into);
}

/* "0.5", "2", "1.125": whole thousandths, no exponent. */
static int cpus_read(struct json_walk *w, yyjson_val *v, void *into)
{
	static const char want[] = "want 0 to 4096 with at most 3 decimals";
	struct desired_app *app = into;
	struct span rest = json_text(v), whole, part;
	uint64_t milli, fraction = 0;

	if (!yyjson_is_raw(v) || !span_cut(&rest, '.', &whole) ||
	    span_u64(whole, 4096, &milli) < 0)
		return json_fail_value(w, v, want);
	if (span_cut(&rest, '.', &part)) {
		if (part.size > 3 || span_u64(part, 999, &fraction) < 0)
			return json_fail_value(w, v, want);
		for (size_t i = part.size; i < 3; i++)
			fraction *= 10;
	}
	app->cpus_milli = (uint32_t)(milli * 1000 + fraction);
	return 0;
}

static int pids_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;
	uint64_t n;
	int err = desired_number_read(w, v, 4 << 20, &n);

	if (err == 0)
		app->pids = (uint32_t)n;
	return err;
}

static int shm_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;

	return desired_number_read(w, v, INT64_MAX, &app->shm_bytes);
}

static int read_only_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;

	return desired_bool_read(w, v, &app->read_only);
}

static int init_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;

	return desired_bool_read(w, v, &app->init);
}

static int stdin_open_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;

	return desired_bool_read(w, v, &app->stdin_open);
}

static int application_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;

	return desired_id_read(w, v, app->application);
}

static int by_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;

	return desired_text_read(w, v, app->by, sizeof(app->by));
}

static int at_read(struct json_walk *w, yyjson_val *v, void *into)
{
	struct desired_app *app = into;

	return desired_text_read(w, v, app->at, sizeof(app->at));
}

static int origin_read(struct json_walk *w, yyjson_val *v, void *into)
{
	static const struct json_key keys[] = {
		{ "application", application_read, true },
		{ "by", by_read, false },
		{ "at", at_read, false },
	};

	return json_object(w, v, keys, ARRAY_SIZE(keys), into);
}

int desired_app_read(struct json_walk *w, yyjson_val *v, void *into)
{
	static const struct json_key keys[] = {
		{ "name", app_name_read, true },
		{ "service", service_read, false },
		{ "aliases", aliases_read, false },
		{ "image", app_image_read, true },
		{ "digest", app_digest_read, false },
		{ "entrypoint", entrypoint_read, false },
		{ "command", command_read, false },
		{ "environment", environment_read, false },
		{ "ports", ports_read, false },
		{ "mounts", desired_mounts_read, false },
		{ "depends_on", desired_depends_read, false },
		{ "pod", desired_pod_read, false },
		{ "health", desired_health_read, false },
		{ "reactive", desired_reactive_read, false },
		{ "restart", restart_read, false },
		{ "restart_max", restart_max_read, false },
		{ "stop_signal", stop_signal_read, false },
		{ "stop_grace_ms", stop_grace_read, false },
		{ "user", user_read, false },
		{ "group_add", group_add_read, false },
		{ "working_dir", working_dir_read, false },
		{ "hostname", hostname_read, false },
		{ "domainname", domainname_read, false },
		{ "extra_hosts", extra_hosts_read, false },
		{ "dns", desired_dns_read, false },
		{ "dns_search", dns_search_read, false },
		{ "dns_opt", dns_opt_read, false },
		{ "network", network_read, false },
		{ "policy", desired_policy_read, false },
		{ "labels", labels_read, false },
		{ "sysctls", sysctls_read, false },
		{ "ulimits", desired_ulimits_read, false },
		{ "cap_drop", cap_drop_read, false },
		{ "grants", grants_read, false },
		{ "memory", memory_read, false },
		{ "memory_reserved", memory_reserved_read, false },
		{ "memory_swap", memory_swap_read, false },
		{ "cpu_shares", cpu_shares_read, false },
		{ "cpuset", cpuset_read, false },
		{ "oom_score", oom_score_read, false },
		{ "cpus", cpus_read, false },
		{ "pids", pids_read, false },
		{ "shm_size", shm_read, false },
		{ "log", log_read, false },
		{ "read_only", read_only_read, false },
		{ "init", init_read, false },
		{ "stdin_open", stdin_open_read, false },
		{ "origin", origin_read, false },
	};
	struct desired *d = into;
	struct desired_app *app = &d->app[d->n_apps];
	int err = json_object(w, v, keys, ARRAY_SIZE(keys), app);

	if (err < 0)
		return err;
	if (!app->has_digest && !desired_reader(w)->is_apps)
		return json_fail(w, "want the key \"digest\" too");
	err = names_check(w, app);
	if (err == 0)
		err = desired_reactive_check(w, app);
	if (err < 0)
		return err;
	if (app->memory_swap_bytes &&
	    (!app->memory_bytes || app->memory_swap_bytes < app->memory_bytes))
		return json_fail(w, "want memory_swap no less than memory");
	if (app->policy.is_said &&
	    (app->no_network || app->host_shares & DESIRED_POD_NETWORK))
		return json_fail(w, "want a network of its own with a policy");
	if (app->host_shares & DESIRED_POD_NETWORK &&
	    (app->n_ports || app->no_network || app->reactive.is_on))
		return json_fail(w, "want no ports, network nor reactive with "
				    "the node's network");
	if (app->host_shares & app->pod.shares)
		return json_fail(w, "want its pod's namespaces or the node's");
	app->content = desired_content(app);
	d->n_apps++;
	return 0;
}
