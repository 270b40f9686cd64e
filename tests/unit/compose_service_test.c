/* Compose files: the keys of a service beyond the plain ones, several files,
 * and the shapes that people have. Expected values are by hand from the Compose
 * Specification and sync.5. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yyjson.h>

#include "compose_json.h"
#include "ctl/compose.h"
#include "oci/desired.h"
#include "tap.h"

#define WEB(lines)   "services:\n  web:\n    image: hub/web:1\n" lines
#define APP(members) "[{\"name\":\"web\",\"image\":\"hub/web:1\"" members "}]"

static char *variable(const char *name)
{
	static char set[] = "shell";

	return !strcmp(name, "SET") ? set : NULL;
}

/* What the files name beside them. */
static int read_beside(const char *path, size_t max, char **text, size_t *size)
{
	static const struct {
		const char *path, *text;
	} files[] = {
		{ "web.env",
		  "# of web\nA=1\nexport B = \"two\\nlines $SET\" # c\n"
		  "C='$SET'\nD=d # e\n\nSET\n" },
		{ "more.env", "A=more\nE=e\n" },
		{ "bad.env", "A=1\nno name here\n" },
		{ "nginx.conf", "worker_processes 1;\n" },
		{ "binary", "\xff\xfe" },
		{ "base.yaml", "services:\n  base:\n    image: hub/web:1\n"
			       "    environment: [A=base]\n"
			       "  old:\n    extends: base\n    tty: true\n" },
	};

	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
		if (strcmp(files[i].path, path) != 0)
			continue;
		*size = strlen(files[i].text);
		if (*size > max)
			return -EFBIG;
		*text = strdup(files[i].text);
		return *text ? 0 : -ENOMEM;
	}
	return -ENOENT;
}

static const char dotenv[] = "DOT=dot\nSET=file\n";
static const struct compose_config config = {
	.variable = variable,
	.read = read_beside,
	.dotenv = { dotenv, sizeof(dotenv) - 1 },
};

static int read_files(const char *const *yaml, struct compose *c)
{
	static const char *const names[] = { "f", "g", "h" };
	struct compose_file files[3];
	size_t n = 0;

	for (; n < 3 && yaml[n]; n++)
		files[n] = (struct compose_file){ names[n], span_of(yaml[n]) };
	return compose_read(files, n, &config, c);
}

/* What zctl sends the hub must take. */
static bool hub_takes(yyjson_mut_doc *doc)
{
	char *text = yyjson_mut_write(doc, 0, NULL);
	char error[DESIRED_ERROR_SIZE] = "";
	struct desired d;
	int err = desired_parse_apps(span_of(text), &d, error);

	if (err == 0)
		desired_free(&d);
	else
		printf("# the hub says: %s\n", error);
	free(text);
	return err == 0;
}

/* ---- keys ---- */

