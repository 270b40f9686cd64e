/* Containers that sleep: what ZRUN_SLEEP and ZRUN_WAKE share. */
#ifndef ZRUN_SLEEP_H
#define ZRUN_SLEEP_H

#include "criu.h"
#include "start.h"

/* In /data/checkpoints, behind a container's id: its image before the one that
 * is being made. */
#define SLEEP_BEFORE ".before"

/* What criu calls the network namespace, which is not its to make. */
#define SLEEP_NETWORK "network"

/* How criu is called for the directory of that name in /data/checkpoints; path
 * becomes that and must live as long as the options. */
void sleep_options(struct criu_options *options, const char *name,
		   char path[static 4096]);

/* What criu writes of a container. */
struct sleep_image {
	const struct resident_container *container;
	struct runtime_config config;
	struct criu_options options;
	struct cgroup cgroup; /* of the container */
	bool runs_on;	      /* afterwards, instead of ending */
	int state_dir, dir;
	int before; /* -1: there is none, or not to be used */
	uint8_t age;
	char path[4096];
};

/* sleep_dump.c. In a worker, each 0 or -errno with the fault set.
 *
 * The sealed memfd with the container's config is read, and its cgroup and
 * state opened. */
int sleep_image_open(struct sleep_image *image, int config,
		     struct fault *fault);
/* An empty directory of that name in /data/checkpoints. That of one that ends
 * is made with what is set aside: of its sleep before. */
int sleep_image_make(struct sleep_image *image, const char *name,
		     struct fault *fault);
/* Its state says so. */
int sleep_image_note(const struct sleep_image *image, enum state_sleep sleep,
		     const uint8_t *note, struct fault *fault);
/* It is frozen, unless it was, and written; the image is yet to be closed or
 * sealed. Then, or after an error, it is the caller's to thaw. */
int sleep_image_dump(struct sleep_image *image, bool *was_frozen,
		     struct fault *fault);
/* After an error: it goes on as it was, unless nobody knows how it is. */
void sleep_image_undo(struct sleep_image *image, bool was_frozen, int error);

/* serve_sleep.c: 0, or why criu would not save it, or not all of it. */
int sleep_refuse(const struct resident_container *c, struct zrun_reply *reply);
/* After a worker was killed, and criu with it. */
void sleep_worker_lost(const struct resident_container *c);

/* serve_sleep.c: whether those who are awake keep their image for the next one;
 * and no more, where the disk is short. */
bool sleep_keeps_images(void);
void sleep_images_thin(void);

/* sleep_volume.c: writes down which volumes of `config` a checkpoint in
 * image_dir needs; 0 or -errno. Whether that of container id needs volume
 * `name`. */
int sleep_volumes_keep(int image_dir, const struct runtime_config *config);
bool sleep_has_volume(const char *id, const char *name);

/* sleep_restore.c: in a worker, with what s has made: criu makes the processes
 * out of directory `image` in /data/checkpoints, which is only read. They are
 * left stopped, the id of the first in file SLEEP_PID_FILE of the state's
 * directory. 0 or -errno with the fault set. */
#define SLEEP_PID_FILE "criu.pid"
int sleep_restore(struct start *s, const char *image);

#endif
