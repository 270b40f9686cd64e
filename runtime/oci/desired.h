/* The desired document: all that a hub wants of one node. It is the payload of
 * a signed envelope (envelope.h, ENVELOPE_DESIRED):
 *
 * {"node":"n-0123456789abcd",	the node's id: no other node obeys it
 *  "name":"n1",
 *  "epoch":1,"revision":42,	only ever go up, epoch first
 *  "registry":"hub",		images that start with "hub/" are the hub's own
 *  "apps":[{...}]}
 *
 * The keys of an app are those of sync.5; each has a member of struct
 * desired_app of the same name, which says what it means.
 *
 * Who chose the bytes: a hub that holds the organism's key, so they are honest
 * or all is lost; but it may be of another version, and the apps in it came
 * from operators. Every key, type, count and range is checked; what this
 * version does not know is refused, since running half of what was asked for
 * is worse than keeping what runs. No I/O. */
#ifndef OCI_DESIRED_H
#define OCI_DESIRED_H

#include "oci/digest/digest.h"

enum {
	DESIRED_SIZE_MAX = 512 << 10,
	DESIRED_APPS_MAX = 1024,
	DESIRED_ARGS_MAX = 256,
	DESIRED_ENV_MAX = 256,
	DESIRED_PORTS_MAX = 32,
	DESIRED_MOUNTS_MAX = 64,
	DESIRED_LIST_MAX = 64, /* of every other list */
	DESIRED_GROUPS_MAX = 16,
	DESIRED_RESOLVER_MAX = 6, /* search domains, and options */
	DESIRED_ALIASES_MAX = 48, /* bytes, with one before each */
	DESIRED_NAMES_SIZE = 64 + DESIRED_ALIASES_MAX, /* desired_names() */
	DESIRED_OOM_SCORE_MAX = 1000,
	DESIRED_CPU_SHARES_MAX = 262144,
	DESIRED_IMAGE_SIZE = 256,
	DESIRED_ERROR_SIZE = 200,
	DESIRED_TIME_MAX_MS = 24 * 3600 * 1000, /* of every time */
	DESIRED_FREEZE_MIN_MS = 100,
	DESIRED_FREEZE_AFTER_MS = 30000, /* where none is said */
	DESIRED_LIFETIME_MIN_MS = 1000,
	DESIRED_CONCURRENCY_MAX = 10000,
	DESIRED_INSTANCES_MAX = 10,
};

enum desired_restart {
	DESIRED_RESTART_NO,
	DESIRED_RESTART_ON_FAILURE,
	DESIRED_RESTART_ALWAYS,
	DESIRED_RESTART_UNLESS_STOPPED,
};

struct desired_port {
	uint16_t host, container;
	/* Where the node listens: IPv6, or v4-mapped; zero: everywhere. */
	uint8_t address[16];
	bool udp;		/* else TCP; of one number they are two ports */
	uint8_t proxy_protocol; /* version of its header that the container is
				 * sent before all else: 2; 0: none */
};

/* Whether it can be a word of a line of resolv.conf: at most 63 of letters,
 * digits and . _ : - */
bool desired_resolver_word(const char *text);

/* Whether both are one port of a node. */
bool desired_port_same(const struct desired_port *a,
		       const struct desired_port *b);

/* The 16 bytes of an address of either family in digits, without brackets or
 * zone. 0 or -EINVAL. */
int desired_address(struct span text, uint8_t address[16]);

/* item NULL while n is 0, else with a NULL at its end. */
struct desired_list {
	const char *const *item;
	unsigned n;
};

enum desired_mount_type {
	DESIRED_MOUNT_VOLUME, /* a directory that outlives the container */
	DESIRED_MOUNT_TMPFS,
	DESIRED_MOUNT_FILE, /* of what the document itself holds */
	DESIRED_MOUNT_SECRET,
};

