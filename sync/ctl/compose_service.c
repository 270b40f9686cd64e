/* One service of a Compose file: the table of its keys. */
#include "compose_service.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "oci/signal_name.h"
#include "zlog/zlog.h"

static void text_write(struct walk *w, const struct compose_node *value,
		       struct service *s, const char *key)
{
	const char *text = walk_text(w, value, "text");

	if (text && !text[0])
		walk_fail(w, value->line, "want text that is not empty");
	else if (text)
		yyjson_mut_obj_add_strcpy(s->doc, s->app, key, text);
}

/* A name of the image, or numbers. */
static void user_read(struct walk *w, const struct compose_node *value,
		      void *into)
{
	const char *text = walk_text(w, value, "USER[:GROUP]");
	struct span rest = span_of(text ? text : ""), user;
	bool valid = span_cut(&rest, ':', &user) && user.size &&
		     user.data[0] != '-' &&
		     (!rest.data || (rest.size && rest.data[0] != '-' &&
				     !memchr(rest.data, ':', rest.size)));

	if (valid)
		text_write(w, value, into, "user");
	else if (text)
		walk_fail(w, value->line, "\"%.63s\": want USER or USER:GROUP",
			  text);
}

static void working_dir_read(struct walk *w, const struct compose_node *value,
			     void *into)
{
	const char *text = walk_text(w, value, "a path");

	if (text && text[0] != '/')
		walk_fail(w, value->line, "\"%.60s\": want an absolute path",
			  text);
	else if (text)
		text_write(w, value, into, "working_dir");
}

static void host_name(struct walk *w, const struct compose_node *value,
		      struct service *s, const char *key)
{
	const char *text = walk_text(w, value, "a name");
	bool valid = text && text[0] && strlen(text) <= 63;

	for (const char *p = text; valid && *p; p++)
		valid = isalnum((unsigned char)*p) || strchr(".-", *p);
	valid = valid && isalnum((unsigned char)text[0]) &&
		isalnum((unsigned char)text[strlen(text) - 1]);
	if (valid)
		text_write(w, value, s, key);
	else if (text)
		walk_fail(w, value->line,
			  "\"%.63s\": want at most 63 of A-Z, a-z, 0-9, - "
			  "and .",
			  text);
}

static void hostname_read(struct walk *w, const struct compose_node *value,
			  void *into)
{
	host_name(w, value, into, "hostname");
}

static void domainname_read(struct walk *w, const struct compose_node *value,
			    void *into)
{
	host_name(w, value, into, "domainname");
}

static void group_read(struct walk *w, const struct compose_node *value,
		       void *into)
{
	struct service *s = into;
	yyjson_mut_val *list = yyjson_mut_obj_get(s->app, "group_add");
	const char *text = walk_text(w, value, "a group");

	if (!text)
		return;
	if (!desired_group_valid(text)) {
		walk_fail(w, value->line,
			  "\"%.40s\": want the number or name of a group",
			  text);
		return;
	}
	if (!list)
		list = yyjson_mut_obj_add_arr(s->doc, s->app, "group_add");
	if (yyjson_mut_arr_size(list) == DESIRED_GROUPS_MAX)
		walk_fail(w, value->line, "want at most %u groups",
			  DESIRED_GROUPS_MAX);
	else
		yyjson_mut_arr_add_strcpy(s->doc, list, text);
}

static void group_add_read(struct walk *w, const struct compose_node *value,
			   void *into)
{
	walk_list(w, value, group_read, into);
}

static void stop_signal_read(struct walk *w, const struct compose_node *value,
			     void *into)
{
	const char *text = walk_text(w, value, "a signal");

	if (text && signal_number(text) > 0)
		text_write(w, value, into, "stop_signal");
	else if (text)
		walk_fail(w, value->line, "\"%.40s\": want a signal as SIGTERM",
			  text);
}

static void stop_grace_read(struct walk *w, const struct compose_node *value,
			    void *into)
{
	struct service *s = into;
	uint64_t ms;

	/* 0 is the default of the document. */
	if (value_duration(w, value, &ms))
		yyjson_mut_obj_add_uint(s->doc, s->app, "stop_grace_ms",
					ms ? ms : 1);
}

