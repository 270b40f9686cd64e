/* config.json: the line that each kind of mistake gets, and what is taken. */
#include <errno.h>
#include <linux/mount.h>
#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "oci/runtime_config.h"
#include "tap.h"

static struct runtime_config config;
static char error[RUNTIME_ERROR_SIZE];

static int parse(const char *text)
{
	size_t size = strlen(text);
	/* An exact copy, so that the sanitizer sees a read past the end. */
	char *exact = malloc(size ? size : 1);

	memcpy(exact, text, size);
	int r = runtime_config_parse(&config, exact, size, error);

	free(exact);
	return r;
}

/* A whole config around the part in question. */
#define NS "{\"type\": \"mount\"}"
#define TOP(rest)                                                             \
	"{\"ociVersion\": \"1.0.2\", \"root\": {\"path\": \"rootfs\"}, " rest \
	"\"linux\": {\"namespaces\": [" NS "]}}"
#define LINUX(rest)                                                 \
	"{\"ociVersion\": \"1.2.0\", \"root\": {\"path\": \"r\"}, " \
	"\"linux\": {\"namespaces\": [" NS "]" rest "}}"
#define SPACES(list)                                                \
	"{\"ociVersion\": \"1.2.0\", \"root\": {\"path\": \"r\"}, " \
	"\"linux\": {\"namespaces\": [" list "]}}"
#define PROCESS(rest) \
	TOP("\"process\": {\"cwd\": \"/\", \"args\": [\"a\"]" rest "}, ")
#define MOUNT(rest)	TOP("\"mounts\": [{\"destination\": \"/m\"" rest "}], ")
#define RESOURCES(rest) LINUX(", \"resources\": {" rest "}")
#define SECCOMP(rest) \
	LINUX(", \"seccomp\": {\"defaultAction\": \"SCMP_ACT_ERRNO\"" rest "}")
#define IDMAP	    "is not like idmap=uids=0-1000-10;gids=0-1000-10"
#define V1_ONLY	    "cgroup v2 has no such limit"
#define UNSUPPORTED "not supported by this version of zrun"