struct desired_mount {
	enum desired_mount_type type;
	const char *target; /* absolute, without "." and ".." */
	const char *source; /* VOLUME: an id within its application, or where
			     * it is external its name on the node: ID or
			     * APPLICATION.ID */
	bool external;	    /* VOLUME: it must be there already */
	/* FILE: the text. SECRET: the text, sealed to the node (sync/wire/
	 * seal.h), "" when the hub could not; in what an operator puts it is
	 * plain. */
	const char *content;
	bool read_only;
	bool nocopy;	     /* VOLUME: stays empty where the image has files */
	uint64_t size_bytes; /* VOLUME, TMPFS: at most; 0: no limit */
	uint32_t mode;	     /* not VOLUME: permissions; 0: the default */
	uint32_t uid, gid;   /* FILE, SECRET */
	bool has_owner;	     /* SECRET: uid or gid is said; else the user's */
};

struct desired_ulimit {
	int resource;	     /* RLIMIT_* */
	uint64_t soft, hard; /* UINT64_MAX: unlimited */
};

enum desired_condition {
	DESIRED_STARTED,
	DESIRED_HEALTHY,
	DESIRED_COMPLETED, /* ended with 0 */
};

struct desired_dependency {
	const char *app; /* of the same document */
	enum desired_condition condition;
};

/* Namespaces that an app shares with another one. */
enum {
	DESIRED_POD_NETWORK = 1,
	DESIRED_POD_PID = 2,
	DESIRED_POD_IPC = 4,
};

/* The two are of one application; the other one has namespaces of its own. */
struct desired_pod {
	struct desired_dependency on; /* app NULL: none */
	unsigned shares;	      /* DESIRED_POD_* */
};

/* Times in ms; 0 is what the image says, else Docker's default. */
struct desired_health {
	bool off;
	struct desired_list test; /* what is run; none: what the image says */
	uint32_t interval, timeout, start_period, start_interval;
	uint32_t retries;
};

/* How it follows access. Of no matter to an instance that runs, so not part of
 * the content. */
struct desired_reactive {
	bool is_on; /* else nothing is ever frozen */
	bool wakes_at_byte;
	/* Written to disk when it first listens, and later started from there.
	 * Without a volume that it may write, a pod, and init. */
	bool checkpoints;
	uint32_t freeze_after_ms;
	/* Then it is written to disk, and made anew for the next client; not
	 * before it is frozen; 0: never. Only with ports. */
	uint32_t sleep_after_ms;
	/* Then it is stopped, and is not started before a client comes; 0:
	 * never. Only with ports. */
	uint32_t image_after_ms;
	/* Where one has more requests to answer than concurrency, more are
	 * started, up to max; 0: not. Only with ports. */
	uint32_t concurrency, max;
	/* An instance that is older is replaced, as by one of another content;
	 * 0: never. */
	uint32_t lifetime_ms;
};

/* Where it may go, as net_policy.h says; what is 0 has no limit. */
struct desired_policy {
	bool is_said;
	bool denies; /* what no rule matches */
	struct desired_list rules;
	uint64_t bytes_up, bytes_down; /* a second */
	uint64_t connections;	       /* a second */
};

