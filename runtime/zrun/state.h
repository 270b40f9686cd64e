/* What zrun keeps of a container: one directory ROOT/ID, mode 0700, with
 *
 *	state.json	the struct below, replaced by temp + rename
 *	config.json	a copy of the config it was made from
 *	start.sock	where its first process waits for `zrun start`
 *
 * A directory without state.json is a start that was cut short: it can be
 * deleted with --force, and `list` shows it. */
#ifndef ZRUN_STATE_H
#define ZRUN_STATE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "fault.h"

#define STATE_ID_SIZE	   256
#define STATE_START_SOCKET "start.sock"
#define STATE_RESCTRL	   "resctrl"	/* see resctrl.h */
#define STATE_ROOT_MOUNT   "root.mount" /* see root_mount.h */

enum status {
	STATUS_CREATING,
	STATUS_CREATED,
	STATUS_RUNNING,
	STATUS_PAUSED,
	STATUS_STOPPED,
	STATUS_COUNT,
};

/* Of zrun serve only; between: what there is, is neither whole. */
enum state_sleep {
	SLEEP_AWAKE,
	SLEEP_BETWEEN,
	SLEEP_ASLEEP,
};

struct state {
	char id[STATE_ID_SIZE];
	pid_t pid;	     /* of the first process; 0: not made yet */
	uint64_t start_time; /* field 22 of its /proc/PID/stat */
	uint64_t created;    /* seconds since 1970 */
	char cgroup[1024];   /* below the v2 tree; "" when it has none */
	/* of zrun serve only */
	uint32_t address; /* IPv4, host order; 0: none */
	char digest[80];
	char application[64]; /* that it is a part of; "" is one too */
	enum state_sleep sleep;
	uint64_t capabilities; /* granted beyond the default */
	uint8_t note[192]; /* of SLEEP_ASLEEP: znode's, as in init's store */
	char bundle[4096]; /* mostly short: the end of it is never touched */
	char rootfs[4096];
};

const char *status_name(enum status status);

/* Opens (and makes, when `make`) the directory of all containers. */
int state_root(const char *path, bool make, struct fault *fault);
/* Makes the directory of a new container. -EEXIST. */
int state_make(int root, const char *id, struct fault *fault);
/* Opens that of an existing one. -ENOENT. */
int state_open(int root, const char *id, struct fault *fault);
int state_remove(int root, const char *id);
/* Letters, digits and "_+-.", not "." nor "..", at most 255. */
bool state_id_valid(const char *id);

/* That of a container which is only half made. */
void state_empty(struct state *state, const char *id);
int state_write(int dir, const struct state *state);
/* The same in two steps, of which the second one is a rename alone; before it
 * there is no new state. For a file system without storage, since nothing is
 * synced. */
int state_stage(int dir, const struct state *state);
/* The same in two steps: an empty file, which says that the container is half
 * made, and what is in it. A descriptor or -errno; 0 or -errno. */
int state_create(int dir);
int state_put(int file, const struct state *state);
int state_commit(int dir);
/* -ENOENT when the container is only half made. */
int state_read(int dir, struct state *state, struct fault *fault);

/* Looks at the process. dir may be -1. */
enum status state_status(int dir, const struct state *state);
/* Field 22 of /proc/PID/stat; 0 when there is no such process or it is a
 * zombie. */
uint64_t process_start_time(pid_t pid);
/* A pidfd of the container's first process, or -ESRCH. */
int state_pidfd(const struct state *state);

/* The listener that the first process takes along; and the way to it. */
int start_listen(int dir);
int start_connect(int dir);

#endif