static const struct mistake {
	const char *name, *text, *line;
} mistakes[] = {
	{ "empty", "", "line 1: input length is 0" },
	{ "cut off", "{\n\"ociVersion\":", "line 2: unexpected end of data" },
	{ "an array", "[]", "want an object" },
	{ "no version", "{}", "ociVersion: missing" },
	{ "version of wrong type", "{\"ociVersion\": 1}",
	  "ociVersion: want a string" },
	{ "version 2", "{\"ociVersion\": \"2.0.0\"}",
	  "ociVersion: \"2.0.0\" is not a version 1.*" },
	{ "version 1 alone", "{\"ociVersion\": \"1\"}",
	  "ociVersion: \"1\" is not a version 1.*" },
	{ "no root", "{\"ociVersion\": \"1.0.0\"}", "root: missing" },
	{ "root without path", "{\"ociVersion\": \"1.0.0\", \"root\": {}}",
	  "root: path is missing" },
	{ "key twice", "{\"ociVersion\": \"1.0.0\", \"ociVersion\": \"1.0.0\"}",
	  "ociVersion: given twice" },
	{ "NUL in a string", TOP("\"hostname\": \"a\\u0000b\", "),
	  "hostname: holds a NUL byte" },
	{ "hostname without uts", TOP("\"hostname\": \"a\", "),
	  "hostname: needs a uts namespace" },
	{ "hook without path", TOP("\"hooks\": {\"poststop\": [{}]}, "),
	  "hooks.poststop[0]: path is missing" },
	{ "hook beside the root",
	  TOP("\"hooks\": {\"prestart\": [{\"path\": \"a\"}]}, "),
	  "hooks.prestart[0].path: \"a\" is not an absolute path" },
	{ "hook that ends at once",
	  TOP("\"hooks\": {\"poststart\": [{\"path\": \"/a\", "
	      "\"timeout\": 0}]}, "),
	  "hooks.poststart[0].timeout: want 1 to 2147483 seconds" },
	{ "hooks that are no list",
	  TOP("\"hooks\": {\"createRuntime\": {\"path\": \"/a\"}}, "),
	  "hooks.createRuntime: want an array" },
	{ "vm", TOP("\"vm\": {\"kernel\": {}}, "), "vm: " UNSUPPORTED },
	{ "annotation of wrong type", TOP("\"annotations\": {\"a\": 1}, "),
	  "annotations.a: want a string" },
	{ "annotation without key", TOP("\"annotations\": {\"\": \"\"}, "),
	  "annotations: holds an empty or odd key" },

	{ "no cwd", TOP("\"process\": {\"args\": [\"a\"]}, "),
	  "process: cwd is missing" },
	{ "relative cwd", TOP("\"process\": {\"cwd\": \"a\"}, "),
	  "process.cwd: \"a\" is not an absolute path" },
	{ "no args", TOP("\"process\": {\"cwd\": \"/\"}, "),
	  "process: args is missing or empty" },
	{ "argument of wrong type",
	  TOP("\"process\": {\"cwd\": \"/\", \"args\": [\"a\", 1]}, "),
	  "process.args[1]: want a string" },
	{ "environment", PROCESS(", \"env\": [\"A=1\", \"=2\"]"),
	  "process.env: [1]: \"=2\" is not NAME=value" },
	{ "uid too large", PROCESS(", \"user\": {\"uid\": 4294967295}"),
	  "process.user: 4294967295 means no user at all" },
	{ "negative uid", PROCESS(", \"user\": {\"uid\": -1}"),
	  "process.user.uid: want an integer from 0 to 4294967295" },
	{ "umask", PROCESS(", \"user\": {\"umask\": 512}"),
	  "process.user: umask is above 511 (octal 777)" },
	{ "group of wrong type",
	  PROCESS(", \"user\": {\"additionalGids\": [1, \"2\"]}"),
	  "process.user.additionalGids[1]: want an integer from 0 to "
	  "4294967295" },
	{ "unknown limit",
	  PROCESS(", \"rlimits\": [{\"type\": \"RLIMIT_X\", "
		  "\"soft\": 1, \"hard\": 1}]"),
	  "process.rlimits[0]: \"RLIMIT_X\" is no known limit" },
	{ "soft above hard",
	  PROCESS(", \"rlimits\": [{\"type\": \"RLIMIT_CPU\", "
		  "\"soft\": 2, \"hard\": 1}]"),
	  "process.rlimits[0]: soft is above hard" },
	{ "limit without hard",
	  PROCESS(", \"rlimits\": [{\"type\": \"RLIMIT_CPU\", \"soft\": 2}]"),
	  "process.rlimits[0]: want type, soft and hard" },
	{ "limit twice",
	  PROCESS(", \"rlimits\": ["
		  "{\"type\": \"RLIMIT_CPU\", \"soft\": 1, \"hard\": 1}, "
		  "{\"type\": \"RLIMIT_CPU\", \"soft\": 1, \"hard\": 1}]"),
	  "process.rlimits: [0] and [1] set the same limit" },
	{ "oom score", PROCESS(", \"oomScoreAdj\": 1001"),
	  "process.oomScoreAdj: want -1000 to 1000" },
	{ "scheduler without policy", PROCESS(", \"scheduler\": {}"),
	  "process.scheduler: policy is missing" },
	{ "scheduler policy",
	  PROCESS(", \"scheduler\": {\"policy\": \"SCHED_X\"}"),
	  "process.scheduler.policy: \"SCHED_X\" is not known" },
	{ "scheduler policy of wrong type",
	  PROCESS(", \"scheduler\": {\"policy\": 1}"),
	  "process.scheduler.policy: \"\" is not known" },
	{ "nice",
	  PROCESS(", \"scheduler\": {\"policy\": \"SCHED_OTHER\", "
		  "\"nice\": 20}"),
	  "process.scheduler.nice: want -20 to 19" },
	{ "scheduler flag",
	  PROCESS(", \"scheduler\": {\"policy\": \"SCHED_RR\", "
		  "\"flags\": [\"SCHED_FLAG_RECLAIM\", \"X\"]}"),
	  "process.scheduler.flags[1]: \"X\" is not known" },
	{ "priority of SCHED_OTHER",
	  PROCESS(", \"scheduler\": {\"policy\": \"SCHED_OTHER\", "
		  "\"priority\": 1}"),
	  "process.scheduler: a priority goes with SCHED_FIFO and SCHED_RR "
	  "only" },
	{ "deadline of SCHED_FIFO",
	  PROCESS(", \"scheduler\": {\"policy\": \"SCHED_FIFO\", "
		  "\"deadline\": 1}"),
	  "process.scheduler: runtime, deadline and period go with "
	  "SCHED_DEADLINE only" },
	{ "io class", PROCESS(", \"ioPriority\": {\"class\": \"X\"}"),
	  "process.ioPriority.class: \"X\" is not known" },
	{ "io priority",
	  PROCESS(", \"ioPriority\": {\"class\": \"IOPRIO_CLASS_RT\", "
		  "\"priority\": 8}"),
	  "process.ioPriority: priority is above 7" },
	{ "cpu list", PROCESS(", \"execCPUAffinity\": {\"initial\": \"0-\"}"),
	  "process.execCPUAffinity.initial: \"0-\" is no list like 0-2,4 of "
	  "numbers below 1024" },
	{ "cpu list that ends in a comma",
	  PROCESS(", \"execCPUAffinity\": {\"final\": \"1,\"}"),
	  "process.execCPUAffinity.final: \"1,\" is no list like 0-2,4 of "
	  "numbers below 1024" },
	{ "cpu list backwards",
	  PROCESS(", \"execCPUAffinity\": {\"final\": \"3-1\"}"),
	  "process.execCPUAffinity.final: \"3-1\" is no list like 0-2,4 of "
	  "numbers below 1024" },
	{ "cpu too high",
	  PROCESS(", \"execCPUAffinity\": {\"final\": \"0-1024\"}"),
	  "process.execCPUAffinity.final: \"0-1024\" is no list like 0-2,4 "
	  "of numbers below 1024" },
	{ "boolean of wrong type", PROCESS(", \"noNewPrivileges\": 1"),
	  "process.noNewPrivileges: want true or false" },

	{ "mount without destination", TOP("\"mounts\": [{}], "),
	  "mounts[0]: destination is missing" },
	{ "bind without source", MOUNT(", \"type\": \"bind\""),
	  "mounts[0]: a bind mount needs a source" },
	{ "option of wrong type", MOUNT(", \"options\": [\"ro\", 7]"),
	  "mounts[0].options[1]: want a string" },
	{ "idmap with a map that is none",
	  MOUNT(", \"type\": \"tmpfs\", \"options\": [\"ridmap=uids=0\"]"),
	  "mounts[0].options[0]: " IDMAP },
	{ "idmap of nothing",
	  MOUNT(", \"type\": \"tmpfs\", \"options\": "
		"[\"idmap=uids=0-1-0;gids=0-1-1\"]"),
	  "mounts[0].options[0]: " IDMAP },
	{ "idmap past the last id",
	  MOUNT(", \"type\": \"tmpfs\", \"options\": "
		"[\"idmap=uids=0-4294967290-10;gids=0-1-1\"]"),
	  "mounts[0].options[0]: " IDMAP },
	{ "idmap with an empty list",
	  MOUNT(", \"type\": \"tmpfs\", \"options\": "
		"[\"idmap=uids=0-1-1#;gids=0-1-1\"]"),
	  "mounts[0].options[0]: " IDMAP },
	{ "idmap of users alone",
	  MOUNT(", \"type\": \"tmpfs\", \"options\": [\"idmap=uids=0-1-1\"]"),
	  "mounts[0]: want uidMappings and gidMappings" },
	{ "mount mappings",
	  MOUNT(", \"type\": \"tmpfs\", \"uidMappings\": [{}]"),
	  "mounts[0].uidMappings[0]: size is missing or 0" },
	{ "mount mappings of users alone",
	  MOUNT(", \"type\": \"tmpfs\", \"uidMappings\": [{\"size\": 1}]"),
	  "mounts[0]: want uidMappings and gidMappings" },
	{ "tmpcopyup of a bind",
	  MOUNT(", \"type\": \"bind\", \"source\": \"/a\", \"options\": "
		"[\"tmpcopyup\"]"),
	  "mounts[0]: tmpcopyup goes with tmpfs only" },
	{ "tmpcopyup of a remount",
	  MOUNT(", \"options\": [\"remount\", \"tmpcopyup\"]"),
	  "mounts[0]: tmpcopyup goes with tmpfs only" },

	{ "unknown namespace", SPACES("{\"type\": \"mnt\"}"),
	  "linux.namespaces[0].type: is no known namespace" },
	{ "namespace twice", SPACES(NS ", " NS),
	  "linux.namespaces: [1]: mount is given twice" },
	{ "relative namespace path",
	  SPACES(NS ", {\"type\": \"pid\", \"path\": \"a\"}"),
	  "linux.namespaces[1]: path is not absolute" },
	{ "read-only root in a joined mount namespace",
	  "{\"ociVersion\": \"1.2.0\", \"root\": {\"path\": \"r\", "
	  "\"readonly\": true}, \"linux\": {\"namespaces\": [{\"type\": "
	  "\"mount\", \"path\": \"/m\"}]}}",
	  "root.readonly: needs a new mount namespace" },
	{ "propagation in a joined mount namespace",
	  SPACES("{\"type\": \"mount\", \"path\": \"/m\"}], "
		 "\"rootfsPropagation\": \"slave\", \"devices\": ["),
	  "linux.rootfsPropagation: needs a new mount namespace" },
	{ "user namespace without maps", SPACES(NS ", {\"type\": \"user\"}"),
	  "linux.uidMappings: a new user namespace needs uidMappings and "
	  "gidMappings" },
	{ "maps without user namespace",
	  LINUX(", \"uidMappings\": [{\"containerID\": 0, \"hostID\": 1, "
		"\"size\": 1}]"),
	  "linux.uidMappings: need a user namespace" },
	{ "map past the end",
	  LINUX(", \"gidMappings\": [{\"hostID\": 4294967295, \"size\": 2}]"),
	  "linux.gidMappings[0]: reaches past the last id" },
	{ "map of nothing", LINUX(", \"gidMappings\": [{\"hostID\": 1}]"),
	  "linux.gidMappings[0]: size is missing or 0" },
	{ "device type",
	  LINUX(", \"devices\": [{\"path\": \"/d\", \"type\": \"x\"}]"),
	  "linux.devices[0]: type \"x\" is not c, b, u or p" },
	{ "device without numbers",
	  LINUX(", \"devices\": [{\"path\": \"/d\", \"type\": \"c\"}]"),
	  "linux.devices[0]: want major and minor" },
	{ "masked path", LINUX(", \"maskedPaths\": [\"/a\", \"b\"]"),
	  "linux.maskedPaths[1]: \"b\" is not an absolute path" },
	{ "sysctl upwards", LINUX(", \"sysctl\": {\"net/../x\": \"1\"}"),
	  "linux.sysctl: \"net/../x\" is no sysctl" },
	{ "propagation", LINUX(", \"rootfsPropagation\": \"rsecret\""),
	  "linux.rootfsPropagation: \"rsecret\" is no propagation" },
	{ "personality", LINUX(", \"personality\": {\"domain\": \"BSD\"}"),
	  "linux.personality.domain: is neither LINUX nor LINUX32" },
	{ "personality flags", LINUX(", \"personality\": {\"flags\": [\"X\"]}"),
	  "linux.personality.flags: " UNSUPPORTED },
	{ "time offsets without a namespace",
	  LINUX(", \"timeOffsets\": {\"monotonic\": {}}"),
	  "linux.timeOffsets.monotonic: needs a new time namespace" },
	{ "time offset",
	  LINUX(", \"timeOffsets\": {\"boottime\": {"
		"\"nanosecs\": 1000000000}}"),
	  "linux.timeOffsets.boottime: nanosecs is a second or more" },
	{ "network device without a namespace",
	  LINUX(", \"netDevices\": {\"eth0\": {}}"),
	  "linux.netDevices: need a network namespace" },
	{ "network device with a long name",
	  LINUX(", \"netDevices\": {\"eth0\": {\"name\": "
		"\"a123456789012345\"}}"),
	  "linux.netDevices.eth0: is no name of a network device" },
	{ "network device that is a path",
	  LINUX(", \"netDevices\": {\"../x\": {}}"),
	  "linux.netDevices.../x: is no name of a network device" },
	{ "network device of wrong type",
	  LINUX(", \"netDevices\": {\"eth0\": \"eth1\"}"),
	  "linux.netDevices.eth0: want an object" },
	{ "class that is a path",
	  LINUX(", \"intelRdt\": {\"closID\": \"../a\"}"),
	  "linux.intelRdt.closID: is no name of a class" },
	{ "class that is the kernel's",
	  LINUX(", \"intelRdt\": {\"closID\": \"info\"}"),
	  "linux.intelRdt.closID: is no name of a class" },
	{ "memory bandwidth of the cache",
	  LINUX(", \"intelRdt\": {\"memBwSchema\": \"L3:0=f\"}"),
	  "linux.intelRdt.memBwSchema: want one line that starts with MB:" },
	{ "memory bandwidth in two lines",
	  LINUX(", \"intelRdt\": {\"memBwSchema\": \"MB:0=1\\nL3:0=f\"}"),
	  "linux.intelRdt.memBwSchema: want one line that starts with MB:" },
	{ "mount label of wrong type", LINUX(", \"mountLabel\": 1"),
	  "linux.mountLabel: want a string" },
	{ "memory policy", LINUX(", \"memoryPolicy\": {\"nodes\": \"0\"}"),
	  "linux.memoryPolicy: mode is missing" },
	{ "memory policy mode",
	  LINUX(", \"memoryPolicy\": {\"mode\": \"MPOL_X\"}"),
	  "linux.memoryPolicy.mode: \"MPOL_X\" is not known" },
	{ "memory policy flag",
	  LINUX(", \"memoryPolicy\": {\"mode\": \"MPOL_BIND\", "
		"\"flags\": [\"MPOL_BIND\"]}"),
	  "linux.memoryPolicy.flags[0]: \"MPOL_BIND\" is not known" },

	{ "memory limit of wrong type",
	  RESOURCES("\"memory\": {\"limit\": \"1g\"}"),
	  "linux.resources.memory.limit: want an integer" },
	{ "memory limit too large",
	  RESOURCES("\"memory\": {\"limit\": 9223372036854775808}"),
	  "linux.resources.memory.limit: want an integer" },
	{ "memory limit real", RESOURCES("\"memory\": {\"limit\": 1.5}"),
	  "linux.resources.memory.limit: want an integer" },
	{ "memory limit negative", RESOURCES("\"memory\": {\"limit\": -2}"),
	  "linux.resources.memory.limit: want a number of bytes, or -1" },
	{ "swap without limit", RESOURCES("\"memory\": {\"swap\": 5}"),
	  "linux.resources.memory: swap counts limit in, which is missing" },
	{ "swap below limit",
	  RESOURCES("\"memory\": {\"swap\": 5, \"limit\": 6}"),
	  "linux.resources.memory: swap is below limit, which it includes" },
	{ "swappiness", RESOURCES("\"memory\": {\"swappiness\": 60}"),
	  "linux.resources.memory.swappiness: " V1_ONLY },
	{ "realtime", RESOURCES("\"cpu\": {\"realtimePeriod\": 1000}"),
	  "linux.resources.cpu.realtimePeriod: " V1_ONLY },
	{ "cpu list", RESOURCES("\"cpu\": {\"cpus\": \"0-1;2\"}"),
	  "linux.resources.cpu.cpus: \"0-1;2\" is no list like 0-2,4" },
	{ "io weight", RESOURCES("\"blockIO\": {\"weight\": 5}"),
	  "linux.resources.blockIO.weight: want 10 to 1000" },
	{ "throttle",
	  RESOURCES("\"blockIO\": {\"throttleReadBpsDevice\": "
		    "[{\"major\": 8}]}"),
	  "linux.resources.blockIO.throttleReadBpsDevice[0]: want major, "
	  "minor and rate" },
	{ "page size",
	  RESOURCES("\"hugepageLimits\": [{\"pageSize\": "
		    "\"2/../MB\", \"limit\": 1}]"),
	  "linux.resources.hugepageLimits[0]: pageSize \"2/../MB\" is not "
	  "like 2MB" },
	{ "device rule access",
	  RESOURCES("\"devices\": [{\"allow\": true, \"access\": \"rx\"}]"),
	  "linux.resources.devices[0]: access has \"x\", want only r, w and "
	  "m" },
	{ "unified path",
	  RESOURCES("\"unified\": {\"../cgroup.procs\": \"1\"}"),
	  "linux.resources.unified: \"../cgroup.procs\" is no file of a "
	  "cgroup" },
	{ "net class", RESOURCES("\"network\": {\"classID\": 7}"),
	  "linux.resources.network.classID: " V1_ONLY },
	{ "leaf weight of a device",
	  RESOURCES("\"blockIO\": {\"weightDevice\": [{\"leafWeight\": 10}]}"),
	  "linux.resources.blockIO.weightDevice[0].leafWeight: " V1_ONLY },
	{ "rdma", RESOURCES("\"rdma\": []"),
	  "linux.resources.rdma: want an object" },
	{ "rdma handles",
	  RESOURCES("\"rdma\": {\"mlx5\": {\"hcaHandles\": -1}}"),
	  "linux.resources.rdma.mlx5.hcaHandles: want an integer from 0 to "
	  "4294967295" },
	{ "rdma device without a limit", RESOURCES("\"rdma\": {\"mlx5\": {}}"),
	  "linux.resources.rdma.mlx5: want hcaHandles or hcaObjects" },
	{ "rdma device that is two lines",
	  RESOURCES("\"rdma\": {\"a\\nb\": {}}"),
	  "linux.resources.rdma.a?b: is no name of a device" },
	{ "rdma device with an odd name",
	  RESOURCES("\"rdma\": {\"a\\u0000b\": {}}"),
	  "linux.resources.rdma: holds an odd key" },
	{ "rdma device without a name", RESOURCES("\"rdma\": {\"\": {}}"),
	  "linux.resources.rdma.: is no name of a device" },

	{ "seccomp without default", LINUX(", \"seccomp\": {}"),
	  "linux.seccomp: defaultAction is missing" },
	{ "seccomp action", LINUX(", \"seccomp\": {\"defaultAction\": \"NO\"}"),
	  "linux.seccomp.defaultAction: is no known action" },
	{ "seccomp notify without a listener",
	  SECCOMP(", \"syscalls\": [{\"names\": [\"a\"], \"action\": "
		  "\"SCMP_ACT_NOTIFY\"}]"),
	  "linux.seccomp: SCMP_ACT_NOTIFY needs listenerPath" },
	{ "seccomp notify of what tells it",
	  SECCOMP(", \"syscalls\": [{\"names\": [\"a\", \"sendmsg\"], "
		  "\"action\": \"SCMP_ACT_NOTIFY\"}]"),
	  "linux.seccomp.syscalls[0]: sendmsg cannot be notified: it hands "
	  "the listener over" },
	{ "seccomp notify by default",
	  LINUX(", \"seccomp\": {\"defaultAction\": \"SCMP_ACT_NOTIFY\", "
		"\"listenerPath\": \"/s\"}"),
	  "linux.seccomp: defaultAction cannot be SCMP_ACT_NOTIFY" },
	{ "seccomp metadata alone", SECCOMP(", \"listenerMetadata\": \"x\""),
	  "linux.seccomp: listenerMetadata needs listenerPath" },
	{ "seccomp errno with allow",
	  SECCOMP(", \"syscalls\": [{\"names\": [\"a\"], \"action\": "
		  "\"SCMP_ACT_ALLOW\", \"errnoRet\": 1}]"),
	  "linux.seccomp.syscalls[0]: an errno goes with SCMP_ACT_ERRNO and "
	  "SCMP_ACT_TRACE only" },
	{ "seccomp argument",
	  SECCOMP(", \"syscalls\": [{\"names\": [\"a\"], \"action\": "
		  "\"SCMP_ACT_ALLOW\", \"args\": [{\"index\": 6, \"value\": 1, "
		  "\"op\": \"SCMP_CMP_EQ\"}]}]"),
	  "linux.seccomp.syscalls[0].args[0]: want op and an index of 0 to "
	  "5" },
};