struct desired_app {
	char name[64];
	char image[DESIRED_IMAGE_SIZE];
	/* By which the others of its application find it; "": its name. Those
	 * that share one are found in turn. And what else it is called. */
	char service[64];
	struct desired_list aliases;
	struct digest digest;
	bool has_digest; /* always, but in what an operator puts */
	/* The image's where there are none and it is not said so; an entrypoint
	 * that is said leaves the image's command out too. */
	struct desired_list entrypoint, command;
	bool no_entrypoint, no_command;
	struct desired_list environment; /* "KEY=value" */
	uint16_t n_ports;
	struct desired_port port[DESIRED_PORTS_MAX];
	enum desired_restart restart;
	uint32_t restart_max;  /* ON_FAILURE: starts anew; 0: for ever */
	uint64_t memory_bytes; /* 0: no limit, as for the two below */
	uint32_t cpus_milli;
	uint32_t pids;
	/* Of memory: what others' need leaves it, and together with swap; 0:
	 * not said, and UINT64_MAX of the second: without a limit. */
	uint64_t memory_reserved_bytes, memory_swap_bytes;
	uint32_t cpu_shares; /* against its siblings; 0: as they */
	const char *cpuset;  /* as 0-3,7; NULL: any */
	uint32_t oom_score;  /* how early it is killed, 0 to 1000 */
	uint64_t shm_bytes;  /* 0: the default */
	/* Of the files of its log, and how many; 0: the default. */
	uint32_t log_bytes, log_files;
	bool read_only;
	bool no_network;
	/* As `grants` says; DESIRED_POD_*. */
	bool privileged;
	unsigned host_shares;
	bool init;	 /* its first process is the node's, which reaps */
	bool stdin_open; /* and silent, where it is else at its end */
	const char *user, *working_dir, *stop_signal; /* NULL: the image's */
	const char *hostname;			      /* NULL: its name */
	const char *domainname;			      /* of NIS; NULL: none */
	uint32_t stop_grace_ms;			      /* 0: the default */
	struct desired_list group_add; /* numbers, or names of the image */
	struct desired_list labels, sysctls;	 /* "KEY=value" */
	struct desired_list extra_hosts;	 /* "NAME=ADDRESS" */
	struct desired_list dns_search, dns_opt; /* of resolv.conf */
	/* Name servers, in place of the node's; those of its own loopback it
	 * asks by itself. */
	struct desired_list dns;
	/* Of OCI's default ones; bit n is number n. */
	uint64_t cap_drop;
	struct desired_list grants; /* each as grant.h says */
	unsigned n_mounts, n_ulimits, n_depends;
	struct desired_mount *mount;
	struct desired_ulimit *ulimit;
	struct desired_dependency *depends_on;
	struct desired_pod pod;
	struct desired_health health;
	struct desired_reactive reactive;
	struct desired_policy policy;
	char application[64], by[64], at[32]; /* its origin; may be "" */
	/* Over all above but origin and reactive: two apps that differ only in
	 * these are the same, so nothing restarts. Where there are volumes,
	 * which belong to an application, its name counts. */
	struct digest content;
};

struct desired {
	char node[64], name[64], registry[64];
	uint64_t epoch, revision;
	unsigned n_apps;
	struct desired_app *app;
	void *memory[2];	      /* what the strings lie in */
	struct desired_block *blocks; /* and the arrays of an app */
};

/* Whether it is a group's number, or can be its name. */
bool desired_group_valid(const char *text);

/* Whether it is a list of processors, as 0-3,7. */
bool desired_cpuset_valid(const char *text);

/* Whether it can be a name of a service: 1 to 63 of a-z, 0-9, - _ and ., the
 * last not at an end. */
bool desired_name_valid(struct span name);

/* The names by which others of its application find an app, that of its service
 * first, with a space between. */
void desired_names(const struct desired_app *app, char out[DESIRED_NAMES_SIZE]);

/* Parses a document. On 0 the caller frees *desired with desired_free();
 * -EINVAL, -E2BIG, -ENOMEM with one line in error, such as
 *	desired:1: apps[0].ports[1].host: 0: want a port, 1 to 65535
 * Values of the environment are never in it. */
int desired_parse(struct span text, struct desired *desired,
		  char error[DESIRED_ERROR_SIZE]);
void desired_free(struct desired *desired);

/* The apps of an operator's PUT /v1/apps/NAME: the same array "apps", where
 * "digest" and "origin" may be missing. The rest of *desired is empty. */
int desired_parse_apps(struct span text, struct desired *desired,
		       char error[DESIRED_ERROR_SIZE]);

/* Whether the name server at the address is in the container itself. */
bool desired_dns_own(const char *address);

/* Whether the network is to know a policy of the app, or its name servers. */
bool desired_has_policy(const struct desired_app *app);

/* They as the text of net_policy.h, a line each; text has room for
 * NET_POLICY_TEXT_MAX bytes. */
void desired_policy_text(const struct desired_app *app, char *text);

/* Whether it can be the name of a volume on a node: ID or APPLICATION.ID. */
bool desired_volume_valid(const char *name);

/* Whether it is an absolute path to something below "/", without "." and ".."
 * as parts. */
bool desired_path_valid(struct span path);

/* Whether (epoch, revision) a comes after b. */
static inline bool desired_is_newer(uint64_t a_epoch, uint64_t a_revision,
				    uint64_t b_epoch, uint64_t b_revision)
{
	return a_epoch > b_epoch ||
	       (a_epoch == b_epoch && a_revision > b_revision);
}

#endif