static void read_only_read(struct walk *w, const struct compose_node *value,
			   void *into)
{
	struct service *s = into;
	bool is = false;

	if (value_bool(w, value, &is) && is)
		yyjson_mut_obj_add_bool(s->doc, s->app, "read_only", true);
}

static void init_read(struct walk *w, const struct compose_node *value,
		      void *into)
{
	struct service *s = into;
	bool is = false;

	if (value_bool(w, value, &is) && is)
		yyjson_mut_obj_add_bool(s->doc, s->app, "init", true);
}

/* Keys that change nothing as long as they are false. */
static void false_read(struct walk *w, const struct compose_node *value,
		       void *into)
{
	bool is = false;

	(void)into;
	if (value_bool(w, value, &is) && is)
		walk_fail(w, value->line, "not supported yet");
}

/* Its standard input never ends, as if somebody might still type. */
static void stdin_open_read(struct walk *w, const struct compose_node *value,
			    void *into)
{
	struct service *s = into;
	bool is = false;

	if (value_bool(w, value, &is) && is)
		yyjson_mut_obj_put(s->app, yyjson_mut_str(s->doc, "stdin_open"),
				   yyjson_mut_true(s->doc));
}

static void tty_read(struct walk *w, const struct compose_node *value,
		     void *into)
{
	bool is = false;

	if (!value_bool(w, value, &is) || !is)
		return;
	walk_notice(w, value->line,
		    "there is no terminal: what it prints goes to its log, and "
		    "its input stays open");
	stdin_open_read(w, value, into);
}

/* Of who starts it by hand. */
static void attach_read(struct walk *w, const struct compose_node *value,
			void *into)
{
	bool is;

	(void)into;
	value_bool(w, value, &is);
}

static void build_read(struct walk *w, const struct compose_node *value,
		       void *into)
{
	struct service *s = into;

	if (s->has_image)
		walk_notice(w, value->line,
			    "nothing is built: the image must be there "
			    "already");
	else
		walk_fail(w, value->line,
			  "nothing is built here; build it, send it with zctl "
			  "push, and say image:");
}

static void runtime_read(struct walk *w, const struct compose_node *value,
			 void *into)
{
	const char *text = walk_text(w, value, "a runtime");

	(void)into;
	if (text)
		walk_fail(w, value->line,
			  "\"%.40s\": every container is run by zrun; want no "
			  "such key",
			  text);
}

/* An image is of several kinds of machine, or of the node's. */
static void platform_read(struct walk *w, const struct compose_node *value,
			  void *into)
{
	const char *text = walk_text(w, value, "linux/amd64 or the like");

	(void)into;
	if (text && strncmp(text, "linux", 5) != 0)
		walk_fail(w, value->line, "\"%.40s\": want one of linux", text);
	else if (text)
		walk_notice(w, value->line,
			    "is not used: each node takes the image of its own "
			    "kind");
}

static void swappiness_read(struct walk *w, const struct compose_node *value,
			    void *into)
{
	uint64_t n;

	(void)into;
	if (value_number(w, value, 100, &n))
		walk_notice(w, value->line,
			    "is not used: the kernel has one for all");
}

/* What every container has, and what there is not. */
static void security_read(struct walk *w, const struct compose_node *value,
			  void *into)
{
	static const char *const idle[] = {
		"no-new-privileges",	  "no-new-privileges:true",
		"no-new-privileges=true", "apparmor:unconfined",
		"apparmor=unconfined",	  "label:disable",
		"label=disable",
	};
	const char *text = walk_text(w, value, "no-new-privileges");
	size_t i = 0;

	(void)into;
	while (text && i < ARRAY_SIZE(idle) && strcmp(text, idle[i]) != 0)
		i++;
	if (text && i == ARRAY_SIZE(idle))
		walk_fail(w, value->line, "\"%.60s\": not supported yet", text);
}

