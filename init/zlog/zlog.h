/* The messages that zlog answers on /run/zooid/zlog.sock (seqpacket). */
#ifndef ZLOG_ZLOG_H
#define ZLOG_ZLOG_H

#include <stdint.h>

#include "base/ipc.h"

enum { ZLOG_NAME_SIZE = 64, ZLOG_TEXT_SIZE = 4096 };

enum zlog_verb {
	/* The last `lines` lines of `name` (a service or an application, or a
	 * container of one), in as many replies as they need, the last of them
	 * with size 0; of them none before since_ms. With ZLOG_FOLLOW there is
	 * no last one: lines are sent as they come. Who falls behind misses the
	 * oldest and is told so in the text. -ENOENT: no such source. root,
	 * znode, zagent. */
	ZLOG_TAIL = 1,
	/* Which applications have lines dropped from now on: a struct
	 * zlog_drops each time that their log says how many, for as long as the
	 * connection is there. root, znode, zagent. */
	ZLOG_DROPS,
	/* On a connection of ZLOG_DROPS: a line for the log of an application
	 * by who is not in it, a struct zlog_say. No answer. root, znode. */
	ZLOG_SAY,
};

enum { ZLOG_FOLLOW = 1 };

struct zlog_request {
	struct ipc_head head; /* verb: enum zlog_verb */
	uint32_t lines;
	uint32_t flags;
	char name[ZLOG_NAME_SIZE];
	uint64_t since_ms; /* CLOCK_REALTIME; 0: all */
};

struct zlog_say {
	struct ipc_head head;	   /* verb: ZLOG_SAY */
	char name[ZLOG_NAME_SIZE]; /* of the container, or the application */
	char text[256];		   /* "<3>" in front: an error */
};

struct zlog_reply {
	struct ipc_head head; /* verb: that of the request */
	int32_t error;	      /* 0 or -errno, then nothing follows */
	uint32_t size;	      /* of text */
	char text[ZLOG_TEXT_SIZE];
};

/* What is kept of an application's output, as the end of the note says that
 * init keeps with an output of it. What is 0 is as ever, what is beyond is the
 * nearest that can be. */
struct zlog_keep {
	uint32_t size_bytes; /* of each file */
	uint32_t files;
};
#define ZLOG_KEEP_AT (INIT_NOTE_SIZE - sizeof(struct zlog_keep))

enum {
	ZLOG_KEEP_SIZE = 512 * 1024,
	ZLOG_KEEP_SIZE_MIN = 64 * 1024,
	ZLOG_KEEP_SIZE_MAX = 16 * 1024 * 1024,
	ZLOG_KEEP_FILES = 2,
	ZLOG_KEEP_FILES_MAX = 8,
};

struct zlog_drops {
	struct ipc_head head; /* verb: ZLOG_DROPS */
	uint64_t lines;	      /* since the last message about it */
	/* Of the application; of a container of one that has the name of a
	 * service. */
	char name[ZLOG_NAME_SIZE];
};

#endif
