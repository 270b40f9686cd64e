/* One service of a Compose file while it is read. Private to compose_*.c; the
 * functions are those of the keys of its table. */
#ifndef CTL_COMPOSE_SERVICE_H
#define CTL_COMPOSE_SERVICE_H

#include "compose_walk.h"
#include "oci/desired.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

struct limit {
	uint64_t value;
	unsigned line; /* 0: not said */
};

struct pairs {
	unsigned n;
	struct walk_variable pair[DESIRED_ENV_MAX]; /* value NULL: unset */
};

/* Another name that a service has for one. */
struct service_link {
	struct service_link *next;
	const char *service, *alias;
	unsigned line;
};

/* What other services must know of one. */
struct service_seen {
	const char *name; /* as the file has it */
	char id[64];	  /* of its app */
	unsigned line;
	struct service_link *links;
	bool has_health, no_health; /* neither: the image may have one */
	uint64_t networks;	    /* a bit each */
	bool says_networks, has_ports, is_reactive;
	unsigned replicas, replicas_line;
	const char *pod;	   /* whose namespaces it shares, or NULL */
	unsigned pod_line, shares; /* DESIRED_POD_* */
	unsigned dns_line;	   /* 0: not said */
	unsigned n_depends;
	struct dependency_said *depends;
};

struct dependency_said {
	const char *name;
	enum desired_condition condition;
	bool is_optional; /* where there is no such service */
	unsigned line;
};

/* What a service says; text lives in the walk's arena. */
struct service {
	struct service_seen *seen;
	yyjson_mut_doc *doc;
	yyjson_mut_val *app; /* where keys without a second thought go */
	bool has_image, says_privileged;
	const char *image;
	char digest[DIGEST_TEXT_SIZE];
	struct pairs environment, files; /* files: of env_file */
	struct pairs labels, sysctls, extra_hosts;
	struct desired_port port[DESIRED_PORTS_MAX];
	unsigned n_ports;
	bool no_network;
	unsigned host_network_line; /* 0: not said */
	struct limit memory, cpus_milli, pids, shm, restart;
	struct limit reserved, swap, quota, period;
	const char *restart_word;
	uint64_t restart_max;
	uint64_t cap_add, cap_drop;
	unsigned sleep_after_line, image_after_line, max_line; /* 0: not said */
	unsigned policy_line, gateway_line;		       /* likewise */
	unsigned n_mounts;
	struct desired_mount mount[DESIRED_MOUNTS_MAX];
	unsigned n_depends;
	struct dependency_said depends[DESIRED_LIST_MAX];
};

typedef void service_key(struct walk *w, const struct compose_node *value,
			 void *into);

/* compose_name.c */
service_key container_name_read, aliases_read;
/* The id of what the file calls `name`; false where there is none. */
bool name_id(const char *name, char id[64]);
/* The volume of that id is `what` from now on: two that the file tells apart
 * must not become one. Its id as text that lives as long as the walk; NULL
 * after a problem. */
const char *volume_claim(struct walk *w, unsigned line, const char *id,
			 const char *what);
/* The id of seen[n], which is `node`; none before it may have the same. */
void service_names(struct walk *w, struct service_seen *seen, unsigned n,
		   const struct compose_node *node);
void service_name_write(const struct service *s);
/* That of the file's name; NULL. */
const struct service_seen *service_find(const struct service_seen *seen,
					unsigned n, const char *name);
/* `alias` is what s calls `service`. */
void link_add(struct walk *w, struct service *s, unsigned line,
	      const char *service, const char *alias);
/* When all n services are read: who is named as the file does is named by his
 * id, and each has the names that others have for it. */
void names_settle(struct walk *w, const struct service_seen *seen, unsigned n);
/* compose_command.c */
service_key command_read, entrypoint_read, image_read, healthcheck_read;
/* Whether something is left to run. */
void program_check(struct walk *w, const struct service *s);
/* compose_pairs.c */
service_key environment_read, env_file_read, labels_read, sysctls_read,
	extra_hosts_read;
void pairs_write(const struct service *s, const char *key,
		 const struct pairs *pairs);
