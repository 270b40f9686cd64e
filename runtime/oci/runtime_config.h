/* The OCI runtime specification's config.json as checked structs.
 *
 * Rule of use: runtime_config_parse() on the bytes, read the struct, then
 * runtime_config_free() once; every pointer in it lives in one arena. What the
 * struct holds has passed all checks that need no system call: absolute paths
 * are absolute, numbers are in range, words are known. What zrun knows of but
 * does not carry out is refused with its JSON path, never dropped in silence;
 * properties nobody knows are skipped, as the specification demands.
 *
 * Names and meaning: https://github.com/opencontainers/runtime-spec config.md
 * and config-linux.md, version 1.2. */
#ifndef OCI_RUNTIME_CONFIG_H
#define OCI_RUNTIME_CONFIG_H

#include "runtime_json.h"

enum {
	RUNTIME_CONFIG_SIZE_MAX = 4 << 20,
	RUNTIME_ERROR_SIZE = 400,
};

/* Superblock flags, which a mount option word may set for a new file system.
 */
enum runtime_sb_flag {
	RUNTIME_SB_RDONLY = 1,
	RUNTIME_SB_SYNC = 2,
	RUNTIME_SB_DIRSYNC = 4,
	RUNTIME_SB_LAZYTIME = 8,
};

struct runtime_id_map {
	uint32_t container_id, host_id, size;
};

struct runtime_id_maps {
	struct runtime_id_map *item;
	size_t n;
	bool relative; /* of a mount: host_id is one of the container */
};

struct runtime_mount {
	const char *destination;       /* absolute */
	const char *type;	       /* "bind" for a bind mount; else given */
	const char *source;	       /* NULL when absent */
	uint64_t attr_set, attr_clear; /* MOUNT_ATTR_*, this mount */
	uint64_t tree_attr_set, tree_attr_clear; /* and those below it (r...) */
	uint64_t propagation;	   /* MS_SHARED ...; 0 when not given */
	uint64_t tree_propagation; /* the same, recursive */
	uint32_t sb_set, sb_clear; /* enum runtime_sb_flag */
	bool bind, recursive, remount;
	bool source_nofollow, destination_nofollow;
	bool copy_symlink; /* a source that is a link is made anew */
	bool copy_up;	   /* a tmpfs begins with what lies under it */
	bool fill;	   /* so does a bind mount whose source is empty */
	bool idmap, idmap_recursive;
	/* container_id: of the file system; host_id: shown. None: the maps of
	 * the container's user namespace. */
	struct runtime_id_maps uid_maps, gid_maps;
	struct text_list data; /* what is left, for the file system */
};

enum runtime_capability_set {
	RUNTIME_CAP_BOUNDING,
	RUNTIME_CAP_EFFECTIVE,
	RUNTIME_CAP_INHERITABLE,
	RUNTIME_CAP_PERMITTED,
	RUNTIME_CAP_AMBIENT,
	RUNTIME_CAP_SET_COUNT,
};

/* CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID, SETPCAP,
 * NET_BIND_SERVICE, NET_RAW, SYS_CHROOT, MKNOD, AUDIT_WRITE, SETFCAP: what
 * other engines give by default, and no container of a node gets more. */
#define RUNTIME_CAP_DEFAULT UINT64_C(0xa80425fb)

struct runtime_rlimit {
	uint32_t resource; /* RLIMIT_* */
	uint64_t soft, hard;
};

struct runtime_user {
	uint32_t uid, gid;
	const char *name; /* "username"; only zrun serve reads it (serve.h) */
	struct maybe_u32 umask;
	struct u32_list additional_gids;
};

/* Processors or memory nodes, bit n of word n / 64: number n. */
enum { RUNTIME_NUMBER_SET_SIZE = 1024 };

struct runtime_number_set {
	bool set;
	uint64_t word[RUNTIME_NUMBER_SET_SIZE / 64];
};

struct runtime_scheduler {
	struct maybe_u32 policy; /* SCHED_*; not set: leave as it is */
	uint32_t priority, flags;
	int64_t nice;
	uint64_t runtime, deadline, period; /* ns */
};

struct runtime_io_priority {
	uint32_t class; /* IOPRIO_CLASS_*; 0: leave as it is */
	uint32_t priority;
};

/* Of exec only: before and after it entered the container's cgroup. */
struct runtime_cpu_affinity {
	struct runtime_number_set initial, final;
};