static void test_mistakes(void)
{
	for (size_t i = 0; i < sizeof(mistakes) / sizeof(*mistakes); i++) {
		const struct mistake *m = &mistakes[i];
		int r = parse(m->text);

		ok(r == -EINVAL && !strcmp(error, m->line), "refuses: %s (%s)",
		   m->name, r < 0 ? error : "taken");
		if (r == 0)
			runtime_config_free(&config);
	}
}

/* Texts that are taken; empty values ask for nothing. */
static const struct {
	const char *name, *text;
} taken[] = {
	{ "the least", TOP("") },
	{ "unknown keys", TOP("\"future\": {\"a\": [1]}, ") },
	{ "null counts as absent", TOP("\"hooks\": null, \"mounts\": null, ") },
	{ "empty hooks", TOP("\"hooks\": {\"poststop\": []}, ") },
	{ "empty labels",
	  PROCESS(", \"apparmorProfile\": \"\", \"selinuxLabel\": \"\"") },
	{ "swappiness not asked",
	  RESOURCES("\"memory\": {\"disableOOMKiller\": false}") },
	{ "Linux as personality",
	  LINUX(", \"personality\": {\"domain\": \"LINUX\"}") },
	{ "mount label", LINUX(", \"mountLabel\": \"x\"") },
	{ "Intel RDT",
	  LINUX(", \"intelRdt\": {\"closID\": \"a\", \"l3CacheSchema\": "
		"\"L3:0=f\", \"memBwSchema\": \"MB:0=10\", \"schemata\": "
		"[\"L3:0=f\"], \"enableCMT\": true, \"enableMBM\": false, "
		"\"enableMonitoring\": true}") },
};

