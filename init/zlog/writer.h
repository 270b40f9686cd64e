/* The process of zlog that touches the disk, alone, so that a disk that hangs
 * stops nobody else.
 *
 * zlog forks it, asks one thing at a time over a socket pair, and starts it
 * anew when it is gone. Its end of the pair is all that it knows of zlog; it
 * ends with it. Of a writer that is killed between a write and its reply the
 * last batch may be in the file twice. */
#ifndef ZLOG_WRITER_H
#define ZLOG_WRITER_H

#include <stdint.h>
#include <sys/types.h>

#include "base/ipc.h"
#include "ring.h"
#include "zlog.h"

/* A node's thousand applications and its services. Text has room for all of a
 * ring, and for the names of all sources. */
enum {
	WRITER_SLOTS = 1040,
	WRITER_TEXT_SIZE = WRITER_SLOTS * ZLOG_NAME_SIZE,
};
_Static_assert((int)WRITER_TEXT_SIZE >= (int)RING_SIZE, "text of a ring");

enum writer_verb {
	/* Appends text, whole lines, to the file of `name`. */
	WRITER_APPEND = 1,
	/* Replies with the last whole lines of the file of `name`, none when
	 * there is no file. */
	WRITER_TAIL,
	/* Text is the names of all live sources, each with its NUL: closes the
	 * files of the others and removes the oldest of those. */
	WRITER_PRUNE,
};

struct writer_request {
	struct ipc_head head;  /* verb: enum writer_verb */
	uint32_t slot;	       /* whose file stays open: < WRITER_SLOTS */
	uint32_t size;	       /* of text */
	struct zlog_keep keep; /* of WRITER_APPEND */
	char name[ZLOG_NAME_SIZE];
	char text[WRITER_TEXT_SIZE];
};

struct writer_reply {
	struct ipc_head head; /* verb: that of the request */
	int32_t error;	      /* 0 or -errno */
	uint32_t size;	      /* of text */
	char text[WRITER_TEXT_SIZE];
};

/* Starts a writer for the files in dir; *sock is zlog's end, non-blocking.
 * 0 or -errno. */
int writer_start(int dir, int *sock);

#endif
