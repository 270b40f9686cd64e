#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "config_write.h"
#include "base/fd.h"
#include "oci/grant.h"
#include "oci/net_policy.h"
#include "oci/runtime_config.h"
#include "oci/signal_name.h"
#include "zrun/serve.h"

#define PATH_DEFAULT \
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static const char *const masked[] = {
	"/proc/acpi",
	"/proc/asound",
	"/proc/interrupts",
	"/proc/kcore",
	"/proc/keys",
	"/proc/latency_stats",
	"/proc/sched_debug",
	"/proc/scsi",
	"/proc/timer_list",
	"/proc/timer_stats",
	"/sys/devices/virtual/powercap",
	"/sys/firmware",
	NULL,
};

static const char *const read_only[] = {
	"/proc/bus",	       "/proc/fs", "/proc/irq", "/proc/sys",
	"/proc/sysrq-trigger", NULL,
};

static const struct {
	const char *name, *file;
	unsigned share; /* DESIRED_POD_* */
} namespaces[] = {
	{ "pid", "pid", DESIRED_POD_PID },
	{ "network", "net", DESIRED_POD_NETWORK },
	{ "ipc", "ipc", DESIRED_POD_IPC },
	{ "uts", NULL, 0 },
	{ "mount", NULL, 0 },
	{ "cgroup", NULL, 0 },
};

void node_config_strings(doc d, val array, const char *const *list)
{
	for (; list && *list; list++)
		yyjson_mut_arr_add_str(d, array, *list);
}

static void add_strings(doc d, val object, const char *key,
			const char *const *list)
{
	node_config_strings(d, yyjson_mut_obj_add_arr(d, object, key), list);
}

/* Of "KEY=value", the members of an object. */
static void add_pairs(doc d, val object, const struct desired_list *list)
{
	for (unsigned i = 0; i < list->n; i++) {
		const char *equals = strchr(list->item[i], '=');

		yyjson_mut_obj_add(
			object,
			yyjson_mut_strncpy(d, list->item[i],
					   (size_t)(equals - list->item[i])),
			yyjson_mut_str(d, equals + 1));
	}
}

/* Entrypoint and Cmd of the image; a command that is wanted takes Cmd's place,
 * an entrypoint that of both, as in Compose: also one that is empty. */
struct args {
	const char *const *entrypoint, *const *command;
};

static struct args args_of(const struct node_config *c)
{
	const struct desired_app *app = c->app;
	bool has_entrypoint = app->entrypoint.n || app->no_entrypoint;
	bool has_command = has_entrypoint || app->command.n || app->no_command;

	return (struct args){ has_entrypoint ? app->entrypoint.item
					     : c->image->entrypoint.item,
			      has_command ? app->command.item
					  : c->image->command.item };
}

static void add_args(doc d, val process, const struct node_config *c)
{
	val array = yyjson_mut_obj_add_arr(d, process, "args");
	struct args args = args_of(c);

	node_config_strings(d, array, args.entrypoint);
	node_config_strings(d, array, args.command);
}

/* Whether list sets the variable that `entry` ("NAME=value") sets. */
static bool sets(const char *const *list, const char *entry)
{
	size_t n = (size_t)(strchr(entry, '=') - entry) + 1;

	for (; list && *list; list++)
		if (strncmp(*list, entry, n) == 0)
			return true;
	return false;
}

static void add_environment(doc d, val process, const struct node_config *c)
{
	const char *const *own = c->app->environment.item;
	const struct image_strings *image = &c->image->environment;
	val array = yyjson_mut_obj_add_arr(d, process, "env");

	if (!sets(own, "PATH=") && !sets(image->item, "PATH="))
		yyjson_mut_arr_add_str(d, array, PATH_DEFAULT);
	for (unsigned i = 0; i < image->n; i++)
		if (!sets(own, image->item[i]))
			yyjson_mut_arr_add_str(d, array, image->item[i]);
	node_config_strings(d, array, own);
}

static bool is_number(const char *text)
{
	return text[strspn(text, "0123456789")] == '\0';
}

