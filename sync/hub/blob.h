/* The hub's blobs: files named by the sha256 of what they hold.
 *
 *	blobs/sha256/HH/HEX	whole, verified and on stable storage
 *	uploads/ID		what came so far of a blob
 *
 * Bytes come from whoever may push. They become visible under a digest only
 * after all of them, as read back from the file, have that digest. Hashing and
 * syncing what may be gigabytes happens in a short-lived child process, so the
 * loop never waits for it.
 *
 * Rule of use: an upload is named by its id, in the client's hands, across
 * connections and restarts of the hub; a struct blob_upload is the right to
 * write to it, held by one request at a time. */
#ifndef HUB_BLOB_H
#define HUB_BLOB_H

#include "base/loop.h"
#include "oci/digest/digest.h"

enum {
	BLOB_ID_SIZE = 33, /* 32 hex digits and NUL */
	BLOB_GRACE_S = 24 * 3600,
};

struct blobs;
struct blob_upload;

/* In the directory `dir` (which stays the caller's), made as needed; loop may
 * be NULL when nothing is uploaded or swept. 0 or -errno after one log line. */
int blobs_open(struct blobs **blobs, int dir, struct loop *loop);
/* Uploads that are being finished are abandoned; their bytes stay. */
void blobs_close(struct blobs *blobs);

/* Whether size_bytes more fit, with a reserve left for the store: 0, -ENOSPC.
 */
int blobs_room(const struct blobs *blobs, uint64_t size_bytes);

/* ---- blobs ---- */

/* A new descriptor of the blob, and its size; -ENOENT. */
int blob_open(const struct blobs *blobs, const struct digest *digest,
	      uint64_t *size_bytes);

/* Its size, -ENOENT when there is none. Whoever is told that a blob is there
 * may refer to it: its age starts anew. */
int blob_stat(const struct blobs *blobs, const struct digest *digest,
	      uint64_t *size_bytes);

/* Keeps a small blob at once; *digest is computed. 0, -ENOSPC, -errno. */
int blob_put(struct blobs *blobs, struct span bytes, struct digest *digest);

/* It was sent to its end: reads it again before long, and removes it after a
 * log line when it is damaged. */
void blob_check(struct blobs *blobs, const struct digest *digest);

/* ---- uploads ---- */

/* Begins an upload of at least expected_bytes (0: unknown). 0, -ENOSPC,
 * -EMFILE (too many in hand), -errno. */
int blob_upload_new(struct blobs *blobs, uint64_t expected_bytes,
		    struct blob_upload **upload);
/* Takes up the one named id. -ENOENT; -EBUSY when another request writes. */
int blob_upload_open(struct blobs *blobs, struct span id,
		     struct blob_upload **upload);
const char *blob_upload_id(const struct blob_upload *upload);
/* How many bytes it has. */
uint64_t blob_upload_size(const struct blob_upload *upload);
/* Appends. 0, -ENOSPC, -errno: then the bytes are as before. */
int blob_upload_write(struct blob_upload *upload, struct span bytes);
/* Throws the bytes away, to begin anew. 0 or -errno. */
int blob_upload_rewind(struct blob_upload *upload);
/* A new descriptor to read its bytes from, good also once it is a blob. */
int blob_upload_reader(const struct blob_upload *upload);
/* Gives up the right to write; the bytes stay. */
void blob_upload_close(struct blob_upload *upload);
/* Closes and removes it. */
void blob_upload_drop(struct blob_upload *upload);

/* Makes the upload a blob if it has this digest, and calls done, mostly from
 * the loop but when no child can be made before this returns:
 * 0; -EBADMSG when it has another (it is removed then); -ENOSPC, -EIO. The
 * upload is consumed in every case. */
void blob_upload_finish(struct blob_upload *upload, const struct digest *digest,
			void (*done)(void *user, int error), void *user);
/* Nobody waits for the outcome any more; user must have been given once. */
void blob_upload_forget(struct blobs *blobs, const void *user);

/* ---- sweeping ---- */

struct blobs_sweep {
	/* Whether something refers to it. */
	bool (*needed)(void *user, const struct digest *digest);
	void (*done)(void *user, unsigned n, uint64_t size_bytes);
	void *user;
	unsigned grace_s; /* younger blobs and uploads stay */
};

/* Removes what is not needed and older than the grace, a little in each turn
 * of the loop; -EALREADY while one sweep is under way. */
int blobs_sweep_start(struct blobs *blobs, const struct blobs_sweep *sweep);

/* All blobs in turn (zhub backup); anything but 0 ends the walk. */
int blobs_each(struct blobs *blobs,
	       int (*each)(void *user, const struct digest *digest),
	       void *user);

#endif
