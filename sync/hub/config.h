/* hub.json: what `zhub init` was told of this hub. See sync.5. */
#ifndef HUB_CONFIG_H
#define HUB_CONFIG_H

#include "ca.h"
#include "registry/reference.h"

enum {
	CONFIG_ADDRESSES_MAX = CERT_NAMES_MAX,
	CONFIG_HOST_SIZE = 262, /* a DNS name, ":" and a port */
	CONFIG_UPSTREAMS_MAX = 32,
};

/* Another registry that images may be pulled through from. */
struct config_upstream {
	char host[REFERENCE_HOST_SIZE]; /* or "*": any public one */
	bool plain;			/* HTTP without TLS */
	bool is_default;		/* names without a host are of it */
	char ca[128]; /* a file beneath the folder; "": the system's */
	char user[128], password[512];
};

struct config {
	char name[64];
	char listen[CONFIG_HOST_SIZE]; /* "[::]:443" */
	/* "host:port" that clients dial, and the hosts alone. */
	char address[CONFIG_ADDRESSES_MAX][CONFIG_HOST_SIZE];
	char host[CONFIG_ADDRESSES_MAX][CONFIG_HOST_SIZE];
	const char *names[CONFIG_ADDRESSES_MAX]; /* points to host[] */
	unsigned n_addresses;
	struct config_upstream upstream[CONFIG_UPSTREAMS_MAX];
	unsigned n_upstreams;
};

/* Takes apart "host:port", ":port", "[v6]:port", "host", "v6"; port is what is
 * said after the last colon, else stays. 0 or -EINVAL. */
int config_split(const char *text, char host[CONFIG_HOST_SIZE], uint16_t *port);

/* What was given by --listen: an IP address and a port that is not 0. 0 or
 * -EINVAL. */
int config_listen_set(struct config *config, struct span text);

/* Adds what was given by --address; a port that is not said is that of listen.
 * 0, -EINVAL, -E2BIG after one log line. */
int config_address_add(struct config *config, const char *text);

struct ca_names config_names(const struct config *config);

/* The member "upstreams" of hub.json; into is the struct config. */
struct json_walk;
struct yyjson_val;
int config_upstreams_read(struct json_walk *w, struct yyjson_val *v,
			  void *into);
/* Without that member: any public registry by HTTPS. */
void config_upstreams_default(struct config *config);

/* Adds what was given by --upstream, HOST[,default], to go into hub.json. 0,
 * -EINVAL, -E2BIG after one log line. */
int config_upstream_add(struct config *config, const char *text);

/* Reads and writes dir/hub.json; of upstreams only host and default are
 * written. 0 or -errno after one log line. */
int config_load(int dir, struct config *config);
int config_save(int dir, const struct config *config);

/* Opens the socket that config->listen says, non-blocking. The descriptor or
 * -errno after one log line. */
int config_listen(const char *listen);

#endif