/* compose_port.c */
service_key ports_read, expose_read;
void ports_write(const struct service *s);
/* compose_network.c */
service_key networks_top_read, networks_read, mac_address_read;
/* Whether all that it is on are internal. */
bool networks_internal(struct walk *w, const struct service *s);
/* Refuses what depends on an address that the file gives to a container. */
void addresses_check(struct walk *w, const struct service_seen *seen,
		     unsigned n);
/* Notices services that share no network: they are not kept apart. */
void networks_check(struct walk *w, const struct service_seen *seen,
		    unsigned n);
/* compose_resolver.c */
service_key dns_read, dns_search_read, dns_opt_read;
/* compose_pod.c */
service_key network_mode_read, pid_read, ipc_read, pod_read;
void pod_write(const struct service *s);
/* Ports of one with the node's network, with a notice, as Compose does. */
void host_ports_drop(struct walk *w, struct service *s);
/* After pod_write(). */
void host_network_check(struct walk *w, const struct service *s);
/* Whether each finds whom it shares namespaces with. */
void pods_check(struct walk *w, const struct service_seen *seen, unsigned n);
/* compose_replicas.c */
service_key replicas_read;
/* Makes several apps of those that are to run more than once. */
void replicas_expand(struct walk *w, const struct service_seen *seen,
		     unsigned n);
/* compose_grant.c */
service_key devices_read, privileged_read, uts_read, cgroup_read, userns_read;
/* Refuses what no grant can give yet: "bind:/etc". what may be NULL. */
void grant_needed(struct walk *w, unsigned line, const char *kind,
		  const char *what);
/* Takes what the operator gives, or says how he would; `text` as grant.h has
 * it, `hint` is said behind it. */
void grant_wanted(struct walk *w, unsigned line, struct service *s,
		  const char *text, const char *hint);
/* compose_mount.c */
service_key volumes_read, tmpfs_read;
/* The last of a target stands, as when files are merged. */
void mount_add(struct walk *w, struct service *s, unsigned line,
	       struct desired_mount m);
void mounts_write(const struct service *s);
/* compose_bind.c */
service_key bind_options;
/* A file that lies beside the Compose file goes with it, as a config does; one
 * of an absolute path, m.source, is the node's. */
void bind_read(struct walk *w, struct service *s,
	       const struct compose_node *value, struct desired_mount m);
/* What asks for nothing: a node mounts nothing later that a folder of it would
 * have to show. */
bool bind_option_idle(struct span option);
/* The file at path becomes the mount *m, whose target is said. 0, or -errno
 * after a problem was told; -EISDIR: none, it is or may be a folder. */
int bind_file(struct walk *w, struct service *s, unsigned line,
	      const char *path, struct desired_mount *m);
/* compose_folder.c: the same of a folder, or of what is not there. */
void folder_read(struct walk *w, struct service *s, unsigned line,
		 const char *path, struct desired_mount m);
/* compose_config.c */
service_key configs_read, secrets_read;
/* compose_limit.c */
service_key memory_read, cpus_read, pids_read, shm_size_read, ulimits_read,
	deploy_read, restart_read, cap_add_read, cap_drop_read, gpus_read;
void limits_write(const struct service *s);
/* It may be said in two places, but not differently. */
void limit_set(struct walk *w, struct limit *limit, unsigned line,
	       uint64_t value);
/* compose_share.c: against others */
service_key mem_reservation_read, memswap_read, cpu_shares_read, cpuset_read,
	cpu_quota_read, cpu_period_read, oom_score_adj_read;
/* Before limits_write(). */
void shares_write(struct walk *w, struct service *s);
/* compose_reactive.c */
service_key reactive_read;
void reactive_check(struct walk *w, const struct service *s);
/* compose_policy.c */
service_key policy_read;
/* What is on internal networks alone goes to its application's others only, and
 * publishes nothing. Before ports_write(). */
void policy_internal(struct walk *w, struct service *s);
void policy_check(struct walk *w, const struct service *s);
/* compose_depends.c */
service_key depends_on_read, links_read;
/* It is started after that one. */
void depend(struct walk *w, struct service *s, struct dependency_said said);
void depends_write(struct walk *w, const struct service *s);
/* Whether what services wait for is there, and they not for each other. */
void depends_check(struct walk *w, const struct service_seen *seen, unsigned n);

#endif