static const struct {
	const char *name, *yaml[3], *json;
} good[] = {
	{ "entrypoint",
	  { WEB("    entrypoint: [/run, -x]\n    command: a b\n") },
	  APP(",\"entrypoint\":[\"/"
	      "run\",\"-x\"],\"command\":[\"a\",\"b\"]") },
	{ "user, directory, host name, groups",
	  { WEB("    user: \"1000:100\"\n    working_dir: /srv\n"
		"    hostname: box.local\n    group_add: [\"20\", "
		"44]\n") },
	  APP(",\"user\":\"1000:100\",\"working_dir\":\"/srv\","
	      "\"hostname\":\"box.local\",\"group_add\":[\"20\",\"44\"]") },
	{ "how it is stopped",
	  { WEB("    stop_signal: SIGQUIT\n    stop_grace_period: "
		"1m30s\n") },
	  APP(",\"stop_signal\":\"SIGQUIT\",\"stop_grace_ms\":90000") },
	{ "times",
	  { WEB("    stop_grace_period: 1.5s\n    healthcheck: {test: "
		"a, "
		"interval: 500ms, timeout: 1h, start_period: 0s}\n") },
	  APP(",\"stop_grace_ms\":1500,\"health\":{\"test\":[\"/bin/"
	      "sh\","
	      "\"-c\",\"a\"],\"interval_ms\":500,\"timeout_ms\":"
	      "3600000}") },
	{ "health",
	  { WEB("    healthcheck:\n      test: [CMD, probe, -q]\n"
		"      interval: 10s\n      retries: 5\n"
		"      start_period: 20s\n      start_interval: "
		"1s\n") },
	  APP(",\"health\":{\"test\":[\"probe\",\"-q\"],\"interval_"
	      "ms\":10000,"
	      "\"retries\":5,\"start_period_ms\":20000,"
	      "\"start_interval_ms\":1000}") },
	{ "health by a shell",
	  { WEB("    healthcheck: {test: [CMD-SHELL, a || exit "
		"1]}\n") },
	  APP(",\"health\":{\"test\":[\"/bin/sh\",\"-c\",\"a || exit "
	      "1\"]}") },
	{ "no health", { WEB("    healthcheck: {test: [NONE]}\n") }, APP("") },
	{ "health that is off",
	  { WEB("    healthcheck: {disable: true}\n") },
	  APP("") },
	{ "tries",
	  { WEB("    restart: on-failure:3\n") },
	  APP(",\"restart\":\"on-failure\",\"restart_max\":3") },
	{ "deploy's restart",
	  { WEB("    deploy: {replicas: 1, restart_policy: {condition: "
		"on-failure, max_attempts: 2}}\n") },
	  APP(",\"restart\":\"on-failure\",\"restart_max\":2") },
	{ "ranges of ports",
	  { WEB("    ports: [\"8000-8001:80-81\", "
		"\"0.0.0.0:90:90\"]\n") },
	  APP(",\"ports\":[{\"host\":8000,\"container\":80},"
	      "{\"host\":8001,\"container\":81},"
	      "{\"host\":90,\"container\":90}]") },
	{ "capabilities",
	  { WEB("    cap_drop: [ALL]\n    cap_add: [CHOWN, CAP_SETUID, "
		"SETGID, "
		"KILL, FOWNER, FSETID, SETPCAP, SYS_CHROOT, MKNOD, "
		"AUDIT_WRITE, SETFCAP, DAC_OVERRIDE]\n") },
	  APP(",\"cap_drop\":[\"NET_BIND_SERVICE\",\"NET_RAW\"]") },
	{ "a capability that nobody has",
	  { WEB("    cap_drop: [SYS_ADMIN, NET_RAW]\n") },
	  APP(",\"cap_drop\":[\"NET_RAW\"]") },
	{ "ulimits",
	  { WEB("    ulimits:\n      nofile: {soft: 1024, hard: 4096}\n"
		"      memlock: -1\n") },
	  APP(",\"ulimits\":[{\"type\":\"RLIMIT_NOFILE\",\"soft\":1024,"
	      "\"hard\":4096},{\"type\":\"RLIMIT_MEMLOCK\","
	      "\"soft\":18446744073709551615,"
	      "\"hard\":18446744073709551615}]") },
	{ "sysctls and shm",
	  { WEB("    sysctls: {net.core.somaxconn: 1024}\n"
		"    shm_size: 128m\n") },
	  APP(",\"sysctls\":{\"net.core.somaxconn\":\"1024\"},"
	      "\"shm_size\":134217728") },
	{ "labels",
	  { WEB("    labels: [a.b=c, d]\n    annotations: {e: f}\n") },
	  APP(",\"labels\":{\"a.b\":\"c\",\"d\":\"\",\"e\":\"f\"}") },
	{ "extra_hosts",
	  { WEB("    extra_hosts: [\"a:10.0.0.1\", \"b=[::1]\"]\n") },
	  APP(",\"extra_hosts\":{\"a\":\"10.0.0.1\",\"b\":\"::1\"}") },
	{ "keys that change nothing",
	  { WEB("    init: false\n    tty: no\n    privileged: false\n"
		"    expose: [80, \"90-92/tcp\"]\n    pull_policy: "
		"missing\n"
		"    security_opt: [no-new-privileges:true]\n"
		"    network_mode: bridge\n    x-zooid: {class: "
		"process}\n"
		"    logging: {driver: json-file, options: {max-size: "
		"10m, "
		"max-file: \"3\"}}\n") },
	  APP("") },
	{ "no network",
	  { WEB("    network_mode: none\n") },
	  APP(",\"network\":\"none\"") },
	/* mounts */
	{ "volumes",
	  { WEB("    volumes:\n      - data:/var/lib\n      - "
		"data:/ro:ro,nocopy\n"
		"      - {type: volume, source: big, target: /big, "
		"volume: {nocopy: true}}\n"
		"      - {type: tmpfs, target: /t, tmpfs: {size: 1m, "
		"mode: "
		"0700}}\n") "volumes:\n  data:\n  big: {x-zooid: "
			    "{size: 1g}}\n" },
	  APP(",\"mounts\":[{\"type\":\"volume\",\"source\":\"data\","
	      "\"target\":\"/var/lib\"},{\"type\":\"volume\","
	      "\"source\":\"data\",\"target\":\"/"
	      "ro\",\"read_only\":true,"
	      "\"nocopy\":true},{\"type\":\"volume\",\"source\":"
	      "\"big\","
	      "\"target\":\"/"
	      "big\",\"nocopy\":true,\"size\":1073741824},"
	      "{\"type\":\"tmpfs\",\"target\":\"/t\",\"size\":1048576,"
	      "\"mode\":448}]") },
	{ "tmpfs",
	  { WEB("    tmpfs: [/run, \"/t:size=1m,mode=755\"]\n") },
	  APP(",\"mounts\":[{\"type\":\"tmpfs\",\"target\":\"/run\"},"
	      "{\"type\":\"tmpfs\",\"target\":\"/t\",\"size\":1048576,"
	      "\"mode\":493}]") },
	{ "configs",
	  { WEB("    configs:\n      - motd\n      - {source: conf, "
		"target: "
		"/etc/nginx.conf, uid: \"5\", mode: 0440}\n      - "
		"var\n") "con"
			 "figs:\n  motd: {content: \"hello $SET\"}\n"
			 "  conf: {file: nginx.conf}\n  var: "
			 "{environment: DOT}\n" },
	  APP(",\"mounts\":[{\"type\":\"file\",\"target\":\"/motd\","
	      "\"content\":\"hello "
	      "shell\",\"mode\":292},{\"type\":\"file\","
	      "\"target\":\"/etc/nginx.conf\",\"content\":"
	      "\"worker_processes 1;\\n\",\"uid\":5,\"mode\":288},"
	      "{\"type\":\"file\",\"target\":\"/"
	      "var\",\"content\":\"dot\","
	      "\"mode\":292}]") },
	/* variables */
	{ "env_file; environment goes first",
	  { WEB("    env_file: web.env\n    environment: {A: own}\n") },
	  APP(",\"environment\":{\"A\":\"own\",\"B\":\"two\\nlines "
	      "shell\","
	      "\"C\":\"$SET\",\"D\":\"d\",\"SET\":\"shell\"}") },
	{ "env_files, the later goes first",
	  { WEB("    env_file: [{path: none, required: false}, "
		"web.env, "
		"more.env]\n    environment: {B: b, C: c, D: d}\n") },
	  APP(",\"environment\":{\"A\":\"more\",\"B\":\"b\",\"C\":"
	      "\"c\","
	      "\"D\":\"d\",\"SET\":\"shell\",\"E\":\"e\"}") },
	{ ".env, which the shell goes before",
	  { WEB("    command: [$DOT, $SET]\n") },
	  APP(",\"command\":[\"dot\",\"shell\"]") },
	/* dependencies, profiles */
	{ "depends_on",
	  { WEB("    depends_on:\n      db: {condition: "
		"service_healthy}\n"
		"      job: {condition: "
		"service_completed_successfully}\n"
		"    links: [db]\n") "  db: {image: a, healthcheck: "
				     "{test: b}}\n"
				     "  job: {image: a, depends_on: "
				     "[db]}\n" },
	  "[{\"name\":\"web\",\"image\":\"hub/web:1\",\"depends_on\":["
	  "{\"app\":\"db\",\"condition\":\"healthy\"},"
	  "{\"app\":\"job\",\"condition\":\"completed\"}]},"
	  "{\"name\":\"db\",\"image\":\"a\",\"health\":{\"test\":["
	  "\"/bin/"
	  "sh\",\"-c\",\"b\"]}},{\"name\":\"job\",\"image\":\"a\","
	  "\"depends_on\":[{\"app\":\"db\",\"condition\":\"started\"}]}"
	  "]" },
	{ "a service whose profile is off is not read",
	  { WEB("") "  debug: {image: a, build: ., profiles: "
		    "[debug]}\n" },
	  APP("") },
	{ "networks that all share",
	  { WEB("    networks: [front]\n") "networks:\n  front:\n"
					   "  back: {driver: "
					   "bridge}\n" },
	  APP("") },
	/* extends, several files */
	{ "extends",
	  { WEB("    environment: {A: own}\n    extends: base\n    command: "
		"[b]\n") "  base:\n    image: hub/base\n    restart: always\n"
			 "    environment: [A=base, B=base]\n"
			 "    command: [a]\n" },
	  "[{\"name\":\"web\",\"image\":\"hub/web:1\",\"restart\":\"always\","
	  "\"environment\":{\"A\":\"own\",\"B\":\"base\"},\"command\":[\"b\"]},"
	  "{\"name\":\"base\",\"image\":\"hub/base\",\"restart\":\"always\","
	  "\"environment\":{\"A\":\"base\",\"B\":\"base\"},\"command\":[\"a\"]}"
	  "]" },
	{ "extends of another file",
	  { "services:\n  web:\n    extends: {file: base.yaml, "
	    "service: base}\n"
	    "    ports: [\"80:80\"]\n" },
	  APP(",\"environment\":{\"A\":\"base\"},"
	      "\"ports\":[{\"host\":80,\"container\":80}]") },
	{ "a second file",
	  { WEB("    environment: [A=1, B=1]\n    command: [a, b]\n"
		"    ports: [\"80:80\"]\n    volumes: [\"v:/v\", "
		"\"v:/w\"]\n"
		"    cap_drop: [CHOWN]\n    restart: no\n") "volumes: "
							    "{v: }\n",
	    "services:\n  web:\n    environment: {B: 2, C: }\n"
	    "    command: [c]\n    ports: [\"81:81\", \"80:80\"]\n"
	    "    volumes: [\"w:/v\"]\n    cap_drop: [KILL]\n"
	    "    restart: always\n  db: {image: d}\nvolumes: {w: }\n" },
	  "[{\"name\":\"web\",\"image\":\"hub/web:1\",\"environment\":{"
	  "\"A\":\"1\",\"B\":\"2\"},\"command\":[\"c\"],\"ports\":["
	  "{\"host\":80,\"container\":80},{\"host\":81,\"container\":"
	  "81}],"
	  "\"mounts\":[{\"type\":\"volume\",\"source\":\"w\","
	  "\"target\":"
	  "\"/v\"},{\"type\":\"volume\",\"source\":\"v\",\"target\":\"/"
	  "w\"}],"
	  "\"cap_drop\":[\"CHOWN\",\"KILL\"],\"restart\":\"always\"},"
	  "{\"name\":\"db\",\"image\":\"d\"}]" },
	{ "a list over a map",
	  { WEB("    labels: {a: b}\n    depends_on: [db]\n") "  db: "
							      "{image: "
							      "d}"
							      "\n",
	    "services:\n  web:\n    labels: [a=c, d]\n"
	    "    depends_on: {db: {condition: service_started}}\n" },
	  "[{\"name\":\"web\",\"image\":\"hub/"
	  "web:1\",\"labels\":{\"a\":\"c\","
	  "\"d\":\"\"},\"depends_on\":[{\"app\":\"db\",\"condition\":"
	  "\"started\"}]},{\"name\":\"db\",\"image\":\"d\"}]" },
};

