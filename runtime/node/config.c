#define _GNU_SOURCE
#include "config.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>

#include <yyjson.h>

#include "zrun/serve.h"

#define PATH_DEFAULT \
	"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

/* What other engines give by default. */
static const char *const capabilities[] = {
	"CAP_CHOWN",
	"CAP_DAC_OVERRIDE",
	"CAP_FOWNER",
	"CAP_FSETID",
	"CAP_KILL",
	"CAP_MKNOD",
	"CAP_NET_BIND_SERVICE",
	"CAP_NET_RAW",
	"CAP_SETFCAP",
	"CAP_SETGID",
	"CAP_SETPCAP",
	"CAP_SETUID",
	"CAP_SYS_CHROOT",
	"CAP_AUDIT_WRITE",
	NULL,
};

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

static const char *const namespaces[] = { "pid",   "network", "ipc", "uts",
					  "mount", "cgroup",  NULL };

static const struct mount {
	const char *destination, *type, *source;
	const char *options[8];
} mounts[] = {
	{ "/proc", "proc", "proc", { "nosuid", "noexec", "nodev" } },
	{ "/dev",
	  "tmpfs",
	  "tmpfs",
	  { "nosuid", "strictatime", "mode=755", "size=65536k" } },
	{ "/dev/pts",
	  "devpts",
	  "devpts",
	  { "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620",
	    "gid=5" } },
	{ "/dev/shm",
	  "tmpfs",
	  "shm",
	  { "nosuid", "noexec", "nodev", "mode=1777", "size=65536k" } },
	{ "/dev/mqueue", "mqueue", "mqueue", { "nosuid", "noexec", "nodev" } },
	{ "/sys", "sysfs", "sysfs", { "nosuid", "noexec", "nodev", "ro" } },
	{ "/sys/fs/cgroup",
	  "cgroup",
	  "cgroup",
	  { "nosuid", "noexec", "nodev", "relatime", "ro" } },
};

typedef yyjson_mut_doc *doc;
typedef yyjson_mut_val *val;

static void add_strings(doc d, val object, const char *key,
			const char *const *list)
{
	val array = yyjson_mut_obj_add_arr(d, object, key);

	for (; *list; list++)
		yyjson_mut_arr_add_str(d, array, *list);
}

/* Entrypoint and Cmd of the image; a command that is wanted takes Cmd's place,
 * as in Compose. */
static void add_args(doc d, val process, const struct node_config *c)
{
	val args = yyjson_mut_obj_add_arr(d, process, "args");
	const char *const *command = c->app->n_command ? c->app->command
						       : c->image->command.item;

	for (unsigned i = 0; i < c->image->entrypoint.n; i++)
		yyjson_mut_arr_add_str(d, args, c->image->entrypoint.item[i]);
	for (; *command; command++)
		yyjson_mut_arr_add_str(d, args, *command);
}

/* Whether list sets the variable that `entry` ("NAME=value") sets. */
static bool sets(const char *const *list, const char *entry)
{
	size_t n = (size_t)(strchr(entry, '=') - entry) + 1;

	for (; *list; list++)
		if (strncmp(*list, entry, n) == 0)
			return true;
	return false;
}

static void add_environment(doc d, val process, const struct node_config *c)
{
	static const char *const none[] = { NULL };
	const char *const *own = c->app->environment ? c->app->environment
						     : none;
	const struct image_strings *image = &c->image->environment;
	val array = yyjson_mut_obj_add_arr(d, process, "env");

	if (!sets(own, "PATH=") && !sets(image->item, "PATH="))
		yyjson_mut_arr_add_str(d, array, PATH_DEFAULT);
	for (unsigned i = 0; i < image->n; i++)
		if (!sets(own, image->item[i]))
			yyjson_mut_arr_add_str(d, array, image->item[i]);
	for (; *own; own++)
		yyjson_mut_arr_add_str(d, array, *own);
}

/* "1000:100" needs no look-up; everything else is serve's to resolve in the
 * root file system, which znode cannot read. */
static void add_user(doc d, val process, const char *text)
{
	val user = yyjson_mut_obj_add_obj(d, process, "user");
	struct span rest = span_of(text), name;
	uint64_t uid = 0, gid = 0;
	bool numeric = *text && span_cut(&rest, ':', &name) && rest.data &&
		       !span_u64(name, UINT32_MAX - 1, &uid) &&
		       !span_u64(rest, UINT32_MAX - 1, &gid);

	yyjson_mut_obj_add_uint(d, user, "uid", numeric ? uid : 0);
	yyjson_mut_obj_add_uint(d, user, "gid", numeric ? gid : 0);
	if (*text && !numeric)
		yyjson_mut_obj_add_str(d, user, "username", text);
}

static void add_capabilities(doc d, val process)
{
	val sets_of = yyjson_mut_obj_add_obj(d, process, "capabilities");

	add_strings(d, sets_of, "bounding", capabilities);
	add_strings(d, sets_of, "effective", capabilities);
	add_strings(d, sets_of, "permitted", capabilities);
}