/* "USER:GROUP:NAME,...", of which the group may be empty. */
static void add_groups(doc d, val user, const char *text,
		       const struct desired_list *list)
{
	autofree char *all = NULL;
	size_t size;
	FILE *out = open_memstream(&all, &size);
	char mark = ':';

	if (!out) {
		/* Not as somebody else: nobody is called so. */
		yyjson_mut_obj_add_str(d, user, "username", "?");
		return;
	}
	fprintf(out, "%s%s", *text ? text : "0", strchr(text, ':') ? "" : ":");
	for (unsigned i = 0; i < list->n; i++)
		if (!is_number(list->item[i])) {
			fprintf(out, "%c%s", mark, list->item[i]);
			mark = ',';
		}
	yyjson_mut_obj_add_strcpy(d, user, "username",
				  fclose(out) == 0 ? all : "?");
}

/* "1000:100" needs no look-up; everything else is serve's to resolve in the
 * root file system, which znode cannot read. */
static void add_user(doc d, val process, const struct node_config *c)
{
	const char *text = c->app->user ? c->app->user : c->image->user;
	val user = yyjson_mut_obj_add_obj(d, process, "user"), groups = NULL;
	bool named = false;
	struct span rest = span_of(text), name;
	uint64_t uid = 0, gid = 0;
	bool numeric = *text && span_cut(&rest, ':', &name) && rest.data &&
		       !span_u64(name, UINT32_MAX - 1, &uid) &&
		       !span_u64(rest, UINT32_MAX - 1, &gid);

	yyjson_mut_obj_add_uint(d, user, "uid", numeric ? uid : 0);
	yyjson_mut_obj_add_uint(d, user, "gid", numeric ? gid : 0);
	for (unsigned i = 0; i < c->app->group_add.n; i++) {
		const char *group = c->app->group_add.item[i];

		if (!is_number(group)) {
			named = true;
			continue;
		}
		if (!groups)
			groups = yyjson_mut_obj_add_arr(d, user,
							"additionalGids");
		yyjson_mut_arr_append(groups, yyjson_mut_raw(d, group));
	}
	if (named)
		add_groups(d, user, text, &c->app->group_add);
	else if (*text && !numeric)
		yyjson_mut_obj_add_str(d, user, "username", text);
}

static uint64_t granted_capabilities(const struct desired_app *app)
{
	uint64_t granted = app->privileged ? UINT64_MAX : 0;
	struct grant grant;

	for (unsigned i = 0; i < app->grants.n; i++)
		if (grant_parse(span_of(app->grants.item[i]), &grant) == 0 &&
		    grant.kind == GRANT_CAPABILITY)
			granted |= UINT64_C(1) << grant.capability;
	return granted;
}

static void add_capabilities(doc d, val process, const struct desired_app *app)
{
	static const char *const sets[] = { "bounding", "effective",
					    "permitted" };
	uint64_t kept = (RUNTIME_CAP_DEFAULT & ~app->cap_drop) |
			granted_capabilities(app);
	val object = yyjson_mut_obj_add_obj(d, process, "capabilities");
	char name[40];

	for (size_t i = 0; i < sizeof(sets) / sizeof(*sets); i++) {
		val array = yyjson_mut_obj_add_arr(d, object, sets[i]);

		for (unsigned n = 0; capability_name(n); n++) {
			if (!(kept >> n & 1))
				continue;
			snprintf(name, sizeof(name), "CAP_%s",
				 capability_name(n));
			yyjson_mut_arr_add_strcpy(d, array, name);
		}
	}
}

static void add_ulimits(doc d, val process, const struct desired_app *app)
{
	val array = app->n_ulimits
			    ? yyjson_mut_obj_add_arr(d, process, "rlimits")
			    : NULL;

	for (unsigned i = 0; i < app->n_ulimits; i++) {
		const struct desired_ulimit *u = &app->ulimit[i];
		val object = yyjson_mut_arr_add_obj(d, array);

		yyjson_mut_obj_add_str(d, object, "type",
				       rlimit_name(u->resource));
		yyjson_mut_obj_add_uint(d, object, "soft", u->soft);
		yyjson_mut_obj_add_uint(d, object, "hard", u->hard);
	}
}

static const char *working_dir(const struct node_config *c)
{
	if (c->app->working_dir)
		return c->app->working_dir;
	return c->image->working_dir[0] ? c->image->working_dir : "/";
}

