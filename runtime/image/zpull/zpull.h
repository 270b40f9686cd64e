/* The messages that zpull answers on /run/zooid/zpull.sock (seqpacket): images
 * out of registries. A connection has one pull in hand; closing it ends the
 * pull, and what was fetched so far waits for the next attempt. */
#ifndef ZPULL_ZPULL_H
#define ZPULL_ZPULL_H

#include <stdint.h>

#include "base/ipc.h"

enum zpull_verb {
	/* Fetches the image `image`, which must have manifest (or index)
	 * digest `digest`, into an OCI layout beneath /data/pull. Replies with
	 * ZPULL_PROGRESS now and then, once with ZPULL_BEGUN when manifest and
	 * config are there and the layers begin to come, and last with
	 * ZPULL_PULL: its digest is that of the manifest for this node's
	 * platform, path the layout's name, which `zrun serve` takes with
	 * ZRUN_UNPACK_PULLED; both are also in ZPULL_BEGUN. Blobs are resumed
	 * by range and verified. flags: ZPULL_HUB: the image is the
	 * hub's own, its name without the registry. Where `digest` is that of
	 * an index, its bytes come along with both replies in a sealed memfd:
	 * znode believes no other that the manifest is the one in the index,
	 * and keeps them for the day without network. znode.
	 * -ENOENT the registry has no such image; -EBADMSG what came is not
	 * what was asked for; -EACCES; -ENOSPC; -ENOTSUP (no manifest for this
	 * platform); -ENOTCONN, -ETIMEDOUT and the like: try again. */
	ZPULL_PULL = 1,
	ZPULL_PROGRESS,
	ZPULL_BEGUN,
	/* The layout `path` is not needed any more. znode. */
	ZPULL_DROP,
};

enum { ZPULL_HUB = 1 };

struct zpull_request {
	struct ipc_head head; /* verb: enum zpull_verb */
	uint32_t flags;
	uint32_t reserved;
	char image[256]; /* as the desired document names it */
	char digest[72]; /* "sha256:HEX" */
	char path[72];	 /* ZPULL_DROP */
};

struct zpull_reply {
	struct ipc_head head; /* verb: ZPULL_PULL, ZPULL_PROGRESS, ... */
	int32_t error;	      /* 0 or -errno */
	uint32_t reserved;
	uint64_t done_bytes, total_bytes; /* total 0: not known yet */
	char digest[72];
	char path[72];
	char text[256]; /* one line when error is set */
};

#endif
