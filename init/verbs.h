/* What a request on init.sock does. */
#ifndef INIT_VERBS_H
#define INIT_VERBS_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/ipc.h"
#include "init.h"

struct verb_call {
	uid_t uid; /* of the peer, as the kernel says */
	const struct init_request *request;
	struct ipc_fds *fds; /* that came with it; those kept are taken out */
	struct init_reply *reply;
	int reply_fd;	  /* to be sent along, not the caller's; -1: none */
	const void *from; /* the connection, as struct store_entry has it */
	bool watch;	  /* the connection is a stream of events from now on */
};

/* Checks and carries out. 0 or -errno, which is the reply's error. */
int verb_serve(struct verb_call *call);

/* The table of who may do what; pure. 0 or -EPERM. */
int verb_allowed(uid_t uid, enum init_verb verb, uint32_t kind);

#endif