/* All of a process but what it runs. */
static void fill_process(doc d, val process, const struct node_config *c)
{
	add_user(d, process, c);
	add_environment(d, process, c);
	yyjson_mut_obj_add_str(d, process, "cwd", working_dir(c));
	add_capabilities(d, process, c->app);
	add_ulimits(d, process, c->app);
	yyjson_mut_obj_add_bool(d, process, "noNewPrivileges", true);
	if (c->app->oom_score)
		yyjson_mut_obj_add_uint(d, process, "oomScoreAdj",
					c->app->oom_score);
}

static void add_process(doc d, val root, const struct node_config *c)
{
	val process = yyjson_mut_obj_add_obj(d, root, "process");

	fill_process(d, process, c);
	add_args(d, process, c);
}

/* The kernel takes no less than a millisecond a period. */
static void add_cpu(doc d, val resources, const struct desired_app *app)
{
	enum { PERIOD_US = 100000, QUOTA_MIN_US = 1000 };
	uint64_t quota = (uint64_t)app->cpus_milli * (PERIOD_US / 1000);

	if (!app->cpus_milli && !app->cpu_shares && !app->cpuset)
		return;
	val cpu = yyjson_mut_obj_add_obj(d, resources, "cpu");

	if (app->cpus_milli) {
		yyjson_mut_obj_add_uint(d, cpu, "quota",
					quota < QUOTA_MIN_US ? QUOTA_MIN_US
							     : quota);
		yyjson_mut_obj_add_uint(d, cpu, "period", PERIOD_US);
	}
	if (app->cpu_shares)
		yyjson_mut_obj_add_uint(d, cpu, "shares", app->cpu_shares);
	if (app->cpuset)
		yyjson_mut_obj_add_str(d, cpu, "cpus", app->cpuset);
}

static void add_memory(doc d, val resources, const struct desired_app *app)
{
	uint64_t swap = app->memory_swap_bytes;

	if (!app->memory_bytes && !app->memory_reserved_bytes)
		return;
	val memory = yyjson_mut_obj_add_obj(d, resources, "memory");

	if (app->memory_bytes)
		yyjson_mut_obj_add_uint(d, memory, "limit", app->memory_bytes);
	if (app->memory_reserved_bytes)
		yyjson_mut_obj_add_uint(d, memory, "reservation",
					app->memory_reserved_bytes);
	if (swap)
		yyjson_mut_obj_add_sint(d, memory, "swap",
					swap == UINT64_MAX ? -1
							   : (int64_t)swap);
}

/* The limit of processes is zrun's to set where none is asked for. */
static void add_resources(doc d, val parent, const struct desired_app *app)
{
	val resources = yyjson_mut_obj_add_obj(d, parent, "resources");

	add_memory(d, resources, app);
	add_cpu(d, resources, app);
	if (app->pids)
		yyjson_mut_obj_add_uint(
			d, yyjson_mut_obj_add_obj(d, resources, "pids"),
			"limit", app->pids);
}

/* New ones, but for those that are shared, with another one or the node. */
static void add_namespaces(doc d, val object, const struct node_config *c)
{
	val array = yyjson_mut_obj_add_arr(d, object, "namespaces");
	char path[40];

	for (size_t i = 0; i < sizeof(namespaces) / sizeof(*namespaces); i++) {
		if (c->app->host_shares & namespaces[i].share)
			continue;
		val namespace = yyjson_mut_arr_add_obj(d, array);

		yyjson_mut_obj_add_str(d, namespace, "type",
				       namespaces[i].name);
		if (!(c->app->pod.shares & namespaces[i].share))
			continue;
		snprintf(path, sizeof(path), "/proc/%u/ns/%s", c->pod_pid,
			 namespaces[i].file);
		yyjson_mut_obj_add_strcpy(d, namespace, "path", path);
	}
}

static void add_linux(doc d, val root, const struct node_config *c)
{
	const struct desired_app *app = c->app;
	val object = yyjson_mut_obj_add_obj(d, root, "linux");

	add_namespaces(d, object, c);
	if (!app->privileged) {
		add_strings(d, object, "maskedPaths", masked);
		add_strings(d, object, "readonlyPaths", read_only);
	}
	add_resources(d, object, app);
	if (app->sysctls.n)
		add_pairs(d, yyjson_mut_obj_add_obj(d, object, "sysctl"),
			  &app->sysctls);
}

