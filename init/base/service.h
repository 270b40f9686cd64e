/* What a daemon owes init, and what init hands it.
 *
 * init starts a service with $ZOOID_SERVICE=NAME and two descriptors:
 *
 *	3  its listening socket /run/zooid/NAME.sock (seqpacket, bound by init
 *	   before any service runs, so a client that connects while the daemon
 *	   is being replaced waits instead of failing); absent for services
 *	   without a socket: then 3 is /dev/null
 *	4  the write end of a pipe to init: byte 'R' once it is ready, then a
 *	   'P' at least every SERVICE_PING_MS while its loop turns
 *
 * Standard output and error are pipes that init holds and zlog reads.
 * Without $ZOOID_SERVICE (a test, an operator's shell) service_open() binds
 * the socket itself and readiness and pings go nowhere. */
#ifndef BASE_SERVICE_H
#define BASE_SERVICE_H

#include <sys/types.h>

#include "loop.h"

enum {
	SERVICE_LISTEN_FD = 3,
	SERVICE_STATUS_FD = 4,
	SERVICE_PING_MS = 5000,
	SERVICE_STALL_MS = 20000, /* silence after which init restarts it */
};

/* The fixed uids of DESIGN §4; gid is the same number. */
enum service_uid {
	UID_ZLOG = 101,
	UID_ZNODE = 102,
	UID_ZNET = 103,
	UID_ZPULL = 104,
	UID_ZAGENT = 105,
	UID_ZHUB = 106,
};

/* Returns the listening socket of service `name` (non-blocking, CLOEXEC):
 * init's, or one made here with `mode`; ignores SIGPIPE from then on. -errno on
 * failure. */
int service_open(const char *name, mode_t mode);

/* Tells init that the service is ready and starts the pings on `loop`. */
void service_ready(struct loop *loop);

#endif
