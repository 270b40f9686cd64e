/* What the files of the blob store share; only they include it. */
#ifndef HUB_BLOB_PARTS_H
#define HUB_BLOB_PARTS_H

#include "blob.h"

enum { BLOB_PATH_SIZE = 3 + DIGEST_HEX_SIZE }; /* "HH/HEX" */

struct blob_check_state;
struct blob_sweep_state;

struct blobs {
	int blobs_fd, uploads_fd;
	struct loop *loop;
	unsigned n_uploads; /* structs blob_upload that exist */
	unsigned n_children;
	struct blob_upload *finishing; /* the oldest first */
	struct blob_sweep_state *sweep;
	struct blob_check_state *check;
};

void blob_path(const struct digest *digest, char path[BLOB_PATH_SIZE]);
/* The folder of a blob, made when absent: a descriptor or -errno. */
int blob_folder(const struct blobs *blobs, const struct digest *digest);

/* At close: forgets what is being done. */
void blob_finish_cancel(struct blobs *blobs);
void blob_sweep_cancel(struct blobs *blobs);
void blob_check_cancel(struct blobs *blobs);

#endif