static void add_policy(doc d, val object, const struct desired_app *app)
{
	static char text[NET_POLICY_TEXT_MAX];

	desired_policy_text(app, text);
	yyjson_mut_obj_add_strcpy(d, object, ZRUN_ANNOTATION_POLICY, text);
}

/* One without a network, or with that of another, gets no address. */
static void add_annotations(doc d, val root, const struct node_config *c)
{
	val object = yyjson_mut_obj_add_obj(d, root, "annotations");
	char names[DESIRED_NAMES_SIZE];

	add_pairs(d, object, &c->app->labels);
	if (c->app->init)
		yyjson_mut_obj_add_str(d, object, ZRUN_ANNOTATION_INIT, "true");
	if (c->app->stdin_open)
		yyjson_mut_obj_add_str(d, object, ZRUN_ANNOTATION_STDIN,
				       "open");
	if (c->app->service[0] || c->app->aliases.n)
		yyjson_mut_obj_add_str(d, object, ZRUN_ANNOTATION_APP,
				       c->app->name);
	if (!c->app->no_network &&
	    !((c->app->pod.shares | c->app->host_shares) & DESIRED_POD_NETWORK))
		yyjson_mut_obj_add_str(d, object, ZRUN_ANNOTATION_ADDRESS,
				       c->address);
	if (desired_has_policy(c->app))
		add_policy(d, object, c->app);
	yyjson_mut_obj_add_str(d, object, ZRUN_ANNOTATION_APPLICATION,
			       c->app->application);
	desired_names(c->app, names);
	yyjson_mut_obj_add_strcpy(d, object, ZRUN_ANNOTATION_SERVICE, names);
}

const char *node_config_hostname(const struct node_config *c)
{
	return c->app->hostname ? c->app->hostname : c->app->name;
}

static void fill(doc d, const struct node_config *c)
{
	val root = yyjson_mut_obj(d), object;

	yyjson_mut_doc_set_root(d, root);
	yyjson_mut_obj_add_str(d, root, "ociVersion", "1.2.0");
	add_process(d, root, c);
	object = yyjson_mut_obj_add_obj(d, root, "root");
	yyjson_mut_obj_add_str(d, object, "path", "rootfs");
	yyjson_mut_obj_add_bool(d, object, "readonly", c->app->read_only);
	yyjson_mut_obj_add_str(d, root, "hostname", node_config_hostname(c));
	if (c->app->domainname)
		yyjson_mut_obj_add_str(d, root, "domainname",
				       c->app->domainname);
	node_config_mounts(d, root, c);
	add_annotations(d, root, c);
	add_linux(d, root, c);
}

static void fill_probe(doc d, const struct node_config *c)
{
	val process = yyjson_mut_obj(d);

	yyjson_mut_doc_set_root(d, process);
	fill_process(d, process, c);
	add_strings(d, process, "args",
		    c->app->health.test.n ? c->app->health.test.item
					  : c->image->health.test.item);
}

static int write_filled(const struct node_config *config,
			void (*filled)(doc, const struct node_config *),
			char **text, size_t *size)
{
	doc d = yyjson_mut_doc_new(NULL);

	*text = NULL;
	if (!d)
		return -ENOMEM;
	filled(d, config);
	*text = yyjson_mut_write(d, 0, size);
	yyjson_mut_doc_free(d);
	return *text ? 0 : -ENOMEM;
}

int node_config_write(const struct node_config *config, char **text,
		      size_t *size, char error[NODE_CONFIG_ERROR_SIZE])
{
	struct args args = args_of(config);
	int r;

	if (!(args.entrypoint && *args.entrypoint) &&
	    !(args.command && *args.command)) {
		snprintf(error, NODE_CONFIG_ERROR_SIZE,
			 "nothing is left to run: name a program in "
			 "\"command\"");
		return -EINVAL;
	}
	r = write_filled(config, fill, text, size);
	if (r)
		snprintf(error, NODE_CONFIG_ERROR_SIZE, "out of memory");
	return r;
}

int node_config_probe(const struct node_config *config, char **text,
		      size_t *size, char error[NODE_CONFIG_ERROR_SIZE])
{
	int r = write_filled(config, fill_probe, text, size);

	if (r)
		snprintf(error, NODE_CONFIG_ERROR_SIZE, "out of memory");
	return r;
}

int node_signal(const char *name)
{
	int number = signal_number(name);

	return number <= 0 ? SIGTERM : number;
}
