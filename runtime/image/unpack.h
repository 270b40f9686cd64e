/* One layer of an image: archive in, directory tree out.
 *
 * The blob is a tar, plain or in gzip or zstd (its first bytes say which). Two
 * readers of libarchive are stacked, so that the uncompressed bytes between
 * them can be hashed and counted:
 *
 *	packed.h -> decompressor -> sha256, limits -> tar reader -> tree.h
 *
 * libarchive only reads; every file is made by tree.h. An archive was chosen
 * by whoever made the image. It must not reach outside the target directory,
 * fill the disk, take a file system mark that the overlay would obey
 * (trusted.overlay.*, user.overlay.*), or bring devices. */
#ifndef IMAGE_UNPACK_H
#define IMAGE_UNPACK_H

#include <stdint.h>

#include "oci/digest/digest.h"

#include "packed.h"

enum {
	UNPACK_ERROR_SIZE = 160,
	UNPACK_ENTRIES_MAX = 1 << 20,
	/* What an entry takes of the limit besides its bytes. */
	UNPACK_ENTRY_BYTES = 512,
	/* A blob may grow this many times, plus a floor, when uncompressed;
	 * gzip cannot do more than 1,032. */
	UNPACK_RATIO_MAX = 1100,
};

struct unpack {
	struct packed *packed;	      /* before its first byte */
	int target;		      /* an empty directory */
	uint64_t max_bytes;	      /* that the tree may take on the disk */
	const struct digest *diff_id; /* of the uncompressed archive */
};

/* Unpacks and compares the digest. Whiteouts become overlay whiteouts; device
 * nodes and sockets are left out; of extended attributes user.* and
 * security.capability are kept. 0; -EBADMSG for a damaged or malicious archive;
 * -ENOSPC over max_bytes; -E2BIG over another limit; -ECANCELED when the blob's
 * fetch ended before it; else -errno; `error` then holds one line. What was
 * made by then is for the caller to remove. Nothing is synced. */
int unpack_layer(const struct unpack *unpack, char error[UNPACK_ERROR_SIZE]);

#endif