static void security_opt_read(struct walk *w, const struct compose_node *value,
			      void *into)
{
	walk_list(w, value, security_read, into);
}

/* The hub finds out what a tag is when the file is applied, and nodes pull what
 * they lack: that is what these ask for. */
static void pull_policy_read(struct walk *w, const struct compose_node *value,
			     void *into)
{
	static const char *const words[] = { "always", "missing",
					     "if_not_present" };
	const char *text = walk_text(w, value, "always or missing");
	size_t i = 0;

	(void)into;
	while (text && i < ARRAY_SIZE(words) && strcmp(text, words[i]) != 0)
		i++;
	if (text && i == ARRAY_SIZE(words))
		walk_fail(w, value->line, "\"%.40s\": not supported yet", text);
}

/* ---- logging ---- */

/* What is kept of its output; 0: not said. */
struct log_said {
	uint64_t bytes, files;
};

static void log_driver_read(struct walk *w, const struct compose_node *value,
			    void *into)
{
	const char *text = walk_text(w, value, "json-file or local");

	(void)into;
	if (text && (!strcmp(text, "none") || !strcmp(text, "journald")))
		walk_notice(w, value->line,
			    "%s is not used: the node keeps what it prints, as "
			    "of all",
			    text);
	else if (text && strcmp(text, "json-file") != 0 &&
		 strcmp(text, "local") != 0)
		walk_fail(w, value->line,
			  "\"%.40s\": only json-file and local are supported "
			  "yet",
			  text);
}

static void max_size_read(struct walk *w, const struct compose_node *value,
			  void *into)
{
	struct log_said *log = into;

	if (!value_bytes(w, value, &log->bytes))
		return;
	if (log->bytes < ZLOG_KEEP_SIZE_MIN)
		walk_fail(w, value->line, "want at least %d KB",
			  ZLOG_KEEP_SIZE_MIN >> 10);
	if (log->bytes > ZLOG_KEEP_SIZE_MAX) {
		walk_notice(w, value->line, "a node's files are of %d MB each",
			    ZLOG_KEEP_SIZE_MAX >> 20);
		log->bytes = ZLOG_KEEP_SIZE_MAX;
	}
}

static void max_file_read(struct walk *w, const struct compose_node *value,
			  void *into)
{
	struct log_said *log = into;

	if (!value_number(w, value, 1000, &log->files))
		return;
	if (log->files == 0)
		walk_fail(w, value->line, "want at least 1");
	if (log->files > ZLOG_KEEP_FILES_MAX) {
		walk_notice(w, value->line, "a node keeps %d files",
			    ZLOG_KEEP_FILES_MAX);
		log->files = ZLOG_KEEP_FILES_MAX;
	}
}

static void log_option_notice(struct walk *w, const struct compose_node *value,
			      void *into)
{
	(void)into;
	walk_notice(w, value->line,
		    "is not used: it is of how Docker writes its files");
}

static void log_options_read(struct walk *w, const struct compose_node *value,
			     void *into)
{
	static const struct walk_key keys[] = {
		{ "max-size", max_size_read },
		{ "max-file", max_file_read },
		{ "tag", log_option_notice },
		{ "labels", log_option_notice },
		{ "env", log_option_notice },
		{ "compress", log_option_notice },
		{ "mode", log_option_notice },
		{ "max-buffer-size", log_option_notice },
	};
	struct service *s = into;
	struct log_said log = { 0 };
	yyjson_mut_val *json;

	walk_map(w, value, keys, ARRAY_SIZE(keys), NULL, &log);
	if (!log.bytes && !log.files)
		return;
	json = yyjson_mut_obj_add_obj(s->doc, s->app, "log");
	if (log.bytes)
		yyjson_mut_obj_add_uint(s->doc, json, "size", log.bytes);
	if (log.files)
		yyjson_mut_obj_add_uint(s->doc, json, "files", log.files);
}

static void logging_read(struct walk *w, const struct compose_node *value,
			 void *into)
{
	static const struct walk_key keys[] = {
		{ "driver", log_driver_read },
		{ "options", log_options_read },
	};

	walk_map(w, value, keys, ARRAY_SIZE(keys), NULL, into);
}

