/* The config of one image (image-spec, config.md): what to run by default, and
 * the digests of the uncompressed layers. See image_descriptor.h. */
#ifndef OCI_IMAGE_CONFIG_H
#define OCI_IMAGE_CONFIG_H

#include "image_descriptor.h"

enum {
	IMAGE_STRINGS_MAX = 512,
	IMAGE_PORTS_MAX = 64,
	IMAGE_LABELS_MAX = 256,
};

/* Strings without NUL bytes; item[n] is NULL, as in argv. */
struct image_strings {
	unsigned n;
	const char *item[IMAGE_STRINGS_MAX + 1];
};

struct image_label {
	const char *key, *value;
};

/* Docker's HEALTHCHECK, which the OCI specification does not have. Times in
 * ms; 0: not said. */
struct image_health {
	bool off;		   /* of an image that this one is made from */
	struct image_strings test; /* what is run; none: not said */
	uint32_t interval, timeout, start_period, start_interval;
	uint32_t retries;
};

enum image_protocol { IMAGE_TCP, IMAGE_UDP, IMAGE_SCTP };

struct image_port {
	uint16_t port;
	uint8_t protocol; /* enum image_protocol */
};

/* Strings live as long as the config. */
struct image_config {
	struct image_platform platform;
	struct image_strings entrypoint, command;
	struct image_strings environment; /* each "NAME=value" */
	struct image_strings volumes;	  /* absolute paths in the container */
	const char *user;		  /* "" when not stated, as all three */
	const char *working_dir;	  /* absolute or "" */
	const char *stop_signal;	  /* "SIGQUIT", "3" or "" */
	struct image_health health;
	unsigned n_ports, n_labels, n_diff_ids;
	struct image_port port[IMAGE_PORTS_MAX];
	struct image_label label[IMAGE_LABELS_MAX];
	struct digest diff_id[IMAGE_LAYERS_MAX]; /* bottom first */
	void *document;				 /* private: owns the strings */
};

/* Fills *config, to be freed with image_config_free() whatever the result. 0,
 * -EINVAL, -E2BIG, -ENOMEM. */
int image_config_parse(struct span text, struct image_config *config,
		       char error[IMAGE_ERROR_SIZE]);
void image_config_free(struct image_config *config);

#endif
