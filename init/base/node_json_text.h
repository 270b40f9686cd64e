/* The texts inside node.json, each to its value: no JSON, no memory, no state.
 * Private to node_json.c and its tests.
 *
 * All take foreign bytes, return 0 or -EINVAL and leave *out unset then. What
 * each of them wants is said, for the person who wrote it, in its WANT. */
#ifndef BASE_NODE_JSON_TEXT_H
#define BASE_NODE_JSON_TEXT_H

#include "node_json.h"
#include "span.h"

#define WANT_ID "want 1 to 63 of a-z, 0-9 and -"

/* An address of an interface with its prefix: one that a host can have, so
 * neither unspecified, loopback nor multicast. */
#define WANT_CIDR "want an address with prefix such as 192.0.2.7/24"
int node_text_cidr(struct span s, struct node_address *out);

/* The same without prefix, which becomes 32 or 128. */
#define WANT_ADDRESS "want an address such as 192.0.2.1 or 2001:db8::1"
int node_text_address(struct span s, struct node_address *out);

/* Whether it is IPv4, that is mapped. */
bool node_address_is_v4(const struct node_address *a);

#define WANT_MATCH \
	"want an interface name (eth0) or MAC address (52:54:00:12:34:56)"
int node_text_match(struct span s, char out[32]);

/* A hash in modular crypt format; never shown in a message. */
#define WANT_PASSWORD                                                     \
	"want a crypt hash such as $6$..., as `mkpasswd -m sha512crypt` " \
	"prints"
int node_text_password(struct span s, char out[128]);

#define WANT_TOKEN "want one such as zooid1.eyJ..., as `zhub token` prints"

/* "images/httpd" or "images/httpd:1.0", split at the colon. The path cannot
 * leave the directory it is taken from. */
#define WANT_IMAGE "want a relative path such as images/web or images/web:tag"
int node_text_image(struct span s, char image[200], char tag[64]);

/* A registry as image references name it. */
#define WANT_HOST "want a registry such as registry.example or 10.0.2.2:5000"
int node_text_host(struct span s, char host[NODE_HOST_SIZE]);

/* A file on the partition. */
#define WANT_FILE "want a relative path such as registry.pem"
int node_text_file(struct span s, char file[200]);

#define WANT_PORT "want HOST:CONTAINER, both 1 to 65535"
int node_text_port(struct span s, struct node_port *out);

/* Digits with an optional k, m or g (powers of 1,024). */
#define WANT_MEMORY "want a size from 1m to 1024g such as 64m"
int node_text_memory(struct span s, uint64_t *bytes);

#define WANT_ENVIRONMENT "want a name without spaces, = and control characters"
bool node_text_environment(struct span name);

#endif
