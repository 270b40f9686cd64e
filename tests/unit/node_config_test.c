/* The OCI config that znode writes: what comes from the image, what from
 * node.json or the document, and that zrun's parser takes it. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <yyjson.h>

#include "node/config.h"
#include "oci/runtime_config.h"
#include "tap.h"

static const char image_text[] =
	"{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{"
	"\"Entrypoint\":[\"/entry\",\"-e\"],\"Cmd\":[\"default\"],"
	"\"Env\":[\"A=image\",\"B=image\"],\"User\":\"www:adm\","
	"\"WorkingDir\":\"/work\"},\"rootfs\":{\"diff_ids\":[\"sha256:"
	"1589b6a587fcf5c5f29c15ae4b7d76570c8b05115569167b8a02b9917ac61ea9\"]}}";

static struct image_config image;
static char error[512];

static const char *name_servers; /* of the node */

static yyjson_doc *write_config(const struct desired_app *app)
{
	const struct node_config config = { .app = app,
					    .image = &image,
					    .id = "web-1",
					    .address = "10.64.0.2",
					    .pod_pid = 42,
					    .name_servers = name_servers };
	char *text = NULL;
	size_t size;
	yyjson_doc *doc = NULL;

	error[0] = '\0';
	if (node_config_write(&config, &text, &size, error) == 0)
		doc = yyjson_read(text, size, 0);
	free(text);
	return doc;
}

/* The value at a JSON pointer, as text without spaces. */
static bool is_at(yyjson_doc *doc, const char *pointer, const char *want)
{
	yyjson_val *v = yyjson_doc_ptr_get(doc, pointer);
	char *text = v ? yyjson_val_write(v, 0, NULL) : NULL;
	bool same = want ? text && strcmp(text, want) == 0 : !v;

	if (!same)
		printf("# %s: %s\n", pointer, text ? text : "absent");
	free(text);
	return same;
}

static void test_defaults(void)
{
	const struct desired_app app = { .name = "web" };
	yyjson_doc *doc = write_config(&app);

	ok(is_at(doc, "/process/args", "[\"/entry\",\"-e\",\"default\"]"),
	   "entrypoint and command of the image");
	ok(is_at(doc, "/process/env",
		 "[\"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:"
		 "/sbin:/bin\",\"A=image\",\"B=image\"]"),
	   "a PATH where the image has none");
	ok(is_at(doc, "/process/user",
		 "{\"uid\":0,\"gid\":0,\"username\":\"www:adm\"}"),
	   "names of users are left to zrun");
	ok(is_at(doc, "/process/cwd", "\"/work\"") &&
		   is_at(doc, "/hostname", "\"web\"") &&
		   is_at(doc, "/annotations",
			 "{\"org.zooid.address\":\"10.64.0.2\","
			 "\"org.zooid.application\":\"\","
			 "\"org.zooid.service\":\"web\"}"),
	   "directory, host name, address");
	ok(is_at(doc, "/process/noNewPrivileges", "true") &&
		   is_at(doc, "/linux/resources/memory", NULL) &&
		   is_at(doc, "/process/capabilities/ambient", NULL),
	   "no new privileges, no limit of memory that nobody asked for");
	yyjson_doc_free(doc);
}

