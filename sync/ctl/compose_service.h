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

/* What other services must know of one. */
struct service_seen {
	const char *name;
	unsigned line;
	bool has_health;
	uint64_t networks; /* a bit each */
	unsigned n_depends;
	struct dependency_said *depends;
};

struct dependency_said {
	const char *name;
	enum desired_condition condition;
	unsigned line;
};

/* What a service says; text lives in the walk's arena. */
struct service {
	struct service_seen *seen;
	yyjson_mut_doc *doc;
	yyjson_mut_val *app; /* where keys without a second thought go */
	const char *image;
	char digest[DIGEST_TEXT_SIZE];
	struct pairs environment, files; /* files: of env_file */
	struct pairs labels, sysctls, extra_hosts;
	struct desired_port port[DESIRED_PORTS_MAX];
	unsigned n_ports;
	struct limit memory, cpus_milli, pids, shm, restart;
	const char *restart_word;
	uint64_t restart_max;
	uint64_t cap_add, cap_drop;
	unsigned n_mounts;
	struct desired_mount mount[DESIRED_MOUNTS_MAX];
	unsigned n_depends;
	struct dependency_said depends[DESIRED_LIST_MAX];
};

typedef void service_key(struct walk *w, const struct compose_node *value,
			 void *into);

/* compose_command.c */
service_key command_read, entrypoint_read, image_read, healthcheck_read;
/* compose_pairs.c */
service_key environment_read, env_file_read, labels_read, sysctls_read,
	extra_hosts_read;
void pairs_write(const struct service *s, const char *key,
		 const struct pairs *pairs);
/* compose_port.c */
service_key ports_read, expose_read, networks_read, network_mode_read;
void ports_write(const struct service *s);
/* Notices services that share no network: they are not kept apart. */
void networks_check(struct walk *w, const struct service_seen *seen,
		    unsigned n);
/* compose_mount.c */
service_key volumes_read, tmpfs_read;
/* The last of a target stands, as when files are merged. */
void mount_add(struct walk *w, struct service *s, unsigned line,
	       struct desired_mount m);
void mounts_write(const struct service *s);
/* compose_config.c */
service_key configs_read;
/* compose_limit.c */
service_key memory_read, cpus_read, pids_read, shm_size_read, ulimits_read,
	deploy_read, restart_read, cap_add_read, cap_drop_read;
void limits_write(const struct service *s);
/* compose_depends.c */
service_key depends_on_read, links_read;
void depends_write(struct walk *w, const struct service *s);
/* Whether what services wait for is there, and they not for each other. */
void depends_check(struct walk *w, const struct service_seen *seen, unsigned n);

#endif
