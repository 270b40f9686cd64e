/* Compose files: the keys of a service beyond the plain ones, and several
 * files. Expected values are by hand from the Compose Specification and
 * sync.5. */
#include "compose_read.h"
#include "tap.h"

#define DB "  db: {image: a}\n"
#define APP_(shares)                                                     \
	"[{\"name\":\"web\",\"image\":\"hub/web:1\",\"pod\":{\"app\":"   \
	"\"db\",\"shares\":" shares "},\"depends_on\":[{\"app\":\"db\"," \
	"\"condition\":\"started\"}]},{\"name\":\"db\",\"image\":\"a\"}]"

/* ---- keys ---- */

static const struct {
	const char *name, *yaml[3], *json;
} good[] = {
	{ "entrypoint",
	  { WEB("    entrypoint: [/run, -x]\n    command: a b\n") },
	  APP(",\"entrypoint\":[\"/"
	      "run\",\"-x\"],\"command\":[\"a\",\"b\"]") },
	{ "no command",
	  { WEB("    entrypoint: null\n    command: []\n") },
	  APP(",\"command\":[]") },
	{ "no command, as text",
	  { WEB("    command: ''\n") },
	  APP(",\"command\":[]") },
	{ "no entrypoint",
	  { WEB("    entrypoint: []\n    command: a\n") },
	  APP(",\"entrypoint\":[],\"command\":[\"a\"]") },
	{ "no entrypoint, as text and as Docker has it",
	  { WEB("    entrypoint: ''\n    command: a\n"),
	    WEB("    entrypoint: ['']\n") },
	  APP(",\"entrypoint\":[],\"command\":[\"a\"]") },
	{ "the image's own",
	  { WEB("    entrypoint:\n    command: null\n") },
	  APP("") },
	{ "user, directory, host name, groups",
	  { WEB("    user: \"1000:100\"\n    working_dir: /srv\n"
		"    hostname: box.local\n    group_add: [\"20\", "
		"44, dialout]\n") },
	  APP(",\"user\":\"1000:100\",\"working_dir\":\"/srv\","
	      "\"hostname\":\"box.local\",\"group_add\":[\"20\",\"44\","
	      "\"dialout\"]") },
	{ "what its resolver is told",
	  { WEB("    dns_search: example.com\n    dns_opt: [ndots:2, "
		"timeout:1]\n") },
	  APP(",\"dns_search\":[\"example.com\"],\"dns_opt\":["
	      "\"ndots:2\",\"timeout:1\"]") },
	{ "whom it asks for names",
	  { WEB("    dns: [192.0.2.53, \"2001:db8::53\", 127.0.0.1]\n") },
	  APP(",\"dns\":[\"192.0.2.53\",\"2001:db8::53\",\"127.0.0.1\"]") },
	{ "whom it asks for names, one",
	  { WEB("    dns: 192.0.2.53\n") },
	  APP(",\"dns\":[\"192.0.2.53\"]") },
	{ "what it has against others",
	  { WEB("    mem_limit: 2m\n    mem_reservation: 1m\n"
		"    memswap_limit: 4m\n    cpu_shares: 512\n"
		"    cpuset: \"0,2-3\"\n    cpu_quota: 50000\n"
		"    oom_score_adj: 300\n    oom_kill_disable: false\n"
		"    mem_swappiness: 60\n") },
	  APP(",\"cpu_shares\":512,\"cpuset\":\"0,2-3\",\"oom_score\":300,"
	      "\"memory_reserved\":1048576,\"memory_swap\":4194304,"
	      "\"memory\":2097152,\"cpus\":0.5") },
	{ "swap without a limit",
	  { WEB("    mem_limit: 2m\n    memswap_limit: -1\n"
		"    cpu_quota: 20ms\n    cpu_period: 10000\n") },
	  APP(",\"memory_swap\":-1,\"memory\":2097152,\"cpus\":2") },
	{ "a terminal that is none",
	  { WEB("    tty: true\n    stdin_open: true\n    attach: false\n") },
	  APP(",\"stdin_open\":true") },
	{ "what is said and not used",
	  { WEB("    build: {context: .}\n    platform: linux/arm64\n"
		"    domainname: example.com\n    security_opt: "
		"[apparmor:unconfined]\n    ports: [80, {target: 81}]\n"
		"    deploy: {labels: {a: b}, update_config: {order: "
		"stop-first}, endpoint_mode: vip, restart_policy: {condition: "
		"any, delay: 5s}, resources: {reservations: {cpus: \"1\", "
		"memory: 1m}}}\n") "networks: {a: {ipam: {}, attachable: true, "
				   "enable_ipv6: true}}\n" },
	  APP(",\"domainname\":\"example.com\",\"restart\":\"always\","
	      "\"memory_reserved\":1048576") },
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
	{ "no health",
	  { WEB("    healthcheck: {test: [NONE]}\n") },
	  APP(",\"health\":{\"off\":true}") },
	{ "health that is off",
	  { WEB("    healthcheck: {disable: true, interval: 1s}\n") },
	  APP(",\"health\":{\"off\":true}") },
	{ "the image's health, looked at more often",
	  { WEB("    healthcheck: {interval: 1s, retries: 1}\n") },
	  APP(",\"health\":{\"interval_ms\":1000,\"retries\":1}") },
	{ "who reaps", { WEB("    init: true\n") }, APP(",\"init\":true") },
	{ "network",
	  { WEB("    x-zooid: {network: {default: deny, rules: [allow "
		"api.example.com tcp 443, deny 10.0.0.0/8], up: 1m, "
		"connections: 7}}\n") },
	  APP(",\"policy\":{\"default\":\"deny\",\"rules\":[\"allow "
	      "api.example.com tcp 443\",\"deny 10.0.0.0/8\"],\"up\":1048576,"
	      "\"connections\":7}") },
	{ "reactive",
	  { WEB("    x-zooid: {reactive: {freeze_after: 1m30s, wake: "
		"byte}}\n") },
	  APP(",\"reactive\":{\"freeze_after_ms\":90000,\"wake\":"
	      "\"byte\"}") },
	{ "image only",
	  { WEB("    x-zooid: {reactive: {image_after: 1h}}\n    ports: "
		"[\"80:80\"]\n") },
	  APP(",\"reactive\":{\"image_after_ms\":3600000},\"ports\":[{"
	      "\"host\":80,\"container\":80}]") },
	{ "asleep after a while",
	  { WEB("    x-zooid: {reactive: {sleep_after: 5m}}\n    ports: "
		"[\"80:80\"]\n") },
	  APP(",\"reactive\":{\"sleep_after_ms\":300000},\"ports\":[{"
	      "\"host\":80,\"container\":80}]") },
	{ "several instances",
	  { WEB("    x-zooid: {reactive: {concurrency: 20, max: 4}}\n"
		"    ports: [\"80:80\"]\n") },
	  APP(",\"reactive\":{\"concurrency\":20,\"max\":4},\"ports\":[{"
	      "\"host\":80,\"container\":80}]") },
	{ "a lifetime",
	  { WEB("    x-zooid: {reactive: {lifetime: 12h}}\n") },
	  APP(",\"reactive\":{\"lifetime_ms\":43200000}") },
	{ "started from where it listened",
	  { WEB("    x-zooid: {reactive: {checkpoint: listen}}\n") },
	  APP(",\"reactive\":{\"checkpoint\":\"listen\"}") },
	{ "reactive with its defaults",
	  { WEB("    x-zooid: {reactive: {}}\n") },
	  APP(",\"reactive\":{}") },
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
	{ "what is granted",
	  { WEB("    cap_add: [NET_ADMIN]\n"
		"    devices: [\"/dev/ttyS0:/dev/modem:r\"]\n") },
	  APP(",\"grants\":[\"capability:NET_ADMIN\","
	      "\"device:/dev/ttyS0:r:/dev/modem\"]") },
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
		"    logging: {driver: json-file}\n") },
	  APP("") },
	{ "a log",
	  { WEB("    logging: {options: {max-size: 10m, max-file: \"3\"}}\n") },
	  APP(",\"log\":{\"size\":10485760,\"files\":3}") },
	{ "a log of more than a node keeps",
	  { WEB("    logging: {options: {max-size: 100m, max-file: 9, tag: "
		"a, compress: \"true\"}}\n") },
	  APP(",\"log\":{\"size\":16777216,\"files\":8}") },
	{ "no network",
	  { WEB("    network_mode: none\n") },
	  APP(",\"network\":\"none\"") },
	{ "waiting for who may not be there",
	  { WEB("    depends_on: {db: {condition: service_started, required: "
		"false}, x: {condition: service_started, required: false}}\n")
		    DB },
	  "[{\"name\":\"web\",\"image\":\"hub/web:1\",\"depends_on\":["
	  "{\"app\":\"db\",\"condition\":\"started\"}]},{\"name\":\"db\","
	  "\"image\":\"a\"}]" },
	{ "so many of one",
	  { WEB("    deploy: {replicas: 2}\n    scale: 2\n") "  db: {image: a, "
							     "depends_on: "
							     "{web: "
							     "{condition: "
							     "service_"
							     "completed_"
							     "successfully}}}"
							     "\n" },
	  "[{\"name\":\"web-1\",\"image\":\"hub/web:1\",\"service\":\"web\"},"
	  "{\"name\":\"web-2\",\"image\":\"hub/web:1\",\"service\":\"web\"},"
	  "{\"name\":\"db\",\"image\":\"a\",\"depends_on\":[{\"app\":\"web-1\","
	  "\"condition\":\"completed\"},{\"app\":\"web-2\",\"condition\":"
	  "\"completed\"}]}]" },
	{ "another one's network",
	  { WEB("    network_mode: service:db\n") DB },
	  APP_("[\"network\"]") },
	{ "all that can be shared",
	  { WEB("    x-zooid: {pod: db}\n    depends_on: {db: {condition: "
		"service_healthy}}\n") "  db: {image: a, healthcheck: {test: "
				       "[CMD, b]}}\n" },
	  "[{\"name\":\"web\",\"image\":\"hub/web:1\",\"pod\":{\"app\":"
	  "\"db\",\"shares\":[\"network\",\"pid\",\"ipc\"]},"
	  "\"depends_on\":[{\"app\":\"db\",\"condition\":\"healthy\"}]},"
	  "{\"name\":\"db\",\"image\":\"a\",\"health\":{\"test\":"
	  "[\"b\"]}}]" },
	{ "processes and shared memory alone",
	  { WEB("    pid: service:db\n    ipc: service:db\n") DB },
	  APP_("[\"pid\",\"ipc\"]") },
	{ "shared memory of its own",
	  { WEB("    ipc: shareable\n") },
	  APP("") },
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
	{ "a file beside the file",
	  { WEB("    volumes: [\"./nginx.conf:/etc/nginx.conf:ro\", {type: "
		"bind, "
		"source: nginx.conf, target: /n, read_only: true}]\n") },
	  APP(",\"mounts\":[{\"type\":\"file\",\"target\":\"/etc/nginx.conf\","
	      "\"content\":\"worker_processes 1;\\n\",\"mode\":292},{\"type\":"
	      "\"file\",\"target\":\"/n\",\"content\":\"worker_processes "
	      "1;\\n\",\"mode\":292}]") },
	{ "where the node listens",
	  { WEB("    ports: [\"127.0.0.1:80-81:90-91\", \"[::1]:82:92\", "
		"\"0.0.0.0:83:93\", {target: 94, published: 84, host_ip: "
		"192.0.2.1, mode: host}]\n") },
	  APP(",\"ports\":[{\"host\":80,\"container\":90,\"address\":"
	      "\"127.0.0.1\"},{\"host\":81,\"container\":91,\"address\":"
	      "\"127.0.0.1\"},{\"host\":82,\"container\":92,\"address\":"
	      "\"::1\"},{\"host\":83,\"container\":93},{\"host\":84,"
	      "\"container\":94,\"address\":\"192.0.2.1\"}]") },
	{ "tmpfs",
	  { WEB("    tmpfs: [/run, \"/t:size=1m,mode=755\"]\n") },
	  APP(",\"mounts\":[{\"type\":\"tmpfs\",\"target\":\"/run\"},"
	      "{\"type\":\"tmpfs\",\"target\":\"/t\",\"size\":1048576,"
	      "\"mode\":493}]") },
	{ "secrets",
	  { WEB("    secrets:\n      - key\n      - {source: env, target: "
		"token, uid: \"0\", mode: 0440}\n      - {source: env, "
		"target: /etc/token}\n") "secrets:\n  key: {file: secret}\n"
					 "  env: {environment: SET}\n" },
	  APP(",\"mounts\":[{\"type\":\"secret\",\"target\":\"/run/secrets/key"
	      "\",\"content\":\"s3cret\\n\",\"mode\":256},{\"type\":"
	      "\"secret\",\"target\":\"/run/secrets/token\",\"content\":"
	      "\"shell\",\"mode\":288,\"uid\":0,\"gid\":0},{\"type\":"
	      "\"secret\",\"target\":\"/etc/token\",\"content\":\"shell\","
	      "\"mode\":256}]") },
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
	{ "what a later file takes away, and replaces",
	  { WEB("    ports: [\"80:80\"]\n    environment: {A: 1, B: 2}\n"
		"    command: a\n    tmpfs: [/a]\n    labels: {a: b}\n") "  "
									 "db: "
									 "{imag"
									 "e: "
									 "a}\n",
	    "services:\n  web:\n    ports: !override [\"81:81\"]\n"
	    "    environment: {A: !reset null, C: 3}\n"
	    "    command: !reset null\n    tmpfs: !reset []\n"
	    "    labels: !override {c: d}\n  db: !reset null\n" },
	  APP(",\"environment\":{\"B\":\"2\",\"C\":\"3\"},\"labels\":{\"c\":"
	      "\"d\"},\"ports\":[{\"host\":81,\"container\":81}]") },
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
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		becomes(good[i].name, good[i].yaml, good[i].json);
}

