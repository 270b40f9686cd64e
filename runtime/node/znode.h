/* The messages that znode answers on /run/zooid/znode.sock (seqpacket), for a
 * person on the node: what runs here, and a hand on it. One connection carries
 * requests and replies in order. */
#ifndef NODE_ZNODE_H
#define NODE_ZNODE_H

#include <stdint.h>

#include "base/ipc.h"
#include "base/znode_state.h"

#define ZNODE_NAME_SIZE 64
#define ZNODE_TEXT_SIZE 256
#define ZNODE_PORTS_MAX 32 /* as many as a document may name */

/* Who may ask: rows are for every uid; what is marked zagent for that uid and
 * root; the rest for root and znode's own. */
enum znode_verb {
	/* Application number `arg`, as struct znode_app. -ENOENT past the
	 * end. */
	ZNODE_APP = 1,
	/* Makes application `name` stop and stay so (until ZNODE_START or the
	 * next boot), start, or do one after the other. Replies once it got
	 * there, or with -ETIMEDOUT ... and text when it did not. */
	ZNODE_STOP,
	ZNODE_START,
	ZNODE_RESTART,
	/* The OCI config of `name` that would be used now, in a memfd sent
	 * along with the reply. */
	ZNODE_INSPECT,
	/* Takes a desired document: two memfds, its envelope, and in PEM this
	 * node's certificate chain with the root at its end. Replies once the
	 * document is on stable storage, with its epoch and revision; it is
	 * obeyed from then on. znode checks signature, pin, node and numbers
	 * itself: who asks can delay but not forge. -EKEYREJECTED, -EBADMSG
	 * (also of what is too large or not sealed);
	 * -ESTALE: not newer than what is obeyed (epoch and revision of the
	 * reply); -ENOSPC. zagent. */
	ZNODE_DESIRED,
	/* Epoch and revision of the document obeyed, 0 and 0 when there is
	 * none. zagent. */
	ZNODE_REVISION,
	/* Turns the connection into a stream of replies of this verb, with
	 * epoch and revision and no row: one at once, then one whenever a row
	 * of ZNODE_APP has changed since; several changes are one reply to who
	 * reads slowly. Counters (cpu_ms, memory_used) are no change. -EBUSY:
	 * too many watch already. zagent. */
	ZNODE_WATCH,
	/* Freezes `name` now, which replies once it is, or with -EBUSY and text
	 * while a request waits for an answer or a program runs in it; and
	 * thaws it, or wakes it when it sleeps. A request wakes it as ever.
	 * zagent, as the next. */
	ZNODE_FREEZE,
	ZNODE_THAW,
	/* Freezes it and puts it to sleep, once no client is connected to it:
	 * replies then, or with -EBUSY and text when it cannot. */
	ZNODE_SLEEP,
};

enum znode_health {
	ZNODE_HEALTH_NONE, /* nobody looks */
	ZNODE_HEALTH_STARTING,
	ZNODE_HEALTHY,
	ZNODE_UNHEALTHY,
	ZNODE_HEALTH_COUNT,
};

struct znode_port {
	uint16_t host, container;
	uint16_t bound, udp; /* 0 or 1 */
};

struct znode_app {
	char name[ZNODE_NAME_SIZE];
	char container[ZNODE_NAME_SIZE]; /* id of the instance, or "" */
	char image[272]; /* as node.json or the document names it */
	char digest[72]; /* of its manifest, "" if unknown */
	char reason[ZNODE_TEXT_SIZE]; /* of the last failure or end, or "" */
	char limit[96];		      /* that it ran into, or "" */
	uint32_t state;		      /* enum znode_state */
	uint32_t stopped;	      /* 1: by ZNODE_STOP */
	uint32_t pid;
	uint32_t restarts;
	uint32_t n_ports;
	uint32_t retry_ms;     /* until the next attempt, 0 if none */
	uint32_t from_hub;     /* 1: of the desired document, not node.json */
	uint32_t outdated;     /* 1: what runs is of an earlier document */
	uint64_t since_ms;     /* CLOCK_BOOTTIME of the last change of state */
	uint64_t started_ms;   /* CLOCK_BOOTTIME, 0 while it does not run */
	uint64_t memory_bytes; /* its limit, 0 if none */
	uint64_t memory_used;  /* of its cgroup now, 0 while it does not run */
	uint64_t cpu_ms;       /* used by its instance so far */
	uint64_t image_bytes;  /* compressed, 0 if unknown */
	uint32_t health;       /* enum znode_health */
	uint32_t reactive;     /* 1: follows access */
	char why[64];	/* it is awake, or was not frozen; "" if unknown */
	uint32_t wakes; /* since znode was started */
	uint32_t wake_p50_us; /* from thaw to first answer, of the last ones; */
	uint32_t wake_p99_us; /* 0 if none */
	uint32_t rests;	      /* 1: image only, until a client comes */
	uint32_t warm;	      /* 1: the next start is from a checkpoint */
	uint32_t extras; /* instances beside the first, for what it has to do */
	/* Its policy (oci/desired.h), 0: not. */
	uint32_t freeze_after_ms, sleep_after_ms, image_after_ms;
	uint32_t wakes_at_byte, concurrency, max, lifetime_ms;
	/* Until the next step that silence leads to, from frozen or asleep on;
	 * until it is old; 0: not known. */
	uint32_t next_ms, aged_in_ms;
	char holds[64]; /* it would not be frozen now; "" if it would */
	struct znode_port port[ZNODE_PORTS_MAX];
};

struct znode_request {
	struct ipc_head head; /* verb: enum znode_verb */
	uint32_t arg;
	uint32_t reserved;
	char name[ZNODE_NAME_SIZE];
};

struct znode_reply {
	struct ipc_head head; /* verb: that of the request */
	int32_t error;	      /* 0 or -errno */
	uint32_t reserved;
	uint64_t epoch, revision;
	char text[ZNODE_TEXT_SIZE]; /* one line when error is set */
	struct znode_app app;
};

#endif