static void test_taken(void)
{
	for (size_t i = 0; i < sizeof(taken) / sizeof(*taken); i++) {
		int r = parse(taken[i].text);

		ok(r == 0, "takes: %s (%s)", taken[i].name, r ? error : "");
		if (r == 0)
			runtime_config_free(&config);
	}
}

static const struct option_case {
	const char *options;
	uint64_t set, clear, tree_set, propagation, tree_propagation;
	uint32_t sb;
	const char *data;
} options[] = {
	{ "\"ro\"", MOUNT_ATTR_RDONLY, 0, 0, 0, 0, RUNTIME_SB_RDONLY, NULL },
	{ "\"ro\", \"rw\"", 0, MOUNT_ATTR_RDONLY, 0, 0, 0, 0, NULL },
	{ "\"nosuid\", \"noexec\", \"nodev\"",
	  MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NODEV, 0, 0, 0, 0,
	  0, NULL },
	{ "\"nosuid\", \"suid\"", 0, MOUNT_ATTR_NOSUID, 0, 0, 0, 0, NULL },
	{ "\"noatime\"", MOUNT_ATTR_NOATIME, MOUNT_ATTR__ATIME, 0, 0, 0, 0,
	  NULL },
	{ "\"noatime\", \"strictatime\"", MOUNT_ATTR_STRICTATIME,
	  MOUNT_ATTR__ATIME, 0, 0, 0, 0, NULL },
	{ "\"rro\", \"rnoexec\"", 0, 0, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOEXEC,
	  0, 0, 0, NULL },
	{ "\"slave\"", 0, 0, 0, MS_SLAVE, 0, 0, NULL },
	{ "\"rshared\"", 0, 0, 0, 0, MS_SHARED, 0, NULL },
	{ "\"sync\", \"dirsync\", \"lazytime\"", 0, 0, 0, 0, 0,
	  RUNTIME_SB_SYNC | RUNTIME_SB_DIRSYNC | RUNTIME_SB_LAZYTIME, NULL },
	{ "\"defaults\", \"size=5k\", \"nosuid\"", MOUNT_ATTR_NOSUID, 0, 0, 0,
	  0, 0, "size=5k" },
	{ "\"nosymfollow\", \"mode=755\"", MOUNT_ATTR_NOSYMFOLLOW, 0, 0, 0, 0,
	  0, "mode=755" },
};

