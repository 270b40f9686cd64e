/* The image store of a node: the documents of its images and one unpacked tree
 * per layer. Packed layers are read where they were fetched to and not kept.
 *
 *	/data/images/oci-layout, index.json	index.json lists the images that
 *						are whole, by manifest digest
 *	/data/images/blobs/sha256/HEX		manifests and configs
 *	/data/layers/HEX			unpacked layer, HEX its diff_id
 *
 * Invariants:
 * 1. A file in blobs or a directory in layers has its final name only after
 *    its digest was verified and its bytes are on stable storage; until then
 *    it is .tmp.N, which nobody reads and store_clean() removes. A layer's
 *    digest is its diff_id, which the image's config, and so its manifest,
 *    vouches for.
 * 2. An image is in index.json only while all that it needs is there.
 * 3. A layer directory is never changed again; it is only removed, first
 *    renamed to .tmp.N.
 *
 * `zrun serve` calls store_open(), store_clean() once at its start, and
 * store_layers() at each start of a container. What reads foreign archives or
 * may take long (import, forget) is done by a program of its own, zunpack. */
#ifndef IMAGE_STORE_H
#define IMAGE_STORE_H

#include <stdint.h>
#include <sys/statvfs.h>

#include "oci/digest/digest.h"

#include "packed.h"

enum {
	STORE_LAYERS_MAX = 128,
	STORE_IMAGES_MAX = 256,
	STORE_ERROR_SIZE = 256,
};

/* Held directories; both stay open for the life of the process. */
struct store {
	int images;
	int layers;
};

/* Opens (and makes, where missing) the directories below path_data().
 * 0 or -errno, logged. */
int store_open(struct store *store);
void store_close(struct store *store);

/* Bytes of a file system that images and containers never take: the node itself
 * must be able to write. A sixteenth of it, at most 256 MB. */
static inline uint64_t store_reserve(const struct statvfs *fs)
{
	uint64_t part = (uint64_t)fs->f_blocks * fs->f_frsize / 16;

	return part < 256ULL << 20 ? part : 256ULL << 20;
}

/* Removes what earlier processes left half made. Only before any worker of
 * this store runs. 0 or -errno, logged. */
int store_clean(const struct store *store);

/* The layer directories of an image, bottom first: names beneath
 * store->layers (64 hex digits). */
struct store_layers {
	unsigned n;
	char name[STORE_LAYERS_MAX][DIGEST_HEX_SIZE];
};

/* Finds the layers of the image whose manifest is `image`. Manifest and config
 * are read from the store and verified by their digests; each directory is
 * there. Reads two small files: fit for a start path. 0; -ENOENT when the
 * image is not (wholly) in the store; -EBADMSG when a blob is damaged; `error`
 * then holds one line that names image and blob. */
int store_layers(const struct store *store, const struct digest *image,
		 struct store_layers *layers, char error[STORE_ERROR_SIZE]);

/* Fills `images` with the manifest digests of all whole images. Returns their
 * number (at most max) or -errno. */
int store_list(const struct store *store, struct digest *images, unsigned max);

/* Takes image `image` out of the OCI layout in directory `layout`: its layers
 * are unpacked, with `growth` while they still come. Does nothing when it is
 * there already; layers that are there are not read again. Waits for nobody
 * but at the very end, so several imports go on at once. When 0 is returned
 * all is on stable storage; on an error nothing of it is left and `error` holds
 * one line. -EBADMSG: damaged or malformed; -ENOENT: the layout lacks a blob;
 * -ECANCELED: growth ended before; -ENOSPC: before the node's reserve is
 * touched; -E2BIG: over a limit; -ENOTSUP: a format or architecture that this
 * node does not take. */
struct store_source {
	int layout;
	struct growth growth; /* events -1: the layout is whole */
};
int store_import(const struct store *store, struct store_source *source,
		 const struct digest *image, char error[STORE_ERROR_SIZE]);

/* Removes an image, then the blobs and layers that no other image has. The
 * caller knows that no container uses it. 0, -ENOENT. */
int store_forget(const struct store *store, const struct digest *image,
		 char error[STORE_ERROR_SIZE]);

/* What a worker tells its parent: one write of exactly this struct to the
 * report pipe, then its end. A pipe that ends without it: the worker was
 * killed; the parent answers -EIO and may try again. */
struct store_report {
	int32_t error; /* 0 or -errno */
	char text[STORE_ERROR_SIZE];
};

enum store_job { STORE_IMPORT, STORE_FORGET };

/* What a worker is to do. For STORE_FORGET the descriptors are -1. */
struct store_task {
	enum store_job job;
	const struct digest *image;
	int layout;
	/* The pipe that hangs up once nothing more comes into the layout; -1:
	 * it is whole. */
	int end;
};

/* What `zunpack` calls a job on its command line, and where it finds its
 * descriptors; layout and end may be closed. */
extern const char *const store_job_names[];
enum store_fd {
	STORE_FD_IMAGES = 3,
	STORE_FD_LAYERS,
	STORE_FD_REPORT,
	STORE_FD_LAYOUT,
	STORE_FD_END,
	STORE_FD_COUNT = STORE_FD_END - STORE_FD_IMAGES + 1,
};

/* The body of zunpack: closes every descriptor but those it needs, confines
 * itself (unpack_confine in worker.h), does the task, writes the report to
 * `report`. Returns the exit status. */
int store_worker(const struct store *store, const struct store_task *task,
		 int report);

#endif
