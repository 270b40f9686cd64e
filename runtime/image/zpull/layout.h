/* What was fetched, as OCI layouts:
 *
 *	/data/pull/HEX/oci-layout, index.json	HEX: of the digest asked for
 *	/data/pull/HEX/blobs/sha256/HEX2	whole and verified
 *	/data/pull/HEX/blobs/sha256/HEX2.tmp	the beginning of a blob
 *
 * Invariants:
 * 1. A blob has its final name only after its digest was verified.
 * 2. What is in a .tmp is not believed: it is read again before more is added,
 *    and the digest is over all.
 * 3. index.json is written last; a pull that finds it still looks whether all
 *    blobs are there.
 *
 * Nothing is synced here: a layout mostly lives for seconds, and medium and
 * time are saved when it goes before it was written. What a power cut took is
 * fetched again; who reads a blob verifies it.
 *
 * Whoever removes a layout, or never asks again, costs space only: the oldest
 * go first when it is short (space.h). */
#ifndef ZPULL_LAYOUT_H
#define ZPULL_LAYOUT_H

#include "oci/image_descriptor.h"

enum { LAYOUT_NAME_SIZE = 72, LAYOUT_PART_SIZE = 96 };

/* Opens directory `name` beneath root as a layout, made where it is missing.
 * Its descriptor, or -errno. */
int layout_open(int root, const char *name);
/* Makes what a layout has in any case. 0 or -errno. */
int layout_prepare(int layout);

bool layout_has(int layout, const struct image_descriptor *d);

/* The whole of a small blob, verified; freed by the caller. -ENOENT. */
int layout_read(int layout, const struct digest *digest, size_t max,
		char **data, size_t *size);
int layout_write(int layout, const struct digest *digest, struct span data);

/* The beginning of a blob, opened for reading and writing and made where it is
 * missing. */
int layout_part_open(int layout, const struct digest *digest);
/* Gives a verified part its name. */
int layout_part_keep(int layout, const struct digest *digest);
void layout_part_drop(int layout, const struct digest *digest);

/* Looks for the blob, or for its beginning, in the other layouts beneath root
 * and takes it over: a blob by another link, a beginning by its name. */
void layout_adopt(int root, int layout, const struct image_descriptor *d);

/* index.json that names one manifest; tag may be "". */
int layout_finish(int layout, const struct image_descriptor *manifest,
		  const char *media_type, const char *tag);

#endif