static void add_process(doc d, val root, const struct node_config *c)
{
	val process = yyjson_mut_obj_add_obj(d, root, "process");
	const char *cwd = c->image->working_dir;

	add_user(d, process, c->image->user);
	add_args(d, process, c);
	add_environment(d, process, c);
	yyjson_mut_obj_add_str(d, process, "cwd", *cwd ? cwd : "/");
	add_capabilities(d, process);
	yyjson_mut_obj_add_bool(d, process, "noNewPrivileges", true);
}

static void add_mounts(doc d, val root)
{
	val array = yyjson_mut_obj_add_arr(d, root, "mounts");

	for (size_t i = 0; i < sizeof(mounts) / sizeof(mounts[0]); i++) {
		val m = yyjson_mut_arr_add_obj(d, array);

		yyjson_mut_obj_add_str(d, m, "destination",
				       mounts[i].destination);
		yyjson_mut_obj_add_str(d, m, "type", mounts[i].type);
		yyjson_mut_obj_add_str(d, m, "source", mounts[i].source);
		add_strings(d, m, "options", mounts[i].options);
	}
}

/* The kernel takes no less than a millisecond a period. */
static void add_cpu(doc d, val resources, uint32_t cpus_milli)
{
	enum { PERIOD_US = 100000, QUOTA_MIN_US = 1000 };
	uint64_t quota = (uint64_t)cpus_milli * (PERIOD_US / 1000);
	val cpu = yyjson_mut_obj_add_obj(d, resources, "cpu");

	yyjson_mut_obj_add_uint(d, cpu, "quota",
				quota < QUOTA_MIN_US ? QUOTA_MIN_US : quota);
	yyjson_mut_obj_add_uint(d, cpu, "period", PERIOD_US);
}

/* The limit of processes is zrun's to set where none is asked for. */
static void add_resources(doc d, val parent, const struct desired_app *app)
{
	val resources = yyjson_mut_obj_add_obj(d, parent, "resources");

	if (app->memory_bytes)
		yyjson_mut_obj_add_uint(
			d, yyjson_mut_obj_add_obj(d, resources, "memory"),
			"limit", app->memory_bytes);
	if (app->cpus_milli)
		add_cpu(d, resources, app->cpus_milli);
	if (app->pids)
		yyjson_mut_obj_add_uint(
			d, yyjson_mut_obj_add_obj(d, resources, "pids"),
			"limit", app->pids);
}

static void add_linux(doc d, val root, const struct desired_app *app)
{
	val object = yyjson_mut_obj_add_obj(d, root, "linux");
	val array = yyjson_mut_obj_add_arr(d, object, "namespaces");

	for (const char *const *name = namespaces; *name; name++) {
		val namespace = yyjson_mut_arr_add_obj(d, array);

		yyjson_mut_obj_add_str(d, namespace, "type", *name);
	}
	add_strings(d, object, "maskedPaths", masked);
	add_strings(d, object, "readonlyPaths", read_only);
	add_resources(d, object, app);
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
	yyjson_mut_obj_add_str(d, root, "hostname", c->app->name);
	add_mounts(d, root);
	object = yyjson_mut_obj_add_obj(d, root, "annotations");
	yyjson_mut_obj_add_str(d, object, ZRUN_ANNOTATION_ADDRESS, c->address);
	add_linux(d, root, c->app);
}

int node_config_write(const struct node_config *config, char **text,
		      size_t *size, char error[NODE_CONFIG_ERROR_SIZE])
{
	yyjson_mut_doc *d;

	if (!config->app->n_command && !config->image->entrypoint.n &&
	    !config->image->command.n) {
		snprintf(error, NODE_CONFIG_ERROR_SIZE,
			 "the image has no command: name one in \"command\"");
		return -EINVAL;
	}
	d = yyjson_mut_doc_new(NULL);
	*text = NULL;
	if (d) {
		fill(d, config);
		*text = yyjson_mut_write(d, 0, size);
		yyjson_mut_doc_free(d);
	}
	if (*text)
		return 0;
	snprintf(error, NODE_CONFIG_ERROR_SIZE, "out of memory");
	return -ENOMEM;
}

int node_signal(const char *name)
{
	static const struct {
		const char *name;
		int number;
	} signals[] = {
		{ "HUP", SIGHUP },   { "INT", SIGINT },	  { "QUIT", SIGQUIT },
		{ "ABRT", SIGABRT }, { "KILL", SIGKILL }, { "USR1", SIGUSR1 },
		{ "USR2", SIGUSR2 }, { "TERM", SIGTERM }, { "WINCH", SIGWINCH },
		{ "PWR", SIGPWR },   { "CONT", SIGCONT },
	};
	struct span text;
	uint64_t number;

	if (strncasecmp(name, "SIG", 3) == 0)
		name += 3;
	text = span_of(name);
	if (span_u64(text, 64, &number) == 0 && number > 0)
		return (int)number;
	/* systemd as first process of a container stops by RTMIN+3. */
	if (strcasecmp(name, "RTMIN+3") == 0)
		return SIGRTMIN + 3;
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		if (strcasecmp(name, signals[i].name) == 0)
			return signals[i].number;
	return SIGTERM;
}