static void test_options(void)
{
	for (size_t i = 0; i < sizeof(options) / sizeof(*options); i++) {
		const struct option_case *o = &options[i];
		char text[600];

		snprintf(text, sizeof(text),
			 MOUNT(", \"type\": \"tmpfs\", \"options\": [%s]"),
			 o->options);
		int r = parse(text);

		if (!ok(r == 0, "options %s", o->options))
			continue;
		const struct runtime_mount *m = &config.mount[0];

		ok(m->attr_set == o->set && m->attr_clear == o->clear &&
			   m->tree_attr_set == o->tree_set &&
			   m->propagation == o->propagation &&
			   m->tree_propagation == o->tree_propagation &&
			   m->sb_set == o->sb && !m->bind &&
			   (o->data ? m->data.n == 1 &&
					      !strcmp(m->data.item[0],
						      o->data) &&
					      !m->data.item[1]
				    : m->data.n == 0),
		   "mean what they say");
		runtime_config_free(&config);
	}
}

static void test_resources(void)
{
	int r = parse(RESOURCES(
		"\"rdma\": {\"mlx5_0\": {\"hcaHandles\": 3, \"hcaObjects\": "
		"9}, "
		"\"mlx5_1\": {\"hcaObjects\": 4}}, \"memory\": {\"limit\": 1, "
		"\"checkBeforeUpdate\": true}"));

	if (!ok(r == 0, "resources (%s)", r ? error : ""))
		return;
	const struct runtime_resources *q = &config.resources;

	ok(q->memory.check_before_update && q->n_rdma == 2 &&
		   !strcmp(q->rdma[0].device, "mlx5_0") &&
		   q->rdma[0].handles.value == 3 &&
		   q->rdma[0].objects.value == 9 && !q->rdma[1].handles.set &&
		   q->rdma[1].objects.value == 4,
	   "RDMA limits");
	runtime_config_free(&config);
}