static void good_test(void)
{
	struct compose *c = calloc(1, sizeof(*c));

	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++) {
		int err = read_files(good[i].yaml, c);

		if (err)
			printf("# %s\n", c->problems.line[0]);
		ok(err == 0 && json_is(c->apps, good[i].json) &&
			   hub_takes(c->apps),
		   "%s", good[i].name);
		compose_end(c);
	}
	free(c);
}

/* ---- what is refused ---- */

static const struct {
	const char *name, *yaml[3], *line;
} bad[] = {
	{ "a folder of this machine",
	  { WEB("    volumes: [./html:/www]\n") },
	  "f:4: services.web.volumes[0]: \"./html\": folders of this machine "
	  "are not on the node; use a volume with a name, or configs: for "
	  "files" },
	{ "a volume without a name",
	  { WEB("    volumes: [/data]\n") },
	  "f:4: services.web.volumes[0]: \"/data\": a volume without a name is "
	  "not supported yet; want NAME:PATH" },
	{ "a volume that nobody declares",
	  { WEB("    volumes: [a:/b]\n") },
	  "f:4: services.web.volumes[0]: there is no volume a in volumes:" },
	{ "a volume with a bad name",
	  { WEB("    volumes: [A_b:/b]\n") "volumes: {A_b: }\n" },
	  "f:4: services.web.volumes[0]: \"A_b\": want 1 to 63 of a-z, 0-9 and "
	  "- for the name of a volume" },
	{ "a volume of others",
	  { WEB("    volumes: [a:/b]\n") "volumes:\n  a: {external: true}\n" },
	  "f:6: volumes.a.external: not supported yet" },
	{ "a target with ..",
	  { WEB("    tmpfs: /a/../b\n") },
	  "f:4: services.web.tmpfs: \"/a/../b\": want an absolute path without "
	  ".." },
	{ "an option of tmpfs",
	  { WEB("    tmpfs: [\"/a:exec\"]\n") },
	  "f:4: services.web.tmpfs[0]: \"/a:exec\": want options size=, mode=, "
	  "ro, nosuid, nodev, noexec" },
	{ "a config that is not there",
	  { WEB("    configs: [a]\n") },
	  "f:4: services.web.configs[0]: there is no config a in configs:" },
	{ "a config that is no text",
	  { WEB("    configs: [a]\n") "configs: {a: {file: binary}}\n" },
	  "f:5: services.web.configs[0].file: binary is no text in UTF-8" },
	{ "a file that is not there",
	  { WEB("    env_file: none\n") },
	  "f:4: services.web.env_file: none: No such file or directory" },
	{ "a bad line in a file",
	  { WEB("    env_file: bad.env\n") },
	  "f:4: services.web.env_file: its line 2: want NAME=VALUE" },
	{ "a capability beyond the default",
	  { WEB("    cap_add: [NET_ADMIN]\n") },
	  "f:4: services.web.cap_add[0]: \"NET_ADMIN\" is not among the "
	  "default ones and needs a grant, which is not supported yet" },
	{ "no capability",
	  { WEB("    cap_drop: [FLY]\n") },
	  "f:4: services.web.cap_drop[0]: \"FLY\": no such capability" },
	{ "privileged",
	  { WEB("    privileged: true\n") },
	  "f:4: services.web.privileged: needs a grant, which is not supported "
	  "yet" },
	{ "the node's network",
	  { WEB("    network_mode: host\n") },
	  "f:4: services.web.network_mode: the network of the node needs a "
	  "grant, which is not supported yet" },
	{ "a sysctl of the node",
	  { WEB("    sysctls: [kernel.panic=1]\n") },
	  "f:4: services.web.sysctls: kernel.panic: belongs to no container; "
	  "want net.*, kernel.msg*, kernel.sem, kernel.shm* or fs.mqueue.*" },
	{ "the node's labels",
	  { WEB("    labels: [org.zooid.address=a]\n") },
	  "f:4: services.web.labels: labels org.zooid.* are the node's own" },
	{ "a host that is no address",
	  { WEB("    extra_hosts: [\"a:host-gateway\"]\n") },
	  "f:4: services.web.extra_hosts: a: want NAME=ADDRESS, the address in "
	  "digits" },
	{ "no time",
	  { WEB("    stop_grace_period: 10\n") },
	  "f:4: services.web.stop_grace_period: \"10\": want a time as 90s or "
	  "1m30s, at most 24h" },
	{ "a time that is too long",
	  { WEB("    stop_grace_period: 25h\n") },
	  "f:4: services.web.stop_grace_period: \"25h\": want a time as 90s or "
	  "1m30s, at most 24h" },
	{ "a health that is the image's",
	  { WEB("    healthcheck: {retries: 1}\n") },
	  "f:4: services.web.healthcheck: want test: that of an image is not "
	  "supported yet" },
	{ "an interval of 0",
	  { WEB("    healthcheck: {test: a, interval: 0s}\n") },
	  "f:4: services.web.healthcheck.interval: want more than 0" },
	{ "soft above hard",
	  { WEB("    ulimits: {nofile: {soft: 2, hard: 1}}\n") },
	  "f:4: services.web.ulimits.nofile: want soft at most as large as "
	  "hard" },
	{ "no such limit",
	  { WEB("    ulimits: {files: 1}\n") },
	  "f:4: services.web.ulimits.files: no such limit; want nofile, nproc "
	  "or the like" },
	{ "waiting for nobody",
	  { WEB("    depends_on: [db]\n") },
	  "f:4: services: there is no service db, or its profiles are off" },
	{ "waiting for each other",
	  { WEB("    depends_on: [db]\n") "  db: {image: a, depends_on: "
					  "[web]}\n" },
	  "f:5: services: db and web wait for each other" },
	{ "waiting for health that nobody sees",
	  { WEB("    depends_on: {db: {condition: service_healthy}}\n") "  db: "
									"{"
									"image:"
									" a}"
									"\n" },
	  "f:4: services: db has no healthcheck:" },
	{ "extends in a ring",
	  { "services:\n  a: {extends: b}\n  b: {extends: a}\n" },
	  "f:2: services.a.extends: services extend each other in a ring, or "
	  "too "
	  "deep" },
	{ "extends of nobody",
	  { WEB("    extends: x\n") },
	  "f:4: services.web.extends: there is no service x" },
	{ "a key of another file",
	  { "services:\n  web:\n    extends: {file: base.yaml, service: "
	    "old}\n" },
	  "base.yaml:7: services.web.tty: not supported yet" },
	{ "a key of the second file",
	  { WEB(""), "services:\n  web:\n    gpus: all\n" },
	  "g:3: services.web.gpus: not supported yet" },
	{ "a small log",
	  { WEB("    logging: {options: {max-size: 10k}}\n") },
	  "f:4: services.web.logging.options.max-size: a node keeps two files "
	  "of 512 KB of each; less is not supported yet" },
};