struct runtime_process {
	bool terminal, no_new_privileges;
	uint32_t console_width, console_height;
	struct text_list args, env;
	const char *cwd;
	struct runtime_user user;
	bool has_capabilities;
	uint64_t capability[RUNTIME_CAP_SET_COUNT]; /* bit n: CAP number n */
	struct runtime_rlimit *rlimit;
	size_t n_rlimit;
	struct maybe_i64 oom_score_adj;
	struct runtime_scheduler scheduler;
	struct runtime_io_priority io_priority;
	struct runtime_cpu_affinity cpu_affinity;
	const char *apparmor_profile, *selinux_label; /* NULL: none */
};

enum runtime_namespace {
	RUNTIME_NS_USER, /* first: it is joined first */
	RUNTIME_NS_PID,
	RUNTIME_NS_NETWORK,
	RUNTIME_NS_IPC,
	RUNTIME_NS_UTS,
	RUNTIME_NS_CGROUP,
	RUNTIME_NS_TIME,
	RUNTIME_NS_MOUNT, /* last: afterwards paths lead elsewhere */
	RUNTIME_NS_COUNT,
};

struct runtime_namespace_use {
	bool set;
	const char *path; /* to join; NULL: a new one */
};

struct runtime_device {
	const char *path;
	char type; /* 'c', 'b', 'p' */
	uint32_t major, minor;
	uint32_t mode, uid, gid;
};

/* One rule for the cgroup's device program. */
struct runtime_device_rule {
	bool allow;
	char type;		       /* 'a', 'c', 'b' */
	struct maybe_i64 major, minor; /* not set: any */
	uint8_t access;		       /* RUNTIME_DEVICE_* */
};

enum {
	RUNTIME_DEVICE_MKNOD = 1, /* as BPF_DEVCG_ACC_* */
	RUNTIME_DEVICE_READ = 2,
	RUNTIME_DEVICE_WRITE = 4,
};

struct runtime_throttle {
	uint32_t major, minor;
	uint64_t rate;
};

struct runtime_throttles {
	struct runtime_throttle *item;
	size_t n;
};

struct runtime_weight_device {
	uint32_t major, minor;
	uint32_t weight;
};

struct runtime_hugepage {
	const char *page_size;
	uint64_t limit;
};

struct runtime_cpu {
	struct maybe_u64 shares, period, burst;
	struct maybe_i64 quota, idle;
	const char *cpus, *mems;
};

struct runtime_memory {
	struct maybe_i64 limit, reservation, swap;
	bool check_before_update; /* no limit below what is in use */
};

struct runtime_block_io {
	struct maybe_u32 weight;
	struct runtime_weight_device *weight_device;
	size_t n_weight_device;
	struct runtime_throttles read_bps, write_bps, read_iops, write_iops;
};

struct runtime_rdma {
	const char *device;
	struct maybe_u32 handles, objects;
};

struct runtime_resources {
	struct runtime_cpu cpu;
	struct runtime_memory memory;
	struct maybe_i64 pids_limit;
	struct runtime_block_io block_io;
	struct runtime_hugepage *hugepage;
	size_t n_hugepage;
	struct runtime_device_rule *device;
	size_t n_device;
	struct runtime_rdma *rdma;
	size_t n_rdma;
	struct text_map unified;
};

struct runtime_seccomp_arg {
	uint32_t index;
	uint64_t value, value_two;
	uint32_t op; /* enum scmp_compare of libseccomp */
};

struct runtime_seccomp_rule {
	struct text_list names;
	uint32_t action; /* SECCOMP_RET_* with the errno in its data */
	struct runtime_seccomp_arg *arg;
	size_t n_arg;
};

struct runtime_seccomp {
	bool set;
	uint32_t default_action;	/* as above */
	struct text_list architectures; /* "SCMP_ARCH_..." */
	uint32_t flags;			/* SECCOMP_FILTER_FLAG_* */
	bool notifies; /* a rule has SCMP_ACT_NOTIFY: the path is set */
	const char *listener_path, *listener_metadata;
	struct runtime_seccomp_rule *rule;
	size_t n_rule;
};

struct runtime_memory_policy {
	struct maybe_u32 mode; /* MPOL_*; not set: leave as it is */
	uint32_t flags;	       /* MPOL_F_* */
	struct runtime_number_set nodes;
};

/* Schemata as the kernel's resctrl file system has them: "L3:0=ff;1=f". */
struct runtime_intel_rdt {
	bool set;
	const char *clos_id; /* NULL: the container's id */
	const char *l3_cache_schema, *mem_bw_schema;
	struct text_list schemata; /* in place of both (1.3) */
	bool enable_cmt, enable_mbm;
	bool enable_monitoring; /* a monitoring group of its own (1.3) */
};