static void test_idmap(void)
{
	int r = parse(MOUNT(", \"type\": \"bind\", \"source\": \"/a\", "
			    "\"options\": [\"ridmap=gids=@7-8-9;"
			    "uids=0-1-10#10-11-12\", \"copy-symlink\", "
			    "\"dest-nofollow\"]"));

	if (!ok(r == 0, "an idmapped mount (%s)", r ? error : ""))
		return;
	const struct runtime_mount *m = &config.mount[0];

	ok(m->idmap && m->idmap_recursive && m->copy_symlink &&
		   m->destination_nofollow && !m->source_nofollow,
	   "words are noted");
	ok(m->uid_maps.n == 2 && !m->uid_maps.relative &&
		   m->uid_maps.item[1].container_id == 10 &&
		   m->uid_maps.item[1].host_id == 11 &&
		   m->uid_maps.item[1].size == 12 && m->gid_maps.n == 1 &&
		   m->gid_maps.relative && m->gid_maps.item[0].host_id == 8,
	   "maps of the option");
	runtime_config_free(&config);
}

static void test_process(void)
{
	int r = parse(PROCESS(
		", \"terminal\": true, \"env\": [\"A=1\", \"B=\"], "
		"\"user\": {\"uid\": 5, \"gid\": 6, \"umask\": 18, "
		"\"additionalGids\": [7, 8]}, \"oomScoreAdj\": -3, "
		"\"capabilities\": {\"bounding\": [\"CAP_KILL\", \"CAP_X\"], "
		"\"ambient\": [\"CAP_CHOWN\"]}, \"rlimits\": ["
		"{\"type\": \"RLIMIT_NOFILE\", \"soft\": 1, \"hard\": 2}]"));

	if (!ok(r == 0, "a process"))
		return;
	const struct runtime_process *p = &config.process;

	ok(p->terminal && !p->no_new_privileges && p->env.n == 2 &&
		   !p->env.item[2] && !strcmp(p->env.item[1], "B="),
	   "lists end");
	ok(p->user.uid == 5 && p->user.gid == 6 && p->user.umask.set &&
		   p->user.umask.value == 022 &&
		   p->user.additional_gids.n == 2 &&
		   p->user.additional_gids.item[1] == 8,
	   "user");
	ok(p->capability[RUNTIME_CAP_BOUNDING] == 1 << 5 &&
		   p->capability[RUNTIME_CAP_AMBIENT] == 1 &&
		   p->capability[RUNTIME_CAP_EFFECTIVE] == 0,
	   "capabilities");
	ok(config.n_warning == 1 &&
		   !strcmp(config.warning[0],
			   "process.capabilities.bounding: "
			   "\"CAP_X\" is no known capability; not granted"),
	   "an unknown capability is a warning");
	ok(p->n_rlimit == 1 && p->rlimit[0].resource == RLIMIT_NOFILE &&
		   p->rlimit[0].soft == 1 && p->rlimit[0].hard == 2,
	   "limits");
	ok(p->oom_score_adj.set && p->oom_score_adj.value == -3, "oom score");
	runtime_config_free(&config);
}

