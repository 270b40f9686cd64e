/* The messages that init serves on /run/zooid/init.sock (seqpacket).
 *
 * init is the descriptor store and the parent of every container: what it
 * holds survives the death of every daemon. An entry has a key
 * (kind/container/n), one descriptor, an owner uid, and a note, some bytes
 * that init keeps and never reads: whoever is restarted finds in it all that
 * it needs to go on.
 *
 * One connection carries requests and replies in order. After INIT_WATCH a
 * connection only carries struct init_event from init: first one ADDED (or
 * EXITED) for each entry that exists, then SYNCED, then changes as they come;
 * a slow watcher delays only itself and always ends at the latest state. */
#ifndef ZOOID_INIT_H
#define ZOOID_INIT_H

#include <stdint.h>

#include "base/ipc.h"

#define INIT_NAME_SIZE 64
#define INIT_NOTE_SIZE 192

enum init_kind {
	INIT_KIND_PIDFD,  /* a container's process; put by zrun serve. n 0:
			   * its first one; else one of ZRUN_EXEC, dropped by
			   * who asked for that, at the latest by ZRUN_DELETE */
	INIT_KIND_OUTPUT, /* read end of an output pipe; zlog may watch */
	INIT_KIND_LISTEN, /* published listener, made by INIT_BIND; znet */
	INIT_KIND_TUN,	  /* znet */
	INIT_KIND_NETNS,  /* zrun serve */
	INIT_KIND_BUD,	  /* a process that waits to become a container; put by
			   * zrun serve as container INIT_BUDS, n its pid.
			   * Killed and forgotten when the connection that put
			   * it ends */
	INIT_KIND_COUNT,
};

/* Who may do what: root and a console on the machine everything; other uids
 * only what is named here. */
enum init_verb {
	/* Keeps the one descriptor sent along under key. For INIT_KIND_PIDFD
	 * the reply means that init has it (only then may the container run).
	 * root; znet: TUN. -EEXIST, -ENOSPC, -EDQUOT (the uid holds too many),
	 * -ECHILD, -ESRCH (pidfd of a process that has already ended). */
	INIT_PUT = 1,
	/* Makes a listening TCP socket from `bind`, or with INIT_LISTEN_UDP in
	 * key.n a UDP socket, and keeps it under key (kind LISTEN). znode.
	 * -EADDRINUSE, -EEXIST ... */
	INIT_BIND,
	/* Replaces the note of an entry. owner; znode: PIDFD, LISTEN. -ENOENT
	 */
	INIT_NOTE,
	/* Returns the descriptor and note of key. root, or the uid that may
	 * watch the kind. -ENOENT */
	INIT_GET,
	/* Forgets key and closes init's descriptor; for INIT_KIND_PIDFD it
	 * acknowledges the exit record (-EBUSY while the process lives).
	 * owner; znode: PIDFD, LISTEN. -ENOENT */
	INIT_DROP,
	/* Turns the connection into a stream of events of key.kind, of every
	 * container. root, znode: PIDFD, LISTEN; zlog: OUTPUT; znet: LISTEN,
	 * TUN. Descriptors are sent along (not to znode). */
	INIT_WATCH,
	/* Row number key.n of the service table, in the reply's note as
	 * struct init_service. -ENOENT past the end. Anyone. */
	INIT_SERVICE,
	/* Orderly end: stop services and containers, sync, unmount.
	 * root, znode. The reply comes before it starts. */
	INIT_POWEROFF,
	INIT_REBOOT,
	/* Sets the clock to `clock` seconds since 1970, which a hub signed.
	 * zagent. -EINVAL before the image was built; -ENOTSUP on an ordinary
	 * host. */
	INIT_CLOCK,
	/* Returns a descriptor of the file with the node's name servers
	 * (resolv.conf(5)) as it is now, for who may open none. znet.
	 * -ENOENT */
	INIT_NAMES,
	/* Makes of the process kept under kind BUD, key.n, the first one of
	 * key.container: with its note it is kept as (PIDFD, 0) from then on,
	 * even if it has ended meanwhile, and the two descriptors sent along
	 * as (OUTPUT, 1) and (OUTPUT, 2). The process may run before that: how
	 * it ends is kept, and should who asks end it is killed. All or
	 * nothing. root. -ENOENT, -EEXIST, -ENOSPC,
	 * -EDQUOT. */
	INIT_NAME,
};

#define INIT_BUDS "buds"

/* In key.n of a listener, beside its port: UDP. */
#define INIT_LISTEN_UDP (UINT32_C(1) << 16)

struct init_key {
	uint32_t kind;			/* enum init_kind */
	uint32_t n;			/* port, or 0, 1 ... */
	char container[INIT_NAME_SIZE]; /* id of DESIGN §11, NUL-terminated */
};

struct init_bind {
	uint8_t address[16]; /* IPv6, or v4-mapped; :: is dual stack */
	uint16_t port;	     /* host byte order */
	uint16_t backlog;
};

struct init_request {
	struct ipc_head head; /* verb: enum init_verb */
	struct init_key key;
	struct init_bind bind;
	int64_t clock; /* INIT_CLOCK */
	uint8_t note[INIT_NOTE_SIZE];
};

struct init_reply {
	struct ipc_head head; /* verb: that of the request */
	int32_t error;	      /* 0 or -errno */
	uint32_t pid; /* INIT_PUT, INIT_GET of a PIDFD: as init sees it */
	uint8_t note[INIT_NOTE_SIZE];
};

enum init_event_what {
	INIT_EVENT_ADDED = 1, /* or its note changed */
	INIT_EVENT_EXITED,    /* PIDFD: exit fields are set; until INIT_DROP */
	INIT_EVENT_GONE,
	INIT_EVENT_SYNCED, /* all that existed at INIT_WATCH was sent */
};

struct init_event {
	struct ipc_head head; /* verb: enum init_event_what */
	struct init_key key;
	uint32_t pid;
	int32_t exit_code;   /* si_code of waitid(2): CLD_EXITED, ... */
	int32_t exit_status; /* exit status or signal */
	uint32_t reserved;
	uint64_t started_ms; /* CLOCK_BOOTTIME when init took the entry */
	uint64_t ended_ms;   /* of the exit */
	uint8_t note[INIT_NOTE_SIZE];
};

enum init_service_state {
	INIT_SERVICE_WAITING, /* for what it needs */
	INIT_SERVICE_STARTING,
	INIT_SERVICE_READY,
	INIT_SERVICE_BACKOFF,
	INIT_SERVICE_STOPPING,
	INIT_SERVICE_DONE, /* a one-shot that ended well */
	INIT_SERVICE_STATE_COUNT,
};

struct init_service { /* fits in a note */
	char name[24];
	uint32_t state; /* enum init_service_state */
	uint32_t pid;
	uint32_t starts; /* how often it was started */
	uint32_t backoff_ms;
	uint64_t since_ms; /* CLOCK_BOOTTIME of the last change */
	char reason[96];   /* of the last end, "" if none */
};

_Static_assert(sizeof(struct init_service) <= INIT_NOTE_SIZE, "fits a note");

#endif
