/* The messages that zagent answers on /run/zooid/zagent.sock (seqpacket): what
 * only the node's identity can get from the hub. One connection carries
 * requests and replies in order. */
#ifndef AGENT_ZAGENT_H
#define AGENT_ZAGENT_H

#include <stdint.h>

#include "base/ipc.h"

enum zagent_verb {
	/* How it stands with the hub: reply.status. Anyone. */
	ZAGENT_STATUS = 1,
	/* A bearer token for pulls from the hub's registry, made anew when
	 * less than a minute of it is left or the hub has restarted:
	 * reply.pull, and a memfd with the
	 * root certificate in PEM that the hub's chain ends at. -ENOTCONN (text
	 * says why) while the hub cannot be asked. zpull. */
	ZAGENT_PULL_TOKEN,
	/* Reads a secret that is sealed to this node (sync/wire/seal.h): a
	 * memfd with the sealed text comes along, one with the secret goes
	 * back. -EKEYREJECTED: it is for another key. znode. */
	ZAGENT_UNSEAL,
};

enum { ZAGENT_SEALED_MAX = 128 << 10 };

enum zagent_state {
	ZAGENT_NONE,	   /* node.json names no hub */
	ZAGENT_ENROLLING,  /* no certificate yet */
	ZAGENT_CONNECTING, /* on its way, or waiting for the next attempt */
	ZAGENT_CONNECTED,
	ZAGENT_REFUSED, /* by the hub: revoked, or the token is no good */
	ZAGENT_STATE_COUNT,
};

struct zagent_status {
	uint32_t state; /* enum zagent_state */
	uint32_t reserved;
	uint64_t since_ms; /* CLOCK_BOOTTIME of the last change of state */
	char node[64];	   /* id, "" before enrolment */
	char name[64];	   /* as the hub knows it */
	char hub[264];	   /* HOST:PORT last dialled */
	char reason[200];  /* of the last failure, "" when connected */
};

struct zagent_pull {
	int64_t expires;    /* seconds since 1970 */
	char registry[264]; /* HOST:PORT */
	char token[512];
};

struct zagent_request {
	struct ipc_head head; /* verb: enum zagent_verb */
};

struct zagent_reply {
	struct ipc_head head; /* verb: that of the request */
	int32_t error;	      /* 0 or -errno */
	uint32_t reserved;
	char text[200]; /* one line when error is set */
	union {
		struct zagent_status status;
		struct zagent_pull pull;
	};
};

#endif