static void test_schedule(void)
{
	int r = parse(PROCESS(
		", \"scheduler\": {\"policy\": \"SCHED_DEADLINE\", "
		"\"flags\": [\"SCHED_FLAG_RECLAIM\", "
		"\"SCHED_FLAG_DL_OVERRUN\"], \"runtime\": 1, \"deadline\": 2, "
		"\"period\": 3}, \"ioPriority\": {\"class\": "
		"\"IOPRIO_CLASS_IDLE\"}, \"execCPUAffinity\": {\"initial\": "
		"\"0-1,64\", \"final\": \"1023\"}, \"apparmorProfile\": "
		"\"x\", \"selinuxLabel\": \"\""));

	if (!ok(r == 0, "turn and place"))
		return;
	const struct runtime_process *p = &config.process;

	ok(p->scheduler.policy.value == 6 && p->scheduler.flags == 6 &&
		   p->scheduler.runtime == 1 && p->scheduler.deadline == 2 &&
		   p->scheduler.period == 3 && p->io_priority.class == 3,
	   "scheduler and ioPriority");
	ok(p->cpu_affinity.initial.word[0] == 3 &&
		   p->cpu_affinity.initial.word[1] == 1 &&
		   p->cpu_affinity.final.word[15] == UINT64_C(1) << 63,
	   "processors");
	ok(!strcmp(p->apparmor_profile, "x") && !p->selinux_label, "labels");
	runtime_config_free(&config);
	r = parse(SPACES(NS ", {\"type\": \"time\"}], \"timeOffsets\": "
			    "{\"boottime\": {\"secs\": -2, \"nanosecs\": 3}}, "
			    "\"personality\": {\"domain\": \"LINUX32\"}, "
			    "\"memoryPolicy\": {\"mode\": "
			    "\"MPOL_INTERLEAVE\", \"flags\": "
			    "[\"MPOL_F_RELATIVE_NODES\"], \"nodes\": "
			    "\"1\"}, \"devices\": ["));
	if (!ok(r == 0, "clocks (%s)", r ? error : ""))
		return;
	ok(config.time_offset[RUNTIME_CLOCK_BOOTTIME].secs == -2 &&
		   config.time_offset[RUNTIME_CLOCK_BOOTTIME].nanosecs == 3 &&
		   !config.time_offset[RUNTIME_CLOCK_MONOTONIC].set,
	   "time offsets");
	ok(config.personality.value == 8 &&
		   config.memory_policy.mode.value == 3 &&
		   config.memory_policy.flags == 1 << 14 &&
		   config.memory_policy.nodes.word[0] == 2,
	   "personality and memory policy");
	runtime_config_free(&config);
}

