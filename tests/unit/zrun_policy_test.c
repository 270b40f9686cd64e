/* What zrun serve takes from znode: each wider request is refused with -EPERM
 * and the JSON path. */
#include <errno.h>
#include <linux/mount.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tap.h"
#include "zrun/policy.h"

/* The parts of a config that a case may replace. */
struct parts {
	const char *process, *namespaces, *mounts, *rest;
};

#define CAPS "\"capabilities\": {\"bounding\": [\"CAP_KILL\", \"CAP_CHOWN\"]}"
#define NNP  "\"noNewPrivileges\": true"
#define ALL                                                                   \
	"{\"type\": \"pid\"}, {\"type\": \"network\"}, {\"type\": \"ipc\"}, " \
	"{\"type\": \"uts\"}, {\"type\": \"mount\"}, {\"type\": \"cgroup\"}"
#define MOUNT(rest) "{\"destination\": \"/m\", " rest "}"

static const struct parts standard = { NNP ", " CAPS, ALL, "", "" };

static const struct {
	const char *name;
	struct parts parts;
	const char *line; /* NULL: taken */
} cases[] = {
	{ "the default", { NULL, NULL, NULL, NULL }, NULL },
	{ "a hook",
	  { NULL, NULL, NULL,
	    "\"a\": 1}, \"hooks\": {\"poststop\": [{\"path\": \"/a\"}]" },
	  "hooks.poststop: are not run here" },
	{ "CAP_SYS_ADMIN",
	  { NNP ", \"capabilities\": {\"bounding\": [\"CAP_SYS_ADMIN\"]}", NULL,
	    NULL, NULL },
	  "process.capabilities.bounding: CAP_SYS_ADMIN is not among the "
	  "default ones, nor granted" },
	{ "CAP_NET_ADMIN, ambient",
	  { NNP ", \"capabilities\": {\"ambient\": [\"CAP_NET_ADMIN\"]}", NULL,
	    NULL, NULL },
	  "process.capabilities.ambient: CAP_NET_ADMIN is not among the "
	  "default ones, nor granted" },
	{ "new privileges",
	  { CAPS, NULL, NULL, NULL },
	  "process.noNewPrivileges: must be true" },
	{ "a terminal",
	  { NNP ", \"terminal\": true", NULL, NULL, NULL },
	  "process.terminal: is for exec only" },
	{ "oom score below 0",
	  { NNP ", \"oomScoreAdj\": -1", NULL, NULL, NULL },
	  "process.oomScoreAdj: must not be below 0" },
	{ "oom score above 0",
	  { NNP ", \"oomScoreAdj\": 5", NULL, NULL, NULL },
	  NULL },
	{ "real-time priority",
	  { NNP ", \"rlimits\": [{\"type\": \"RLIMIT_RTPRIO\", \"soft\": 0, "
		"\"hard\": 9}]",
	    NULL, NULL, NULL },
	  "process.rlimits[0]: priorities cannot be raised" },
	{ "a modest turn",
	  { NNP ", \"scheduler\": {\"policy\": \"SCHED_BATCH\", "
		"\"nice\": 5}, \"ioPriority\": {\"class\": "
		"\"IOPRIO_CLASS_IDLE\"}, \"execCPUAffinity\": {\"final\": "
		"\"0\"}",
	    NULL, NULL, NULL },
	  NULL },
	{ "a real-time turn",
	  { NNP ", \"scheduler\": {\"policy\": \"SCHED_FIFO\"}", NULL, NULL,
	    NULL },
	  "process.scheduler.policy: is not for containers of a node" },
	{ "nice below 0",
	  { NNP ", \"scheduler\": {\"policy\": \"SCHED_OTHER\", "
		"\"nice\": -1}",
	    NULL, NULL, NULL },
	  "process.scheduler: flags and a nice below 0 are not for containers "
	  "of a node" },
	{ "real-time reads and writes",
	  { NNP ", \"ioPriority\": {\"class\": \"IOPRIO_CLASS_RT\"}", NULL,
	    NULL, NULL },
	  "process.ioPriority.class: IOPRIO_CLASS_RT is not for containers of "
	  "a node" },
	{ "a label",
	  { NNP ", \"apparmorProfile\": \"unconfined\"", NULL, NULL, NULL },
	  "process: a label of AppArmor or SELinux is not for containers of a "
	  "node" },
	{ "open files",
	  { NNP ", \"rlimits\": [{\"type\": \"RLIMIT_NOFILE\", \"soft\": 9, "
		"\"hard\": 9}]",
	    NULL, NULL, NULL },
	  NULL },

	{ "the host's network",
	  { NULL,
	    "{\"type\": \"pid\"}, {\"type\": \"ipc\"}, "
	    "{\"type\": \"uts\"}, {\"type\": \"mount\"}, "
	    "{\"type\": \"cgroup\"}",
	    NULL, NULL },
	  "linux.namespaces: network must be new" },
	{ "the host's processes",
	  { NULL, "{\"type\": \"network\"}, {\"type\": \"mount\"}", NULL,
	    NULL },
	  "linux.namespaces: pid must be new" },
	{ "a time namespace",
	  { NULL, ALL ", {\"type\": \"time\"}", NULL, NULL },
	  NULL },

	{ "a volume",
	  { NULL, NULL,
	    MOUNT("\"type\": \"bind\", \"source\": "
		  "\"/data/volumes/db\""),
	    NULL },
	  NULL },
	{ "a bind of the host's root",
	  { NULL, NULL, MOUNT("\"type\": \"bind\", \"source\": \"/\""), NULL },
	  "mounts[0].source: / is not beneath the volumes" },
	{ "a bind of all data",
	  { NULL, NULL,
	    MOUNT("\"type\": \"bind\", \"source\": "
		  "\"/data/volumes\""),
	    NULL },
	  "mounts[0].source: /data/volumes is not beneath the volumes" },
	{ "a bind that looks like a volume",
	  { NULL, NULL,
	    MOUNT("\"type\": \"bind\", \"source\": "
		  "\"/data/volumesX/db\""),
	    NULL },
	  "mounts[0].source: /data/volumesX/db is not beneath the volumes" },
	{ "bind by an option",
	  { NULL, NULL,
	    MOUNT("\"type\": \"tmpfs\", \"source\": \"/etc\", "
		  "\"options\": [\"rbind\"]"),
	    NULL },
	  "mounts[0].source: /etc is not beneath the volumes" },
	{ "recursive bind",
	  { NULL, NULL,
	    MOUNT("\"type\": \"bind\", \"source\": "
		  "\"/data/volumes/db\", \"options\": "
		  "[\"rbind\"]"),
	    NULL },
	  "mounts[0].options: recursive ones are not for volumes" },
	{ "remount",
	  { NULL, NULL, MOUNT("\"options\": [\"remount\", \"rw\"]"), NULL },
	  "mounts[0].options: remount is not for containers of a node" },
	{ "other ids",
	  { NULL, NULL,
	    MOUNT("\"type\": \"bind\", \"source\": "
		  "\"/data/volumes/db\", \"options\": [\"idmap\"]"),
	    NULL },
	  "mounts[0].options: idmap is not for containers of a node" },
	{ "other ids by maps",
	  { NULL, NULL,
	    MOUNT("\"type\": \"tmpfs\", \"uidMappings\": [{\"size\": 1}], "
		  "\"gidMappings\": [{\"size\": 1}]"),
	    NULL },
	  "mounts[0].options: idmap is not for containers of a node" },
	{ "a link of a volume's",
	  { NULL, NULL,
	    MOUNT("\"type\": \"bind\", \"source\": "
		  "\"/data/volumes/db\", \"options\": [\"copy-symlink\"]"),
	    NULL },
	  "mounts[0].options: copy-symlink is not for containers of a node" },
	{ "a tmpfs that begins with the image's files",
	  { NULL, NULL,
	    MOUNT("\"type\": \"tmpfs\", \"options\": [\"tmpcopyup\"]"), NULL },
	  NULL },
	{ "a block device",
	  { NULL, NULL,
	    MOUNT("\"type\": \"ext4\", \"source\": "
		  "\"/dev/vda\""),
	    NULL },
	  "mounts[0].type: ext4 is not for containers of a node" },
	{ "an overlay of the host's",
	  { NULL, NULL,
	    MOUNT("\"type\": \"overlay\", \"options\": "
		  "[\"lowerdir=/etc\"]"),
	    NULL },
	  "mounts[0].type: overlay is not for containers of a node" },
	{ "proc elsewhere",
	  { NULL, NULL, MOUNT("\"type\": \"proc\""), NULL },
	  "mounts[0].destination: proc belongs at /proc" },
	{ "writable sysfs",
	  { NULL, NULL, "{\"destination\": \"/sys\", \"type\": \"sysfs\"}",
	    NULL },
	  "mounts[0].options: sysfs must be ro" },
	{ "writable cgroup",
	  { NULL, NULL,
	    "{\"destination\": \"/sys/fs/cgroup\", \"type\": "
	    "\"cgroup\"}",
	    NULL },
	  "mounts[0].options: cgroup must be ro" },
	{ "shared propagation",
	  { NULL, NULL,
	    MOUNT("\"type\": \"tmpfs\", \"options\": "
		  "[\"rshared\"]"),
	    NULL },
	  "mounts[0].options: shared is not for containers of a node" },
	{ "tmpfs", { NULL, NULL, MOUNT("\"type\": \"tmpfs\""), NULL }, NULL },

	{ "a device",
	  { NULL, NULL, NULL,
	    "\"devices\": [{\"path\": \"/dev/x\", "
	    "\"type\": \"b\", \"major\": 8, \"minor\": 0}]" },
	  "linux.devices[0]: needs a grant" },
	{ "a device rule",
	  { NULL, NULL, NULL,
	    "\"resources\": {\"devices\": ["
	    "{\"allow\": false}, {\"allow\": true, \"type\": \"b\"}]}" },
	  "linux.resources.devices[1]: needs a grant" },
	{ "another cgroup",
	  { NULL, NULL, NULL, "\"cgroupsPath\": \"/service/zrun\"" },
	  "linux.cgroupsPath: must be absent or /zooid/c1" },
	{ "its own cgroup",
	  { NULL, NULL, NULL, "\"cgroupsPath\": \"/zooid/c1\"" },
	  NULL },
	{ "a profile of its own",
	  { NULL, NULL, NULL,
	    "\"seccomp\": {\"defaultAction\": "
	    "\"SCMP_ACT_ALLOW\"}" },
	  "linux.seccomp: the node's profile always holds" },
	{ "clocks and a personality of its own",
	  { NULL, ALL ", {\"type\": \"time\"}", NULL,
	    "\"timeOffsets\": {\"boottime\": {\"secs\": 1}}, "
	    "\"personality\": {\"domain\": \"LINUX32\"}" },
	  NULL },
	{ "the node's network device",
	  { NULL, NULL, NULL, "\"netDevices\": {\"eth0\": {}}" },
	  "linux.netDevices: is not for containers of a node" },
	{ "a memory policy",
	  { NULL, NULL, NULL,
	    "\"memoryPolicy\": {\"mode\": \"MPOL_BIND\", \"nodes\": "
	    "\"0\"}" },
	  "linux.memoryPolicy: is not for containers of a node" },
	{ "a class of cache",
	  { NULL, NULL, NULL, "\"intelRdt\": {\"closID\": \"a\"}" },
	  "linux.intelRdt: is not for containers of a node" },
	{ "a label of mounts",
	  { NULL, NULL, NULL, "\"mountLabel\": \"a\"" },
	  "linux.mountLabel: is not for containers of a node" },
	{ "shared root",
	  { NULL, NULL, NULL, "\"rootfsPropagation\": \"rshared\"" },
	  "linux.rootfsPropagation: must not be shared" },
	{ "protected memory",
	  { NULL, NULL, NULL,
	    "\"resources\": {\"unified\": {\"memory.min\": "
	    "\"1\"}}" },
	  "linux.resources.unified: memory.min is not for containers of a "
	  "node" },
	{ "moving processes",
	  { NULL, NULL, NULL,
	    "\"resources\": {\"unified\": "
	    "{\"cgroup.procs\": \"1\"}}" },
	  "linux.resources.unified: cgroup.procs is not for containers of a "
	  "node" },
	{ "memory.high",
	  { NULL, NULL, NULL,
	    "\"resources\": {\"unified\": "
	    "{\"memory.high\": \"1\"}}" },
	  NULL },
};

