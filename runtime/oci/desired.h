/* The desired document: all that a hub wants of one node. It is the payload of
 * a signed envelope (envelope.h, ENVELOPE_DESIRED):
 *
 * {"node":"n-0123456789abcd",	the node's id: no other node obeys it
 *  "name":"n1",
 *  "epoch":1,"revision":42,	only ever go up, epoch first
 *  "registry":"hub",		images that start with "hub/" are the hub's own
 *  "apps":[{
 *	"name":"web",		unique in the document
 *	"image":"hub/httpd:latest",	as the operator wrote it
 *	"digest":"sha256:...",	what that was when it was applied
 *	"command":["httpd","-f"],	default: the image's
 *	"environment":{"KEY":"value"},
 *	"ports":[{"host":8080,"container":80}],	TCP
 *	"restart":"always",	or on-failure, unless-stopped, no (default)
 *	"memory":67108864,	bytes; 0 or absent: no limit
 *	"cpus":0.5,		at most three decimals
 *	"pids":100,
 *	"read_only":true,
 *	"origin":{"application":"shop","by":"alice","at":"2026-11-23T06:00:00Z"}
 * }]}
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
	DESIRED_SIZE_MAX = 256 << 10,
	DESIRED_APPS_MAX = 256,
	DESIRED_ARGS_MAX = 256,
	DESIRED_ENV_MAX = 256,
	DESIRED_PORTS_MAX = 32,
	DESIRED_IMAGE_SIZE = 256,
	DESIRED_ERROR_SIZE = 200,
};

enum desired_restart {
	DESIRED_RESTART_NO,
	DESIRED_RESTART_ON_FAILURE,
	DESIRED_RESTART_ALWAYS,
	DESIRED_RESTART_UNLESS_STOPPED,
};

struct desired_port {
	uint16_t host, container;
};

struct desired_app {
	char name[64];
	char image[DESIRED_IMAGE_SIZE];
	struct digest digest;
	bool has_digest;	    /* always, but in what an operator puts */
	const char *const *command; /* NULL-terminated, or NULL */
	const char *const *environment; /* "KEY=value", or NULL */
	uint16_t n_command, n_environment, n_ports;
	struct desired_port port[DESIRED_PORTS_MAX];
	enum desired_restart restart;
	uint64_t memory_bytes; /* 0: no limit, as for the two below */
	uint32_t cpus_milli;
	uint32_t pids;
	bool read_only;
	char application[64], by[64], at[32]; /* its origin; may be "" */
	/* Over all above but the origin: two apps that differ only in their
	 * origin are the same, so nothing restarts. */
	struct digest content;
};

struct desired {
	char node[64], name[64], registry[64];
	uint64_t epoch, revision;
	unsigned n_apps;
	struct desired_app *app;
	void *memory[2]; /* what the strings lie in */
};

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

/* The word for it in documents. */
const char *desired_restart_name(enum desired_restart restart);

/* Whether (epoch, revision) a comes after b. */
static inline bool desired_is_newer(uint64_t a_epoch, uint64_t a_revision,
				    uint64_t b_epoch, uint64_t b_revision)
{
	return a_epoch > b_epoch ||
	       (a_epoch == b_epoch && a_revision > b_revision);
}

#endif