/* ---- x-zooid, profiles ---- */

static void class_read(struct walk *w, const struct compose_node *value,
		       void *into)
{
	const char *text = walk_text(w, value, "process");

	(void)into;
	if (text && strcmp(text, "process") != 0)
		walk_fail(w, value->line,
			  "\"%.40s\": only process is supported yet", text);
}

static void zooid_read(struct walk *w, const struct compose_node *value,
		       void *into)
{
	static const struct walk_key keys[] = { { "class", class_read },
						{ "reactive", reactive_read },
						{ "network", policy_read },
						{ "pod", pod_read } };
	static const char *const others[] = { "place", NULL };

	walk_map(w, value, keys, ARRAY_SIZE(keys), others, into);
}

static bool profile_is_on(struct walk *w, const char *profile)
{
	const char *const *on = w->config->profile;
	const char *said = on ? NULL
			      : text_variable(w, compose_place(0, 1),
					      "COMPOSE_PROFILES");
	struct span rest = span_of(said ? said : ""), word;

	for (; on && *on; on++)
		if (!strcmp(*on, profile) || !strcmp(*on, "*"))
			return true;
	while (span_cut(&rest, ',', &word))
		if (span_is(word, profile) || span_is(word, "*"))
			return true;
	return false;
}

bool service_is_on(struct walk *w, const struct compose_node *node)
{
	const struct compose_node *list = walk_member(node, "profiles");

	if (!list || list->kind != COMPOSE_LIST || !list->n)
		return true;
	for (unsigned i = 0; i < list->n; i++)
		if (list->item[i]->kind == COMPOSE_TEXT &&
		    profile_is_on(w, list->item[i]->text.data))
			return true;
	return false;
}

static void profile_read(struct walk *w, const struct compose_node *value,
			 void *into)
{
	(void)into;
	walk_text(w, value, "a profile");
}

static void profiles_read(struct walk *w, const struct compose_node *value,
			  void *into)
{
	walk_list(w, value, profile_read, into);
}

/* ---- the service ---- */

static const char *const other_keys[] = {
	"blkio_config",
	"cgroup_parent",
	"cpu_count",
	"cpu_percent",
	"cpu_rt_period",
	"cpu_rt_runtime",
	"credential_spec",
	"develop",
	"device_cgroup_rules",
	"external_links",
	"isolation",
	"label_file",
	"models",
	"post_start",
	"pre_stop",
	"provider",
	"storage_opt",
	"volumes_from",
	NULL,
};

static void service_write(struct walk *w, struct service *s)
{
	yyjson_mut_val *health;

	program_check(w, s);
	pairs_write(s, "environment", &s->environment);
	pairs_write(s, "environment", &s->files);
	pairs_write(s, "labels", &s->labels);
	pairs_write(s, "sysctls", &s->sysctls);
	pairs_write(s, "extra_hosts", &s->extra_hosts);
	if (yyjson_mut_obj_size(yyjson_mut_obj_get(s->app, "environment")) >
	    DESIRED_ENV_MAX)
		walk_fail(w, s->seen->line, "want at most %u variables",
			  DESIRED_ENV_MAX);
	host_ports_drop(w, s);
	policy_internal(w, s);
	ports_write(s);
	pod_write(s);
	mounts_write(s);
	shares_write(w, s);
	limits_write(s);
	depends_write(w, s);
	reactive_check(w, s);
	policy_check(w, s);
	host_network_check(w, s);
	health = yyjson_mut_obj_get(s->app, "health");
	s->seen->has_health = yyjson_mut_obj_get(health, "test");
	s->seen->no_health = yyjson_mut_obj_get(health, "off");
	yyjson_mut_obj_add_strcpy(s->doc, s->app, "image", s->image);
	if (s->digest[0])
		yyjson_mut_obj_add_strcpy(s->doc, s->app, "digest", s->digest);
	yyjson_mut_arr_append(yyjson_mut_doc_get_root(s->doc), s->app);
}

