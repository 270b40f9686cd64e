/* node.json: what a person writes about one node, on the ZOOID partition.
 *
 * {
 *   "name": "n1",                          id; default "zooid"
 *   "console": {"password": "$6$..."},     crypt(3) hash that locks the console
 *   "hub": {"token": "zooid1....",         enrolment token, as zhub(8) makes it
 *           "heartbeat": 30},              seconds; default: by the path
 *   "registries": [                        how to reach those that need it
 *     {"host": "10.0.2.2:5000",            as images name it
 *      "http": true},                      without TLS
 *     {"host": "registry.example",
 *      "ca": "registry.pem",               certificates, beneath the partition
 *      "user": "me", "password": "...",
 *      "mirrors": ["10.0.2.3:5000"],       tried before it, in this order; each
 *                                          reached as its own row says
 *      "default": true},                   of it are names without a registry:
 *                                          web is library/web there
 *     {"host": "*",                        those without a row
 *      "proxy": "http://10.0.2.4:3128"}],  reached through it
 *   "interfaces": [                        default: every one by DHCP and RA
 *     {"match": "eth0" or "52:54:00:12:34:56",
 *      "address": ["192.0.2.7/24", "2001:db8::7/64"],   no DHCP then
 *      "gateway": ["192.0.2.1"], "dns": ["192.0.2.53"], "mtu": 1500}],
 *   "apps": [
 *     {"name": "web",                      id, unique
 *      "image": "images/httpd",            OCI layout beneath the partition,
 *                                          "images/httpd:tag" picks a tag
 *      "command": ["httpd", "-f"],         default: the image's
 *      "environment": {"KEY": "value"},
 *      "ports": ["8080:80"],               host:container, TCP
 *      "memory": "64m", "restart": "always" | "on-failure" | "no"}]
 * }
 *
 * The file is foreign and unsigned: it can name what to run, but grants
 * nothing. An unknown key, a wrong type, a value out of range is an error that
 * names line and key. Read by init, znode, zagent and zpull. */
#ifndef BASE_NODE_JSON_H
#define BASE_NODE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "enrol_token.h"

enum {
	NODE_JSON_SIZE_MAX = 256 << 10,
	NODE_INTERFACES_MAX = 8,
	NODE_ADDRESSES_MAX = 4,
	NODE_APPS_MAX = 16,
	NODE_ARGS_MAX = 32,
	NODE_ENV_MAX = 32,
	NODE_PORTS_MAX = 8,
	NODE_REGISTRIES_MAX = 8,
	NODE_MIRRORS_MAX = 3,
	NODE_HOST_SIZE = 264,
	NODE_ERROR_SIZE = 200,
};

struct node_address {
	uint8_t bytes[16]; /* v4 is mapped */
	uint8_t prefix;	   /* of its own family; 32/128 for a plain address */
};

struct node_interface {
	char match[32]; /* name or lower-case MAC */
	struct node_address address[NODE_ADDRESSES_MAX];
	struct node_address gateway[2];
	struct node_address dns[NODE_ADDRESSES_MAX];
	uint8_t n_address, n_gateway, n_dns;
	uint16_t mtu; /* 0: the driver's */
};

struct node_registry {
	char host[NODE_HOST_SIZE];   /* HOST or HOST:PORT */
	char ca[200];		     /* path as of an image, "": none */
	const char *user, *password; /* NULL: none */
	const char *proxy;	     /* http://[USER:PASSWORD@]HOST[:PORT] */
	const char *mirror[NODE_MIRRORS_MAX];
	uint8_t n_mirror;
	bool http, is_default;
};

enum node_restart {
	NODE_RESTART_ALWAYS,
	NODE_RESTART_ON_FAILURE,
	NODE_RESTART_NO
};

struct node_port {
	uint16_t host, container;
};

struct node_app {
	char name[64];
	char image[200]; /* relative path, checked: no "..", no leading "/" */
	char tag[64];	 /* "" when none was given */
	const char *command[NODE_ARGS_MAX + 1];	   /* NULL-terminated */
	const char *environment[NODE_ENV_MAX + 1]; /* "KEY=value" */
	struct node_port port[NODE_PORTS_MAX];
	uint8_t n_command, n_environment, n_port;
	uint64_t memory_bytes; /* 0: no limit */
	enum node_restart restart;
};

struct node_json {
	char name[64];
	char password[128];	/* "" when the console is open */
	struct enrol_token hub; /* n_hub is 0 when there is none */
	uint16_t heartbeat_s;	/* 0: as the path needs it */
	struct node_registry registry[NODE_REGISTRIES_MAX];
	struct node_interface interface[NODE_INTERFACES_MAX];
	struct node_app app[NODE_APPS_MAX];
	uint8_t n_registry, n_interface, n_app;
	/* private: where strings live */
	size_t text_used;
	char text[32 << 10];
};

/* Checks `size` bytes of text and fills *node; uses no heap. `scratch`, aligned
 * as for malloc and at least NODE_SCRATCH_SIZE(size) bytes, holds the JSON tree
 * and is free again afterwards. Returns 0, or -EINVAL / -E2BIG with one line
 * in error, such as
 *	node.json:12: apps[0].ports[1]: "80:x": want HOST:CONTAINER
 * *node then holds the defaults. *node points into itself: never copy it. */
#define NODE_SCRATCH_SIZE(text_size) (16 * (size_t)(text_size) + 4096)
int node_json_parse(const char *text, size_t size, void *scratch,
		    size_t scratch_size, struct node_json *node,
		    char error[NODE_ERROR_SIZE]);

#endif