static const char *either(const char *given, const char *other)
{
	return given ? given : other;
}

static bool read_parts(const struct parts *p, struct runtime_config *config)
{
	char text[4000], error[RUNTIME_ERROR_SIZE];
	const char *rest = either(p->rest, standard.rest);
	int n = snprintf(text, sizeof(text),
			 "{\"ociVersion\": \"1.2.0\", \"root\": {\"path\": "
			 "\"r\"}, \"process\": {\"cwd\": \"/\", \"args\": "
			 "[\"a\"], %s}, \"mounts\": [%s], \"linux\": "
			 "{\"namespaces\": [%s]%s%s}}",
			 either(p->process, standard.process),
			 either(p->mounts, standard.mounts),
			 either(p->namespaces, standard.namespaces),
			 *rest ? ", " : "", rest);

	if (runtime_config_parse(config, text, (size_t)n, error) == 0)
		return true;
	printf("# %s\n", error);
	return false;
}

/* As if 42 were of a container of the same application, 43 of another one. */
static int may_join(const struct runtime_config *config, pid_t pid)
{
	(void)config;
	return pid == 42 ? 0 : pid == 43 ? -EPERM : -ESRCH;
}

static void test_joined(void)
{
#define JOIN(type, path)                                                \
	"{\"type\": \"" type "\", \"path\": \"" path "\"}, {\"type\": " \
	"\"mount\"}, {\"type\": \"uts\"}, {\"type\": \"cgroup\"}"
#define PID	", {\"type\": \"pid\"}"
#define NET	", {\"type\": \"network\"}"
#define IPC	", {\"type\": \"ipc\"}"
#define OR_THAT " must be new, or that of a container of the same application"
	static const struct {
		const char *name, *namespaces;
		int error;
		const char *line;
	} rows[] = {
		{ "the network of another one of it",
		  JOIN("network", "/proc/42/ns/net") PID IPC, 0, "" },
		{ "its processes", JOIN("pid", "/proc/42/ns/pid") NET IPC, 0,
		  "" },
		{ "its shared memory", JOIN("ipc", "/proc/42/ns/ipc") NET PID,
		  0, "" },
		{ "that of another application",
		  JOIN("network", "/proc/43/ns/net") PID IPC, -EPERM,
		  "linux.namespaces: network" OR_THAT },
		{ "that of init", JOIN("network", "/proc/1/ns/net") PID IPC,
		  -ESRCH,
		  "linux.namespaces: network: process 1 is none of a "
		  "container that runs" },
		{ "one kind by the path of another",
		  JOIN("network", "/proc/42/ns/pid") PID IPC, -EPERM,
		  "linux.namespaces: network" OR_THAT },
		{ "a link", JOIN("pid", "/proc/self/ns/pid") NET IPC, -EPERM,
		  "linux.namespaces: pid" OR_THAT },
		{ "a file of somewhere", JOIN("ipc", "/run/netns/a") NET PID,
		  -EPERM, "linux.namespaces: ipc" OR_THAT },
		{ "a path that goes on",
		  JOIN("network", "/proc/42/ns/net/../../1/ns/net") PID IPC,
		  -EPERM, "linux.namespaces: network" OR_THAT },
		{ "its mounts",
		  "{\"type\": \"mount\", \"path\": \"/proc/42/ns/mnt\"}, "
		  "{\"type\": \"uts\"}, {\"type\": \"cgroup\"}" NET PID IPC,
		  -EPERM, "linux.namespaces: mount" OR_THAT },
		{ "its user namespace",
		  "{\"type\": \"user\", \"path\": \"/proc/42/ns/user\"}, " ALL,
		  -EPERM, "linux.namespaces: user" OR_THAT },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		const struct parts p = { NULL, rows[i].namespaces, NULL, NULL };
		char line[POLICY_TEXT_SIZE] = "";
		struct runtime_config config;
		int r;

		if (!ok(read_parts(&p, &config), "parse: %s", rows[i].name))
			continue;
		r = policy_container(&config, "c1",
				     &(struct policy_grants){ 0 }, may_join,
				     line);
		ok(r == rows[i].error && !strcmp(line, rows[i].line),
		   "%s is %s (%d, %s)", rows[i].name,
		   rows[i].error ? "refused" : "shared", r, line);
		runtime_config_free(&config);
	}
}