static void service_fill(struct walk *w, struct service *s,
			 const struct compose_node *node)
{
	static const struct walk_key keys[] = {
		{ "image", image_read },
		{ "command", command_read },
		{ "entrypoint", entrypoint_read },
		{ "environment", environment_read },
		{ "env_file", env_file_read },
		{ "ports", ports_read },
		{ "expose", expose_read },
		{ "volumes", volumes_read },
		{ "tmpfs", tmpfs_read },
		{ "configs", configs_read },
		{ "secrets", secrets_read },
		{ "networks", networks_read },
		{ "network_mode", network_mode_read },
		{ "pid", pid_read },
		{ "ipc", ipc_read },
		{ "depends_on", depends_on_read },
		{ "links", links_read },
		{ "healthcheck", healthcheck_read },
		{ "restart", restart_read },
		{ "deploy", deploy_read },
		{ "scale", replicas_read },
		{ "mem_limit", memory_read },
		{ "cpus", cpus_read },
		{ "pids_limit", pids_read },
		{ "mem_reservation", mem_reservation_read },
		{ "memswap_limit", memswap_read },
		{ "mem_swappiness", swappiness_read },
		{ "oom_kill_disable", false_read },
		{ "oom_score_adj", oom_score_adj_read },
		{ "cpu_shares", cpu_shares_read },
		{ "cpuset", cpuset_read },
		{ "cpu_quota", cpu_quota_read },
		{ "cpu_period", cpu_period_read },
		{ "shm_size", shm_size_read },
		{ "ulimits", ulimits_read },
		{ "user", user_read },
		{ "group_add", group_add_read },
		{ "working_dir", working_dir_read },
		{ "hostname", hostname_read },
		{ "domainname", domainname_read },
		{ "extra_hosts", extra_hosts_read },
		{ "dns", dns_read },
		{ "dns_search", dns_search_read },
		{ "dns_opt", dns_opt_read },
		{ "cap_add", cap_add_read },
		{ "cap_drop", cap_drop_read },
		{ "privileged", privileged_read },
		{ "devices", devices_read },
		{ "uts", uts_read },
		{ "cgroup", cgroup_read },
		{ "userns_mode", userns_read },
		{ "security_opt", security_opt_read },
		{ "read_only", read_only_read },
		{ "sysctls", sysctls_read },
		{ "stop_signal", stop_signal_read },
		{ "stop_grace_period", stop_grace_read },
		{ "logging", logging_read },
		{ "labels", labels_read },
		{ "annotations", labels_read },
		{ "profiles", profiles_read },
		{ "container_name", container_name_read },
		{ "pull_policy", pull_policy_read },
		{ "init", init_read },
		{ "tty", tty_read },
		{ "stdin_open", stdin_open_read },
		{ "attach", attach_read },
		{ "build", build_read },
		{ "platform", platform_read },
		{ "use_api_socket", false_read },
		{ "mac_address", mac_address_read },
		{ "gpus", gpus_read },
		{ "runtime", runtime_read },
		{ "x-zooid", zooid_read },
	};

	const struct compose_node *privileged = walk_member(node, "privileged");

	s->has_image = walk_member(node, "image");
	if (privileged) /* if it is wrong, that is told once more */
		value_bool(w, privileged, &s->says_privileged);
	walk_map(w, node, keys, ARRAY_SIZE(keys), other_keys, s);
}

void service_read(struct walk *w, struct service_seen *seen,
		  const struct compose_node *node)
{
	unsigned before = w->n_problems;
	struct service *s = calloc(1, sizeof(*s));

	if (!s) {
		walk_fail(w, seen->line, "out of memory");
		return;
	}
	s->seen = seen;
	s->doc = w->compose->apps;
	s->app = yyjson_mut_obj(s->doc);
	seen->networks = 1;
	service_name_write(s);
	service_fill(w, s, node);
	if (!s->image && w->n_problems == before)
		walk_fail(w, seen->line, "image: is missing");
	if (w->n_problems == before)
		service_write(w, s);
	free(s);
}