/* ---- what is refused ---- */

static const struct {
	const char *name, *yaml[3], *line;
} bad[] = {
	{ "a search domain that ends its line",
	  { WEB("    dns_search: [\"a\\nnameserver 1.2.3.4\"]\n") },
	  "f:4: services.web.dns_search[0]: \"a\nnameserver 1.2.3.4\": want a "
	  "domain as example.com, or . for none" },
	{ "too many options",
	  { WEB("    dns_opt: [a, b, c, d, e, f, g]\n") },
	  "f:4: services.web.dns_opt[6]: want at most 6" },
	{ "a name server's name",
	  { WEB("    dns: pihole\n") },
	  "f:4: services.web.dns: \"pihole\": want the address of a name "
	  "server, in digits" },
	{ "five name servers",
	  { WEB("    dns: [1.1.1.1, 1.1.1.2, 1.1.1.3, 1.1.1.4, 1.1.1.5]\n") },
	  "f:4: services.web.dns[4]: want at most 4" },
	{ "a name server of IPv4 in an address of IPv6",
	  { WEB("    dns: [\"::ffff:192.0.2.1\"]\n") },
	  "f:4: services.web.dns[0]: \"::ffff:192.0.2.1\": want the address "
	  "of a name server, in digits" },
	{ "a name server that ends its line",
	  { WEB("    dns: [\"192.0.2.1\\ndns 192.0.2.2\"]\n") },
	  "f:4: services.web.dns[0]: \"192.0.2.1\ndns 192.0.2.2\": want the "
	  "address of a name server, in digits" },
	{ "a name server that is out of reach",
	  { WEB("    dns: [169.254.169.254]\n") },
	  "f:4: services.web.dns[0]: 169.254.169.254: no container reaches "
	  "that address" },
	{ "name servers of another's network",
	  { WEB("    network_mode: service:db\n    dns: 1.1.1.1\n") DB },
	  "f:5: services: web has the network of db: its dns: is said there" },
	{ "a place of a home",
	  { WEB("    volumes: [~/html:/www]\n") },
	  "f:4: services.web.volumes[0]: \"~/html\": want a path from the "
	  "folder "
	  "of the file, or a volume with a name" },
	{ "what speaks to Docker",
	  { WEB("    volumes: [/var/run/docker.sock:/a]\n") },
	  "f:4: services.web.volumes[0]: \"/var/run/docker.sock\": there is no "
	  "Docker on a node" },
	{ "a folder of the node",
	  { WEB("    volumes: [/srv/www:/a]\n") },
	  "f:4: services.web.volumes[0]: needs --grant "
	  "bind:/srv/www:rw:/a" },
	{ "a folder of the node, with slashes at its end",
	  { WEB("    volumes: [/srv/www/:/srv/www]\n") },
	  "f:4: services.web.volumes[0]: needs --grant bind:/srv/www" },
	{ "the same in long form",
	  { WEB("    volumes: [{type: bind, source: /etc, target: /a}]\n") },
	  "f:4: services.web.volumes[0]: needs --grant bind:/etc:rw:/a" },
	{ "a device by its number",
	  { WEB("    devices: [\"/dev/ttyUSB0:/dev/tty:rw\"]\n") },
	  "f:4: services.web.devices[0]: needs --grant "
	  "device:/dev/ttyUSB0:rw:/dev/tty (better a name beneath by-id or "
	  "by-path, which stays)" },
	{ "a device by a name that stays",
	  { WEB("    devices:\n      - {source: /dev/serial/by-id/usb-1, "
		"target: "
		"/dev/zigbee}\n") },
	  "f:5: services.web.devices[0]: needs --grant "
	  "device:/dev/serial/by-id/usb-1:rwm:/dev/zigbee" },
	{ "a device that is no path",
	  { WEB("    devices: [\"ttyUSB0\"]\n") },
	  "f:4: services.web.devices[0]: \"ttyUSB0\": want a path as "
	  "/dev/ttyUSB0" },
	{ "a device with rights that are none",
	  { WEB("    devices: [\"/dev/a:/dev/b:rx\"]\n") },
	  "f:4: services.web.devices[0]: \"/dev/a:/dev/b:rx\": want "
	  "HOST:CONTAINER:rwm" },
	{ "the node's host name",
	  { WEB("    uts: host\n") },
	  "f:4: services.web.uts: needs grant uts:host, which cannot be "
	  "given yet" },
	{ "a volume that nobody declares",
	  { WEB("    volumes: [a:/b]\n") },
	  "f:4: services.web.volumes[0]: there is no volume a in volumes:" },
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
	  { WEB("    cap_add: [SYS_ADMIN]\n") },
	  "f:4: services.web.cap_add[0]: needs --grant capability:SYS_ADMIN" },
	{ "more of a device than is granted",
	  { WEB("    devices: [\"/dev/ttyS0\"]\n") },
	  "f:4: services.web.devices[0]: needs --grant device:/dev/ttyS0" },
	{ "all capabilities",
	  { WEB("    cap_add: [ALL]\n") },
	  "f:4: services.web.cap_add[0]: needs grant capability:ALL, which "
	  "cannot be given yet" },
	{ "no capability",
	  { WEB("    cap_drop: [FLY]\n") },
	  "f:4: services.web.cap_drop[0]: \"FLY\": no such capability" },
	{ "privileged",
	  { WEB("    privileged: true\n") },
	  "f:4: services.web.privileged: needs --grant privileged" },
	{ "the node's network",
	  { WEB("    network_mode: host\n") },
	  "f:4: services.web.network_mode: needs --grant network:host" },
	{ "the node's network, and ports",
	  { WEB("    network_mode: host\n    ports: [80]\n") },
	  "f:4: services.web.network_mode: needs --grant network:host" },
	{ "a sysctl of the node",
	  { WEB("    sysctls: [kernel.panic=1]\n") },
	  "f:4: services.web.sysctls: kernel.panic: belongs to no container; "
	  "want net.*, kernel.msg*, kernel.sem, kernel.shm* or fs.mqueue.*" },
	{ "the node's labels",
	  { WEB("    labels: [org.zooid.address=a]\n") },
	  "f:4: services.web.labels: labels org.zooid.* are the node's own" },
	{ "a host that is no address",
	  { WEB("    extra_hosts: [\"a:gateway\"]\n") },
	  "f:4: services.web.extra_hosts: a: want NAME=ADDRESS, the address in "
	  "digits, or host-gateway" },
	{ "no time",
	  { WEB("    stop_grace_period: 10\n") },
	  "f:4: services.web.stop_grace_period: \"10\": want a time as 90s or "
	  "1m30s, at most 24h" },
	{ "a time that is too long",
	  { WEB("    stop_grace_period: 25h\n") },
	  "f:4: services.web.stop_grace_period: \"25h\": want a time as 90s or "
	  "1m30s, at most 24h" },
	{ "several with a port",
	  { WEB("    deploy: {replicas: 2}\n    ports: [\"1:2\"]\n") },
	  "f:4: web publishes ports, which one of several cannot share with "
	  "the "
	  "others yet" },
	{ "several and a service of such a name",
	  { WEB("    scale: 2\n") "  web-2: {image: a}\n" },
	  "f:4: \"web-2\" is another service, or no name" },
	{ "none of it",
	  { WEB("    deploy: {replicas: 0}\n") },
	  "f:4: services.web.deploy.replicas: want 1 to 64" },
	{ "two numbers",
	  { WEB("    scale: 3\n    deploy: {replicas: 2}\n") },
	  "f:5: services.web.deploy.replicas: differs from line 4" },
	{ "the network of several",
	  { WEB("    network_mode: service:db\n") "  db: {image: a, scale: "
						  "2}\n" },
	  "f:4: db has replicas: want the namespaces of one service" },
	{ "taking away what nobody said",
	  { WEB("    ports: !reset []\n") },
	  "f:4: services.web.ports: !reset: no earlier file says it" },
	{ "taking away a variable that nobody said",
	  { WEB("    environment: {A: !reset null}\n") },
	  "f:4: services.web.environment.A: !reset: no earlier file says it" },
	{ "the network of nobody",
	  { WEB("    network_mode: service:db\n") },
	  "f:4: services: there is no service db, or its profiles are off" },
	{ "the network of itself",
	  { WEB("    network_mode: service:web\n") },
	  "f:4: services: web and web wait for each other" },
	{ "the network of a container",
	  { WEB("    network_mode: container:abc\n") },
	  "f:4: services.web.network_mode: \"container:abc\": not supported "
	  "yet" },
	{ "the node's processes",
	  { WEB("    pid: host\n") },
	  "f:4: services.web.pid: needs --grant pid:host" },
	{ "namespaces of two services",
	  { WEB("    network_mode: service:db\n    pid: service:x\n") DB
	    "  x: {image: a}\n" },
	  "f:5: services.web.pid: differs from line 4: want the namespaces of "
	  "one service" },
	{ "namespaces that are another one's",
	  { WEB("    network_mode: service:db\n") "  db: {image: a, "
						  "network_mode: service:x}\n"
						  "  x: {image: a}\n" },
	  "f:4: services: db has its own namespaces of x: name that" },
	{ "ports of another one's network",
	  { WEB("    network_mode: service:db\n    ports: [\"1:2\"]\n") DB },
	  "f:4: services: web has the network of db: its ports: are said "
	  "there" },
	{ "the network of one that freezes",
	  { WEB("    network_mode: service:db\n") "  db: {image: a, x-zooid: "
						  "{reactive: {}}}\n" },
	  "f:4: services: web has the network of db: neither can be reactive "
	  "yet" },
	{ "networks of another one's network",
	  { WEB("    network_mode: service:db\n    networks: [default]\n") DB },
	  "f:4: services: web has the network of db: its networks: are said "
	  "there" },
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
	{ "waiting for health that is off",
	  { WEB("    depends_on: {db: {condition: service_healthy}}\n") "  db: "
									"{image"
									": a, "
									"health"
									"check:"
									" {"
									"disabl"
									"e: "
									"true}}"
									"\n" },
	  "f:4: services: the healthcheck: of db is off" },
	{ "a secret of nobody",
	  { WEB("    secrets: [key]\n") },
	  "f:4: services.web.secrets[0]: there is no secret key in secrets:" },
	{ "a secret in the file itself",
	  { WEB("    secrets: [key]\n") "secrets: {key: {content: a}}\n" },
	  "f:5: services.web.secrets[0].content: no such key" },
	{ "a secret that lies elsewhere",
	  { WEB("    secrets: [key]\n") "secrets: {key: {external: true}}\n" },
	  "f:5: services.web.secrets[0].external: not supported yet" },
	{ "a secret without a value",
	  { WEB("    secrets: [key]\n") "secrets: {key: {environment: NO}}\n" },
	  "f:5: services.web.secrets[0].environment: the variable NO is not "
	  "set" },
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
	  "base.yaml:7: services.web.gpus: no GPU is given by this yet: one "
	  "that is a device of the node is, by devices:" },
	{ "a key of the second file",
	  { WEB(""), "services:\n  web:\n    gpus: all\n" },
	  "g:3: services.web.gpus: no GPU is given by this yet: one "
	  "that is a device of the node is, by devices:" },
	{ "a small log",
	  { WEB("    logging: {options: {max-size: 10k}}\n") },
	  "f:4: services.web.logging.options.max-size: want at least 64 KB" },
	{ "no log",
	  { WEB("    logging: {options: {max-file: 0}}\n") },
	  "f:4: services.web.logging.options.max-file: want at least 1" },
};

static void bad_test(void)
{
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		refuses(bad[i].name, bad[i].yaml, bad[i].line);
}

static void notice_test(void)
{
	static const char *const yaml[] = {
		WEB("    networks: [a]\n") "  db: {image: d, networks: [b]}\n"
					   "networks: {a: , b: }\n",
		NULL
	};
	static const char *const healthy[] = {
		WEB("    depends_on: {db: {condition: service_healthy}}\n") DB,
		NULL
	};
	struct compose *c = calloc(1, sizeof(*c));

	ok(read_files(yaml, c) == 0 && c->notices.n == 1 &&
		   !strcmp(c->notices.line[0],
			   "f:5: services.web and services.db share no "
			   "network, but reach each other: networks keep "
			   "nothing apart yet"),
	   "what is not done is said: %s", c->notices.line[0]);
	compose_end(c);
	ok(read_files(healthy, c) == 0 && c->notices.n == 1 &&
		   !strcmp(c->notices.line[0],
			   "f:4: services: db has no healthcheck: where its "
			   "image has none it counts as healthy once it runs"),
	   "what is not known is said: %s", c->notices.line[0]);
	compose_end(c);
	free(c);
}

int main(void)
{
	good_test();
	bad_test();
	notice_test();
	return tap_done();
}
