/* The service table: which programs init runs, in what order, as whom.
 *
 * Rule of use: a row is constant; what changes is in a struct svc that only
 * svc.c writes. One function (svc_next) decides every change of state from a
 * table, so the whole behaviour can be read in one place. */
#ifndef INIT_SVC_H
#define INIT_SVC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/loop.h"
#include "init.h"

enum {
	SVC_MAX = 16,
	SVC_ARGS_MAX = 16,
	SVC_BACKOFF_FIRST_MS = 1,
	SVC_BACKOFF_MIN_MS = 100,
	SVC_BACKOFF_MAX_MS = 30000,
	SVC_HEALTHY_MS = 60000, /* ready for so long: back-off starts anew */
	SVC_START_MS = 60000,	/* from start to ready, unless it pings */
	SVC_GRACE_MS = 5000,	/* from SIGTERM to SIGKILL */
};

enum svc_flags {
	SVC_ONCE = 1,	     /* ending with status 0 is its purpose */
	SVC_GIVE_UP = 2,     /* a failure is final too: the node goes on */
	SVC_SILENT = 4,	     /* knows no status pipe: ready once started */
	SVC_KMSG = 8,	     /* output to the kernel log, not to zlog */
	SVC_FIRST_DOWN = 16, /* stops before the containers do */
	SVC_UNCOUNTED = 32,  /* the node is ready without it */
};

struct svc_row {
	const char *name;
	const char *argv[SVC_ARGS_MAX];
	int (*run)(int argc, char **argv); /* part of init: no program */
	uint32_t needs;	    /* bit i: row i must be ready or done first */
	uint32_t flags;	    /* enum svc_flags */
	uid_t uid;	    /* gid is the same number */
	mode_t socket_mode; /* of NAME.sock; 0: it has none */
	uint32_t start_ms;  /* time-out of the start; 0: SVC_START_MS */
	int oom_score_adj;
	uint32_t open_files; /* RLIMIT_NOFILE; 0: 1024 */
	uint32_t memory_mb;  /* memory.max of its cgroup; 0: none */
	uint32_t cpu_weight; /* cpu.weight of its cgroup; 0: the usual 100 */
	/* Called in init after a SVC_GIVE_UP row failed. */
	void (*gave_up)(void);
};

enum svc_event {
	SVC_NEEDS_MET,
	SVC_IS_READY,
	SVC_ENDED_WELL, /* a SVC_ONCE row with status 0 */
	SVC_ENDED,
	SVC_FAILED,  /* a SVC_GIVE_UP row that did not end well */
	SVC_TIME_UP, /* no ping; back-off over; grace over */
	SVC_STOP,
	SVC_AGAIN, /* a job that was done */
	SVC_EVENT_COUNT,
};

enum svc_action {
	SVC_NOTHING,
	SVC_START,
	SVC_SETTLE, /* it stays as it is: let those that need it start */
	SVC_DELAY,
	SVC_RECHECK, /* of what it needs */
	SVC_TERM,
	SVC_KILL,
};

struct svc_move {
	uint8_t next;	/* enum init_service_state */
	uint8_t action; /* enum svc_action */
};

/* The transition table; pure. */
struct svc_move svc_next(enum init_service_state state, enum svc_event event);

struct svc_setup {
	struct loop *loop;
	const struct svc_row *rows;
	int n;
	int cgroup; /* directory for one cgroup each, -1: none */
	int kmsg;   /* where SVC_KMSG rows write; -1: our stderr */
	/* Called whenever no counted row waits any more. */
	void (*settled)(void);
	/* Called when every row is DONE after svc_stop_all(). */
	void (*stopped)(void);
};

/* Makes sockets, output pipes (kept in the store) and cgroups of all rows, so
 * that nothing has to be made later. A row whose socket cannot be bound is
 * reported and left without. 0 or -errno. */
int svc_init(const struct svc_setup *setup);
/* Starts what needs nothing. */
void svc_begin(void);

/* Does a job that is done once more. */
void svc_again(int row);

/* A child ended. False when it is none of ours. */
bool svc_reaped(pid_t pid, int32_t code, int32_t status);

/* Stops the rows with SVC_FIRST_DOWN; true once all of them are down. */
bool svc_stop_first(void);
/* Stops all, those that others need last. */
void svc_stop_all(void);

/* Row i as INIT_SERVICE tells it. -ENOENT past the end. */
int svc_describe(uint32_t i, struct init_service *out);

/* Row named `name`, or -1. */
int svc_row_find(const struct svc_row *rows, int n, const char *name);

#endif