struct runtime_net_device {
	const char *host_name;
	const char *name; /* inside; may hold "%d" */
};

enum runtime_clock {
	RUNTIME_CLOCK_MONOTONIC,
	RUNTIME_CLOCK_BOOTTIME,
	RUNTIME_CLOCK_COUNT,
};

struct runtime_time_offset {
	bool set;
	int64_t secs;
	uint32_t nanosecs;
};

/* In the order of a container's life. */
enum runtime_hook_kind {
	RUNTIME_HOOK_PRESTART,
	RUNTIME_HOOK_CREATE_RUNTIME,
	RUNTIME_HOOK_CREATE_CONTAINER,
	RUNTIME_HOOK_START_CONTAINER,
	RUNTIME_HOOK_POSTSTART,
	RUNTIME_HOOK_POSTSTOP,
	RUNTIME_HOOK_COUNT,
};

struct runtime_hook {
	const char *path;	    /* absolute */
	struct text_list args, env; /* args.n 0: the path alone */
	uint32_t timeout_s;	    /* 0: none */
};

struct runtime_hooks {
	struct runtime_hook *item;
	size_t n;
};

struct runtime_config {
	const char *version;
	const char *root_path;
	bool root_readonly;
	const char *hostname, *domainname;
	bool has_process;
	struct runtime_process process;
	struct runtime_mount *mount;
	size_t n_mount;
	struct text_map annotations;
	struct runtime_hooks hooks[RUNTIME_HOOK_COUNT];

	struct runtime_namespace_use namespace[RUNTIME_NS_COUNT];
	struct runtime_id_maps uid_maps, gid_maps;
	struct runtime_device *device;
	size_t n_device;
	const char *cgroups_path;
	struct runtime_resources resources;
	struct runtime_net_device *net_device;
	size_t n_net_device;
	struct runtime_memory_policy memory_policy;
	struct runtime_intel_rdt intel_rdt;
	const char *mount_label; /* SELinux; NULL when not given */
	struct runtime_time_offset time_offset[RUNTIME_CLOCK_COUNT];
	struct maybe_u32 personality; /* PER_LINUX, PER_LINUX32 */
	struct text_map sysctl;
	struct runtime_seccomp seccomp;
	struct text_list masked_paths, readonly_paths;
	uint64_t rootfs_propagation; /* MS_SHARED ...; 0 when not given */
	bool rootfs_propagation_recursive;

	/* What the specification wants logged, not refused. */
	char *warning[JSON_WARNINGS_MAX];
	size_t n_warning;
	struct arena arena;
};

/* Parses and checks size bytes. Returns 0, or -errno with one line in error,
 * such as "linux.resources.memory.limit: want an integer"; nothing is to be
 * freed then. */
int runtime_config_parse(struct runtime_config *config, const void *text,
			 size_t size, char error[RUNTIME_ERROR_SIZE]);

/* The same for an OCI process object alone (of exec); only config->process,
 * warning and arena are set. */
int runtime_process_parse(struct runtime_config *config, const void *text,
			  size_t size, char error[RUNTIME_ERROR_SIZE]);

/* The same for linux.resources alone (of update), and for mounts alone. */
int runtime_resources_parse(struct runtime_config *config, const void *text,
			    size_t size, char error[RUNTIME_ERROR_SIZE]);
int runtime_mounts_parse(struct runtime_config *config, const void *text,
			 size_t size, char error[RUNTIME_ERROR_SIZE]);

void runtime_config_free(struct runtime_config *config);

/* "CAP_KILL" (any case, with or without the prefix) to its number; -1. */
int capability_number(const char *name);
/* NULL past the last one that this code knows. */
const char *capability_name(unsigned number);
/* RLIMIT_* of "RLIMIT_NOFILE"; -1. */
int rlimit_number(const char *name);
/* "RLIMIT_NOFILE" of such a number; NULL. */
const char *rlimit_name(int number);
/* "pid", "network", ... as the specification spells them. */
const char *runtime_namespace_name(enum runtime_namespace ns);
/* "monotonic", "boottime". */
const char *runtime_clock_name(enum runtime_clock clock);
/* "MPOL_BIND" ..., "MPOL_F_STATIC_NODES" ...; NULL past the last. */
const char *runtime_memory_mode(size_t i);
const char *runtime_memory_flag(size_t i);
/* "prestart" ... */
const char *runtime_hook_name(enum runtime_hook_kind kind);
/* Every word that a mount option may be, besides the file system's own;
 * NULL past the last. */
const char *runtime_mount_word(size_t i);

#endif