static void test_args(void)
{
	const char *const own[] = { "own", NULL };
	const struct {
		struct desired_app app;
		const char *args;
	} rows[] = {
		{ { .name = "web", .no_command = true },
		  "[\"/entry\",\"-e\"]" },
		{ { .name = "web",
		    .no_entrypoint = true,
		    .command = { own, 1 } },
		  "[\"own\"]" },
		{ { .name = "web",
		    .entrypoint = { own, 1 },
		    .no_command = true },
		  "[\"own\"]" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		yyjson_doc *doc = write_config(&rows[i].app);

		ok(is_at(doc, "/process/args", rows[i].args),
		   "what is empty is not the image's: %s", rows[i].args);
		yyjson_doc_free(doc);
	}
}

static void test_overrides(void)
{
	const struct desired_app app = {
		.name = "web",
		.command = { (const char *const[]){ "own", "command", NULL },
			     2 },
		.environment = { (const char *const[]){ "B=own", "PATH=/bin",
							NULL },
				 2 },
		.memory_bytes = 64 << 20,
		.cpus_milli = 500,
		.pids = 100,
		.read_only = true,
	};
	yyjson_doc *doc = write_config(&app);

	ok(is_at(doc, "/process/args",
		 "[\"/entry\",\"-e\",\"own\","
		 "\"command\"]"),
	   "a command that is wanted takes Cmd's place");
	ok(is_at(doc, "/process/env", "[\"A=image\",\"B=own\",\"PATH=/bin\"]"),
	   "a variable that is wanted takes the image's place");
	ok(is_at(doc, "/linux/resources/memory/limit", "67108864"),
	   "a limit of memory");
	ok(is_at(doc, "/linux/resources/cpu",
		 "{\"quota\":50000,\"period\":100000}") &&
		   is_at(doc, "/linux/resources/pids", "{\"limit\":100}") &&
		   is_at(doc, "/root/readonly", "true"),
	   "limits of time and processes, a root that is read only");
	yyjson_doc_free(doc);
}

/* Whether the config has a mount at that place, which is as said. */
static bool mounts(yyjson_doc *doc, const char *destination, const char *want)
{
	yyjson_val *all = yyjson_doc_ptr_get(doc, "/mounts"), *m;
	bool same = false;
	size_t i, n;

	yyjson_arr_foreach(all, i, n, m)
	{
		yyjson_val *at = yyjson_obj_get(m, "destination");
		char *text = yyjson_val_write(m, 0, NULL);

		if (!strcmp(yyjson_get_str(at), destination))
			same = text && strcmp(text, want) == 0;
		free(text);
	}
	return same;
}

#define FILE_AT(path, mode, text)                                            \
	"{\"destination\":\"" path "\",\"type\":\"file\",\"source\":\"" text \
	"\",\"options\":[\"nosuid\",\"nodev\",\"ro\",\"mode=" mode           \
	"\",\"uid=0\",\"gid=0\"]}"

static void test_granted(void)
{
	const struct desired_app app = {
		.name = "web",
		.grants = { (const char *const[]){ "network:host", "pid:host",
						   "privileged",
						   "bind:/sys:ro:/host/sys",
						   "device:/dev/a:r", NULL },
			    5 },
		.privileged = true,
		.host_shares = DESIRED_POD_NETWORK | DESIRED_POD_PID,
	};

	name_servers = "nameserver 192.0.2.1\n";
	yyjson_doc *doc = write_config(&app);

	ok(is_at(doc, "/linux/namespaces",
		 "[{\"type\":\"ipc\"},{\"type\":\"uts\"},"
		 "{\"type\":\"mount\"},{\"type\":\"cgroup\"}]") &&
		   is_at(doc, "/annotations/org.zooid.address", NULL),
	   "the node's namespaces, and no address in them");
	ok(is_at(doc, "/linux/maskedPaths", NULL) &&
		   is_at(doc, "/linux/readonlyPaths", NULL) &&
		   is_at(doc, "/process/capabilities/effective/40",
			 "\"CAP_CHECKPOINT_RESTORE\""),
	   "nothing is hidden from who is privileged");
	ok(mounts(doc, "/host/sys",
		  "{\"destination\":\"/host/sys\",\"type\":\"bind\","
		  "\"source\":\"/sys\",\"options\":[\"rbind\",\"rro\"]}") &&
		   mounts(doc, "/dev/a",
			  "{\"destination\":\"/dev/a\",\"type\":\"device\","
			  "\"source\":\"/dev/a\",\"options\":[\"read\"]}"),
	   "a folder and a device of the node");
	ok(mounts(doc, "/sys",
		  "{\"destination\":\"/sys\",\"type\":\"sysfs\","
		  "\"source\":\"sysfs\",\"options\":[\"nosuid\",\"noexec\","
		  "\"nodev\"]}") &&
		   mounts(doc, "/etc/resolv.conf",
			  FILE_AT("/etc/resolv.conf", "644",
				  "nameserver 192.0.2.1\\n")),
	   "/sys as it is, and the node's name servers");
	yyjson_doc_free(doc);
	name_servers = NULL;
}

/* Whom the container asks for names, and whom znet asks for it. */
static void test_name_servers(void)
{
	struct desired_app app = {
		.name = "web",
		.dns = { (const char *const[]){ "192.0.2.53", "127.0.0.1",
						"2001:db8::53", NULL },
			 3 },
		.extra_hosts = { (const char *const[]){ "node=host-gateway",
							"a=192.0.2.9", NULL },
				 2 },
	};
	yyjson_doc *doc = write_config(&app);

	ok(is_at(doc, "/annotations/org.zooid.policy",
		 "\"default allow\\ndns 192.0.2.53\\ndns 2001:db8::53\\n\"") &&
		   mounts(doc, "/etc/resolv.conf",
			  FILE_AT("/etc/resolv.conf", "644",
				  "nameserver 10.64.0.1\\n"
				  "nameserver 127.0.0.1\\n")),
	   "name servers outside are znet's to ask, its own are its own");
	ok(mounts(doc, "/etc/hosts",
		  FILE_AT("/etc/hosts", "444",
			  "127.0.0.1 localhost\\n::1 localhost\\n"
			  "10.64.0.2 web\\n"
			  "192.0.0.8 node\\n192.0.2.9 a\\n")),
	   "the node and another host");
	yyjson_doc_free(doc);
	app.dns.item++;
	app.dns.n = 1;
	doc = write_config(&app);
	ok(is_at(doc, "/annotations/org.zooid.policy", NULL) &&
		   mounts(doc, "/etc/resolv.conf",
			  FILE_AT("/etc/resolv.conf", "644",
				  "nameserver 127.0.0.1\\n")),
	   "only one of its own: the network knows of none");
	yyjson_doc_free(doc);
}

static void test_parts(void)
{
	struct desired_mount mounts_wanted[] = {
		{ .type = DESIRED_MOUNT_FILE,
		  .target = "/v/deep/f",
		  .content = "text" },
		{ .type = DESIRED_MOUNT_VOLUME,
		  .target = "/v",
		  .source = "db",
		  .read_only = true },
		{ .type = DESIRED_MOUNT_VOLUME,
		  .target = "/w",
		  .source = "w",
		  .nocopy = true },
	};
	struct desired_ulimit limit = { RLIMIT_NOFILE, 1, 2 };
	const struct desired_app app = {
		.name = "web",
		.application = "shop",
		.entrypoint = { (const char *const[]){ "/own", NULL }, 1 },
		.user = "1:2",
		.group_add = { (const char *const[]){ "20", "disk", "www",
						      NULL },
			       3 },
		.working_dir = "/srv",
		.hostname = "box",
		.domainname = "example.com",
		.no_network = true,
		.stdin_open = true,
		.aliases = { (const char *const[]){ "www", NULL }, 1 },
		.memory_bytes = 4096,
		.memory_swap_bytes = UINT64_MAX,
		.memory_reserved_bytes = 1024,
		.cpu_shares = 512,
		.cpuset = "0-1",
		.oom_score = 7,
		.labels = { (const char *const[]){ "a.b=c", NULL }, 1 },
		.cap_drop = ~(UINT64_C(1) << 6),
		.mount = mounts_wanted,
		.n_mounts = 3,
		.ulimit = &limit,
		.n_ulimits = 1,
		.health = { .test = { (const char *const[]){ "probe", NULL },
				      1 } },
	};
	const struct node_config config = { .app = &app,
					    .image = &image,
					    .id = "web-1",
					    .address = "10.64.0.2",
					    .pod_pid = 42 };
	yyjson_doc *doc = write_config(&app);
	char *text = NULL;
	size_t size;

	ok(is_at(doc, "/process/args", "[\"/own\"]") &&
		   is_at(doc, "/process/cwd", "\"/srv\"") &&
		   is_at(doc, "/hostname", "\"box\"") &&
		   is_at(doc, "/domainname", "\"example.com\""),
	   "an entrypoint takes the place of both; directory, host name");
	ok(is_at(doc, "/process/user",
		 "{\"uid\":1,\"gid\":2,\"additionalGids\":[20],"
		 "\"username\":\"1:2:disk,www\"}") &&
		   is_at(doc, "/process/capabilities/bounding",
			 "[\"CAP_SETGID\"]") &&
		   is_at(doc, "/process/rlimits",
			 "[{\"type\":\"RLIMIT_NOFILE\",\"soft\":1,"
			 "\"hard\":2}]"),
	   "user, groups, what it keeps of its rights, limits");
	ok(is_at(doc, "/annotations",
		 "{\"a.b\":\"c\",\"org.zooid.stdin\":\"open\","
		 "\"org.zooid.app\":\"web\","
		 "\"org.zooid.application\":\"shop\","
		 "\"org.zooid.service\":\"web www\"}"),
	   "without a network there is no address; all its names");
	ok(is_at(doc, "/linux/resources",
		 "{\"memory\":{\"limit\":4096,\"reservation\":1024,"
		 "\"swap\":-1},\"cpu\":{\"shares\":512,\"cpus\":\"0-1\"}}") &&
		   is_at(doc, "/process/oomScoreAdj", "7"),
	   "what it has against others");
	ok(is_at(doc, "/mounts/7/destination", "\"/v\"") &&
		   is_at(doc, "/mounts/7/source",
			 "\"/data/volumes/shop.db\"") &&
		   is_at(doc, "/mounts/7/options",
			 "[\"bind\",\"nosuid\",\"nodev\",\"ro\","
			 "\"volume-copy\"]") &&
		   is_at(doc, "/mounts/8/options",
			 "[\"bind\",\"nosuid\",\"nodev\"]") &&
		   is_at(doc, "/mounts/9/destination", "\"/v/deep/f\"") &&
		   is_at(doc, "/mounts/9/source", "\"text\""),
	   "volumes, and what lies in them after them");
	yyjson_doc_free(doc);
	ok(node_config_probe(&config, &text, &size, error) == 0, "a probe");
	doc = yyjson_read(text, size, 0);
	ok(is_at(doc, "/args", "[\"probe\"]") && is_at(doc, "/user/uid", "1"),
	   "a probe is run as the application is");
	yyjson_doc_free(doc);
	free(text);
}

static void test_pod(void)
{
	const struct desired_app app = {
		.name = "web",
		.pod = { { "db", DESIRED_STARTED },
			 DESIRED_POD_NETWORK | DESIRED_POD_IPC },
		.init = true,
	};
	yyjson_doc *doc = write_config(&app);

	ok(is_at(doc, "/linux/namespaces",
		 "[{\"type\":\"pid\"},{\"type\":\"network\",\"path\":"
		 "\"/proc/42/ns/net\"},{\"type\":\"ipc\",\"path\":"
		 "\"/proc/42/ns/ipc\"},{\"type\":\"uts\"},{\"type\":"
		 "\"mount\"},{\"type\":\"cgroup\"}]"),
	   "the namespaces that are shared are joined, the others new");
	ok(is_at(doc, "/annotations",
		 "{\"org.zooid.init\":\"true\",\"org.zooid.application\":"
		 "\"\",\"org.zooid.service\":\"web\"}"),
	   "the address is the other's; it asks for who reaps");
	yyjson_doc_free(doc);
}

static void test_service(void)
{
	const struct desired_app app = { .name = "web-1", .service = "web" };
	yyjson_doc *doc = write_config(&app);

	ok(is_at(doc, "/annotations",
		 "{\"org.zooid.app\":\"web-1\",\"org.zooid.address\":"
		 "\"10.64.0.2\",\"org.zooid.application\":\"\","
		 "\"org.zooid.service\":\"web\"}"),
	   "one of several is found by the one name, and is itself");
	yyjson_doc_free(doc);
}

static void test_image_probe(void)
{
	const struct desired_app app = { .name = "web" };
	const struct node_config config = { .app = &app,
					    .image = &image,
					    .id = "web-1",
					    .address = "10.64.0.2",
					    .pod_pid = 42 };
	char *text = NULL;
	size_t size;
	yyjson_doc *doc;

	image.health.test = (struct image_strings){ 2,
						    { "probe", "-q", NULL } };
	ok(node_config_probe(&config, &text, &size, error) == 0,
	   "the image's probe");
	doc = yyjson_read(text, size, 0);
	ok(is_at(doc, "/args", "[\"probe\",\"-q\"]"), "is what is run");
	image.health.test.n = 0;
	yyjson_doc_free(doc);
	free(text);
}

static void test_secrets(void)
{
	struct desired_mount mounts[] = {
		{ .type = DESIRED_MOUNT_SECRET,
		  .target = "/run/secrets/a",
		  .content = "sealed" },
		{ .type = DESIRED_MOUNT_SECRET,
		  .target = "/run/secrets/b",
		  .content = "sealed",
		  .mode = 0440,
		  .has_owner = true,
		  .gid = 5 },
	};
	const struct desired_app app = { .name = "web",
					 .mount = mounts,
					 .n_mounts = 2 };
	struct node_config config = { .app = &app,
				      .image = &image,
				      .id = "web-1",
				      .address = "10.64.0.2" };
	yyjson_doc *doc = write_config(&app);
	char *text = NULL;
	size_t size;

	ok(is_at(doc, "/mounts/7/type", "\"file\"") &&
		   is_at(doc, "/mounts/7/source", "\"\"") &&
		   is_at(doc, "/mounts/8/source", "\"\""),
	   "a config that is shown has no secrets");
	yyjson_doc_free(doc);
	config.secret = (const char *const[]){ "s3cret", "other" };
	ok(node_config_write(&config, &text, &size, error) == 0, "one to run");
	doc = yyjson_read(text, size, 0);
	ok(is_at(doc, "/mounts/7/source", "\"s3cret\"") &&
		   is_at(doc, "/mounts/7/options",
			 "[\"nosuid\",\"nodev\",\"ro\",\"mode=400\","
			 "\"owner=user\"]") &&
		   is_at(doc, "/mounts/8/source", "\"other\"") &&
		   is_at(doc, "/mounts/8/options",
			 "[\"nosuid\",\"nodev\",\"ro\",\"mode=440\","
			 "\"uid=0\",\"gid=5\"]"),
	   "has them, the user's unless somebody says whose");
	yyjson_doc_free(doc);
	free(text);
}

static void test_users(void)
{
	static const struct {
		const char *user, *json;
	} users[] = {
		{ "", "{\"uid\":0,\"gid\":0}" },
		{ "1000:100", "{\"uid\":1000,\"gid\":100}" },
		{ "1000", "{\"uid\":0,\"gid\":0,\"username\":\"1000\"}" },
		{ "www", "{\"uid\":0,\"gid\":0,\"username\":\"www\"}" },
		{ "4294967295:1",
		  "{\"uid\":0,\"gid\":0,\"username\":\"4294967295:1\"}" },
		{ "-1:-1", "{\"uid\":0,\"gid\":0,\"username\":\"-1:-1\"}" },
	};
	const struct desired_app app = { .name = "web" };
	const char *kept = image.user;

	for (size_t i = 0; i < sizeof(users) / sizeof(*users); i++) {
		yyjson_doc *doc;

		image.user = users[i].user;
		doc = write_config(&app);
		ok(is_at(doc, "/process/user", users[i].json), "user \"%s\"",
		   users[i].user);
		yyjson_doc_free(doc);
	}
	image.user = kept;
}

static void test_no_command(void)
{
	const struct desired_app app = { .name = "web" },
				 own = { .name = "web", .no_command = true };
	const struct image_strings entrypoint = image.entrypoint,
				   command = image.command;

	image.entrypoint = (struct image_strings){ 0 };
	ok(!write_config(&own) && strstr(error, "nothing is left to run"),
	   "nothing left to run: %s", error);
	image.command = (struct image_strings){ 0 };
	ok(!write_config(&app) && strstr(error, "nothing is left to run"),
	   "nothing to run: %s", error);
	image.entrypoint = entrypoint;
	image.command = command;
}

static void test_taken_by_zrun(void)
{
	const struct desired_app app = { .name = "web",
					 .memory_bytes = 1 << 24 };
	const struct node_config config = { .app = &app,
					    .image = &image,
					    .id = "web-1",
					    .address = "10.64.0.2",
					    .pod_pid = 42 };
	struct runtime_config parsed;
	char *text, why[RUNTIME_ERROR_SIZE] = "";
	size_t size;
	int r = node_config_write(&config, &text, &size, error);

	if (r == 0)
		r = runtime_config_parse(&parsed, text, size, why);
	ok(r == 0 && parsed.process.args.n == 3 &&
		   parsed.process.no_new_privileges,
	   "zrun's parser takes it: %s", why);
	runtime_config_free(&parsed);
	free(text);
}

static void test_signals(void)
{
	const struct {
		const char *name;
		int number;
	} signals[] = {
		{ "", SIGTERM },	{ "SIGTERM", SIGTERM },
		{ "SIGQUIT", SIGQUIT }, { "quit", SIGQUIT },
		{ "9", SIGKILL },	{ "SIGRTMIN+3", SIGRTMIN + 3 },
		{ "0", SIGTERM },	{ "65", SIGTERM },
		{ "SIGNONE", SIGTERM },
	};

	for (size_t i = 0; i < sizeof(signals) / sizeof(*signals); i++)
		ok(node_signal(signals[i].name) == signals[i].number,
		   "stop signal \"%s\"", signals[i].name);
}

int main(void)
{
	char why[IMAGE_ERROR_SIZE];

	if (!ok(image_config_parse(span_of(image_text), &image, why) == 0,
		"an image config"))
		return tap_done();
	test_defaults();
	test_args();
	test_overrides();
	test_granted();
	test_name_servers();
	test_parts();
	test_pod();
	test_service();
	test_image_probe();
	test_secrets();
	test_users();
	test_no_command();
	test_taken_by_zrun();
	test_signals();
	image_config_free(&image);
	return tap_done();
}