static void bad_test(void)
{
	struct compose *c = calloc(1, sizeof(*c));

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		int err = read_files(bad[i].yaml, c);
		bool fits = err == -EINVAL &&
			    !strcmp(c->problems.line[0], bad[i].line);

		if (!fits)
			printf("# %d, %u problems\n# got  %s\n# want %s\n", err,
			       c->problems.n, c->problems.line[0], bad[i].line);
		ok(fits, "refused: %s", bad[i].name);
		compose_end(c);
	}
	free(c);
}

static void notice_test(void)
{
	static const char *const yaml[] = {
		WEB("    container_name: my-web\n    networks: "
		    "[a]\n") "  db: "
			     "{image: d, networks: [b]}\nnetworks: "
			     "{a: , b: }\n",
		NULL
	};
	struct compose *c = calloc(1, sizeof(*c));

	ok(read_files(yaml, c) == 0 && c->notices.n == 2 &&
		   !strcmp(c->notices.line[0],
			   "f:4: services.web.container_name: is not used: it "
			   "is called web") &&
		   !strcmp(c->notices.line[1],
			   "f:6: services.web and services.db share no "
			   "network, but reach each other: networks keep "
			   "nothing apart yet"),
	   "what is not done is said: %s", c->notices.line[1]);
	compose_end(c);
	free(c);
}