static void test_seccomp(void)
{
	int r = parse(SECCOMP(
		", \"defaultErrnoRet\": 38, \"flags\": "
		"[\"SECCOMP_FILTER_FLAG_LOG\"], \"syscalls\": [{\"names\": "
		"[\"read\"], \"action\": \"SCMP_ACT_ALLOW\"}, {\"names\": "
		"[\"clone\"], \"action\": \"SCMP_ACT_ERRNO\", \"args\": "
		"[{\"index\": 0, \"value\": 1, \"valueTwo\": 2, \"op\": "
		"\"SCMP_CMP_MASKED_EQ\"}]}]"));

	if (!ok(r == 0, "a profile"))
		return;
	const struct runtime_seccomp *s = &config.seccomp;

	ok(s->set && s->default_action == (SECCOMP_RET_ERRNO | 38) &&
		   s->flags == SECCOMP_FILTER_FLAG_LOG && s->n_rule == 2 &&
		   s->rule[0].action == SECCOMP_RET_ALLOW &&
		   s->rule[1].action == (SECCOMP_RET_ERRNO | EPERM) &&
		   s->rule[1].n_arg == 1 && s->rule[1].arg[0].op == 7 &&
		   s->rule[1].arg[0].value_two == 2,
	   "its rules");
	runtime_config_free(&config);
}

/* Hostile sizes: much nesting, many elements, too many bytes. */
static void test_sizes(void)
{
	size_t big = RUNTIME_CONFIG_SIZE_MAX + 1;
	char *text = malloc(big);

	memset(text, ' ', big);
	ok(runtime_config_parse(&config, text, big, error) == -EFBIG &&
		   !strcmp(error,
			   "4194305 bytes are more than the 4194304 allowed"),
	   "too many bytes");
	memset(text, '[', big - 1);
	ok(runtime_config_parse(&config, text, big - 1, error) == -EINVAL,
	   "nothing but brackets");
	strcpy(text, "{\"ociVersion\": \"1.0.0\", \"mounts\": [");
	size_t n = strlen(text);

	for (; n + 3 < big - 1; n += 3)
		memcpy(text + n, "{},", 3);
	ok(runtime_config_parse(&config, text, n, error) < 0,
	   "a million mounts, cut off");
	strcpy(text + n - 6, "{}]}");
	ok(runtime_config_parse(&config, text, n - 2, error) < 0,
	   "a million mounts: %s", error);
	free(text);
}

static void test_process_alone(void)
{
	const char *text = "{\"cwd\": \"/\", \"args\": [\"id\"]}";
	int r = runtime_process_parse(&config, text, strlen(text), error);

	ok(r == 0 && config.has_process &&
		   !strcmp(config.process.args.item[0], "id"),
	   "a process alone");
	if (r == 0)
		runtime_config_free(&config);
	ok(runtime_process_parse(&config, "{}", 2, error) == -EINVAL &&
		   !strcmp(error, "cwd is missing"),
	   "a process without cwd");
}

int main(void)
{
	test_mistakes();
	test_taken();
	test_options();
	test_idmap();
	test_resources();
	test_process();
	test_schedule();
	test_seccomp();
	test_sizes();
	test_process_alone();
	ok(capability_number("kill") == 5 &&
		   capability_number("CAP_BPF") == 39 &&
		   capability_number("CAP_NO") == -1 && !capability_name(41),
	   "names of capabilities");
	return tap_done();
}