static void test_cases(void)
{
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		char line[POLICY_TEXT_SIZE] = "";
		struct runtime_config config;

		if (!ok(read_parts(&cases[i].parts, &config), "parse: %s",
			cases[i].name))
			continue;
		int r = policy_container(&config, "c1",
					 &(struct policy_grants){ 0 }, may_join,
					 line);

		ok(cases[i].line ? r == -EPERM && !strcmp(line, cases[i].line)
				 : r == 0,
		   "%s: %s (%s)", cases[i].line ? "refuses" : "takes",
		   cases[i].name, line);
		runtime_config_free(&config);
	}
}

static bool lists(const struct text_list *list, const char *text)
{
	for (size_t i = 0; i < list->n; i++) {
		if (!strcmp(list->item[i], text))
			return !list->item[list->n];
	}
	return false;
}

/* What is added whether asked for or not. */
static void test_complete(void)
{
	struct parts p = { NULL, NULL,
			   MOUNT("\"type\": \"bind\", \"source\": "
				 "\"/data/volumes/db\", \"options\": "
				 "[\"dev\", \"suid\"]"),
			   "\"maskedPaths\": [\"/proc/kcore\", \"/x\"]" };
	struct runtime_config config;

	if (!ok(read_parts(&p, &config), "a config with a volume"))
		return;
	ok(policy_complete(&config, false) == 0, "is completed");
	ok(lists(&config.masked_paths, "/x") &&
		   lists(&config.masked_paths, "/sys/firmware") &&
		   lists(&config.readonly_paths, "/proc/sys"),
	   "paths are masked");
	ok(config.resources.pids_limit.value == 1024, "processes are limited");
	ok(config.process.oom_score_adj.set &&
		   config.process.oom_score_adj.value == 0,
	   "serve's own oom score is not inherited");
	ok((config.mount[0].attr_set &
	    (MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID)) ==
			   (MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID) &&
		   !(config.mount[0].attr_clear & MOUNT_ATTR_NODEV),
	   "no devices nor set-user-id programs in a volume");
	runtime_config_free(&config);
}

int main(void)
{
	setenv("ZOOID_DATA", "/data", 1);
	test_cases();
	test_joined();
	test_complete();
	return tap_done();
}