/* ---- shapes that people have ---- */

static const struct {
	const char *name, *yaml;
	unsigned n_apps;
} shapes[] = {
	{ "WordPress and MariaDB",
	  "services:\n"
	  "  wordpress:\n"
	  "    image: wordpress:6\n"
	  "    restart: always\n"
	  "    ports:\n"
	  "      - \"${WORDPRESS_PORT:-8080}:80\"\n"
	  "    environment:\n"
	  "      WORDPRESS_DB_HOST: db:3306\n"
	  "      WORDPRESS_DB_USER: &user wordpress\n"
	  "      WORDPRESS_DB_PASSWORD: ${DB_PASSWORD:-secret}\n"
	  "      WORDPRESS_DB_NAME: wordpress\n"
	  "    volumes:\n"
	  "      - wordpress:/var/www/html\n"
	  "    depends_on:\n"
	  "      db:\n"
	  "        condition: service_healthy\n"
	  "  db:\n"
	  "    image: mariadb:11\n"
	  "    restart: always\n"
	  "    command: --transaction-isolation=READ-COMMITTED\n"
	  "    environment:\n"
	  "      - MARIADB_DATABASE=wordpress\n"
	  "      - MARIADB_USER=wordpress\n"
	  "      - MARIADB_PASSWORD=${DB_PASSWORD:-secret}\n"
	  "      - MARIADB_RANDOM_ROOT_PASSWORD=1\n"
	  "    volumes:\n"
	  "      - db:/var/lib/mysql\n"
	  "    healthcheck:\n"
	  "      test: [\"CMD\", \"healthcheck.sh\", \"--connect\"]\n"
	  "      interval: 10s\n"
	  "      timeout: 5s\n"
	  "      retries: 6\n"
	  "      start_period: 30s\n"
	  "volumes:\n"
	  "  wordpress:\n"
	  "  db: {}\n",
	  2 },
	{ "nginx, an application and redis",
	  "version: \"3.8\"\n"
	  "x-service: &service\n"
	  "  restart: unless-stopped\n"
	  "  logging:\n"
	  "    driver: json-file\n"
	  "    options: {max-size: 10m, max-file: \"3\"}\n"
	  "  networks: [internal]\n"
	  "services:\n"
	  "  proxy:\n"
	  "    <<: *service\n"
	  "    image: nginx:alpine\n"
	  "    ports: [\"80:80\", \"443:443\"]\n"
	  "    configs:\n"
	  "      - source: site\n"
	  "        target: /etc/nginx/conf.d/default.conf\n"
	  "    tmpfs: [/var/cache/nginx, /run]\n"
	  "    read_only: true\n"
	  "    depends_on: [app]\n"
	  "  app:\n"
	  "    <<: *service\n"
	  "    image: registry.example.com/team/app:1.4.2\n"
	  "    user: \"1000:1000\"\n"
	  "    working_dir: /srv\n"
	  "    entrypoint: [\"/docker-entrypoint.sh\"]\n"
	  "    command: [\"gunicorn\", \"-b\", \"0.0.0.0:8000\"]\n"
	  "    environment: {REDIS_URL: \"redis://redis:6379/0\"}\n"
	  "    expose: [\"8000\"]\n"
	  "    cap_drop: [ALL]\n"
	  "    security_opt: [\"no-new-privileges:true\"]\n"
	  "    stop_grace_period: 30s\n"
	  "    deploy:\n"
	  "      resources:\n"
	  "        limits: {cpus: \"0.50\", memory: 256M}\n"
	  "    depends_on:\n"
	  "      redis: {condition: service_started}\n"
	  "  redis:\n"
	  "    <<: *service\n"
	  "    image: redis:7\n"
	  "    command: redis-server --save 60 1 --appendonly yes\n"
	  "    volumes: [\"redis-data:/data\"]\n"
	  "    sysctls: [net.core.somaxconn=1024]\n"
	  "configs:\n"
	  "  site:\n"
	  "    content: |\n"
	  "      server {\n"
	  "        listen 80;\n"
	  "        location / { proxy_pass http://app:8000; }\n"
	  "      }\n"
	  "networks:\n"
	  "  internal:\n"
	  "    driver: bridge\n"
	  "volumes:\n"
	  "  redis-data:\n"
	  "    driver: local\n",
	  3 },
	{ "Prometheus and its like",
	  "services:\n"
	  "  prometheus:\n"
	  "    image: prom/prometheus:v2.53.0\n"
	  "    container_name: prometheus\n"
	  "    command:\n"
	  "      - --config.file=/etc/prometheus/prometheus.yml\n"
	  "      - --storage.tsdb.path=/prometheus\n"
	  "      - --storage.tsdb.retention.time=15d\n"
	  "    user: nobody\n"
	  "    volumes:\n"
	  "      - type: volume\n"
	  "        source: prometheus\n"
	  "        target: /prometheus\n"
	  "    configs:\n"
	  "      - source: prometheus\n"
	  "        target: /etc/prometheus/prometheus.yml\n"
	  "        mode: 0444\n"
	  "    ports: [\"9090:9090\"]\n"
	  "    ulimits: {nofile: {soft: 65536, hard: 65536}}\n"
	  "    restart: unless-stopped\n"
	  "  grafana:\n"
	  "    image: grafana/grafana:11.1.0\n"
	  "    environment:\n"
	  "      - GF_SECURITY_ADMIN_PASSWORD=${GRAFANA_PASSWORD:-admin}\n"
	  "    volumes: [\"grafana:/var/lib/grafana\"]\n"
	  "    ports:\n"
	  "      - target: 3000\n"
	  "        published: \"3000\"\n"
	  "        protocol: tcp\n"
	  "    depends_on: [prometheus]\n"
	  "    healthcheck:\n"
	  "      test: wget -q --spider http://localhost:3000 || exit 1\n"
	  "      interval: 1m30s\n"
	  "  pushgateway:\n"
	  "    image: prom/pushgateway:v1.9.0\n"
	  "    profiles: [push]\n"
	  "configs:\n"
	  "  prometheus:\n"
	  "    content: |\n"
	  "      scrape_configs:\n"
	  "        - job_name: prometheus\n"
	  "          static_configs: [{targets: ['localhost:9090']}]\n"
	  "volumes: {prometheus: {x-zooid: {size: 2g}}, grafana: }\n",
	  2 },
	{ "Node-RED and a broker",
	  "name: home\n"
	  "services:\n"
	  "  nodered:\n"
	  "    image: nodered/node-red:latest\n"
	  "    environment:\n"
	  "      TZ: Europe/Berlin\n"
	  "    ports: [\"1880:1880\"]\n"
	  "    volumes: [\"nodered:/data\"]\n"
	  "    group_add: [\"20\"]\n"
	  "    extra_hosts: [\"plc:192.168.1.10\"]\n"
	  "    links: [broker]\n"
	  "    labels:\n"
	  "      com.example.role: flows\n"
	  "    init: false\n"
	  "    stop_signal: SIGINT\n"
	  "  broker:\n"
	  "    image: eclipse-mosquitto:2\n"
	  "    hostname: broker\n"
	  "    ports: [\"1883:1883\", \"9001-9002:9001-9002\"]\n"
	  "    volumes:\n"
	  "      - mosquitto:/mosquitto/data:rw\n"
	  "    shm_size: 64m\n"
	  "volumes:\n"
	  "  nodered:\n"
	  "  mosquitto:\n",
	  2 },
};

static void shapes_test(void)
{
	struct compose *c = calloc(1, sizeof(*c));

	for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++) {
		const char *const yaml[] = { shapes[i].yaml, NULL };
		int err = read_files(yaml, c);

		if (err)
			printf("# %s\n", c->problems.line[0]);
		ok(err == 0 &&
			   yyjson_mut_arr_size(yyjson_mut_doc_get_root(
				   c->apps)) == shapes[i].n_apps &&
			   hub_takes(c->apps),
		   "%s", shapes[i].name);
		compose_end(c);
	}
	free(c);
}

int main(void)
{
	good_test();
	bad_test();
	notice_test();
	shapes_test();
	return tap_done();
}
