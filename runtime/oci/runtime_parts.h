/* The readers that runtime_config.c puts together; one .c file each. Not for
 * others: include runtime_config.h. */
#ifndef OCI_RUNTIME_PARTS_H
#define OCI_RUNTIME_PARTS_H

#include "runtime_config.h"

#define N_OF(array) (sizeof(array) / sizeof((array)[0]))

/* out: struct runtime_process; in->warn collects warnings. */
int at_process(struct json_read *in, const struct at *at, void *out);
/* out: struct runtime_config (mount, n_mount) */
int at_mounts(struct json_read *in, const struct at *at, void *out);
/* out: struct runtime_config */
int at_linux(struct json_read *in, const struct at *at, void *out);
/* out: struct runtime_resources */
int at_resources(struct json_read *in, const struct at *at, void *out);
/* out: struct runtime_hooks[RUNTIME_HOOK_COUNT] */
int at_hooks(struct json_read *in, const struct at *at, void *out);
/* out: struct runtime_seccomp */
int at_seccomp(struct json_read *in, const struct at *at, void *out);
/* out: struct runtime_scheduler */
int at_scheduler(struct json_read *in, const struct at *at, void *out);
/* out: struct runtime_io_priority */
int at_io_priority(struct json_read *in, const struct at *at, void *out);
/* out: struct runtime_cpu_affinity */
int at_cpu_affinity(struct json_read *in, const struct at *at, void *out);
/* out: struct runtime_memory_policy */
int at_memory_policy(struct json_read *in, const struct at *at, void *out);

/* out: const char *; "" is how engines say that there is none: NULL */
int at_label(struct json_read *in, const struct at *at, void *out);
/* out: struct runtime_id_maps */
int at_id_maps(struct json_read *in, const struct at *at, void *out);
/* Reads what follows "idmap=" of a mount's option. */
int at_idmap_option(struct json_read *in, const struct at *at, const char *text,
		    struct runtime_mount *m);
int runtime_mount_maps_check(struct json_read *in, const struct at *at,
			     struct runtime_mount *m);

/* Flags (MS_SHARED ... or 0) of a propagation word of linux.rootfsPropagation
 * or a mount option; *recursive tells the r... form. 0 when it is none. */
uint64_t propagation_word(const char *word, bool *recursive);

#endif
