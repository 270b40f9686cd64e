/* Bringing images into the store.
 *
 * An import that fails sweeps as a removal does: what no whole image has goes,
 * so nothing of a damaged image is left behind. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"

#include "blob.h"
#include "catalog.h"
#include "image.h"
#include "store.h"
#include "sweep.h"
#include "unpack.h"

/* Space that images never take: the node itself must be able to write. */
#define RESERVE_MAX_BYTES (256ULL << 20)
enum { RESERVE_PART = 16 };

struct import {
	const struct store *store;
	int layout;
	const struct digest *digest;
	struct image image;
	char *error; /* STORE_ERROR_SIZE */
};

/* Bytes that may still be written without touching the reserve. */
static int space_left(const struct store *store, uint64_t *bytes)
{
	struct statvfs s;
	uint64_t reserve;

	if (fstatvfs(store->images, &s) < 0)
		return -errno;
	reserve = (uint64_t)s.f_blocks * s.f_frsize / RESERVE_PART;
	if (reserve > RESERVE_MAX_BYTES)
		reserve = RESERVE_MAX_BYTES;
	*bytes = (uint64_t)s.f_bavail * s.f_frsize;
	*bytes = *bytes > reserve ? *bytes - reserve : 0;
	return 0;
}

static bool layer_exists(const struct store *store, const struct digest *id)
{
	char hex[DIGEST_HEX_SIZE];

	digest_hex(id, hex);
	return faccessat(store->layers, hex, F_OK, 0) == 0;
}

/* The compressed size stands for the least that a layer unpacks to. */
static int check_space(struct import *im)
{
	const struct image_manifest *m = &im->image.manifest;
	uint64_t need = 0, left = 0;
	int r = space_left(im->store, &left);

	if (r)
		return image_fail(im->digest, im->error, r, "free space: %s",
				  strerror(-r));
	for (unsigned i = 0; i < m->n_layers; i++) {
		if (!blob_exists(im->store->images, &m->layer[i].digest))
			need += m->layer[i].size;
		if (!layer_exists(im->store, &im->image.config.diff_id[i]))
			need += m->layer[i].size;
	}
	if (need <= left)
		return 0;
	return image_fail(im->digest, im->error, -ENOSPC,
			  "needs at least %llu MB, %llu MB are left above the "
			  "node's reserve: remove an image",
			  (unsigned long long)(need >> 20) + 1,
			  (unsigned long long)left >> 20);
}

/* Metadata that is there already is read again, since it is small and a
 * damaged copy would stay for ever. */
static int import_document(struct import *im, const struct blob *blob)
{
	char why[BLOB_ERROR_SIZE];
	autofree char *text = NULL;
	size_t size;
	int r;

	if (blob_exists(im->store->images, blob->digest)) {
		r = blob_read(im->store->images, blob, &text, &size, why);
		if (r != -EBADMSG)
			return r ? image_fail(im->digest, im->error, r, "%s",
					      why)
				 : 0;
		log_warning("image store", "%s", why);
		blob_remove(im->store->images, blob->digest);
	}
	r = blob_copy(im->layout, im->store->images, blob, why);
	return r ? image_fail(im->digest, im->error, r, "%s", why) : 0;
}

static int import_documents(struct import *im)
{
	const struct blob manifest = { im->digest, BLOB_SIZE_ANY,
				       IMAGE_DOCUMENT_MAX };
	struct blob config = { .max_size = IMAGE_CONFIG_MAX };
	int r = image_load(im->layout, im->digest, &im->image, im->error);

	config.digest = &im->image.manifest.config.digest;
	config.size = im->image.manifest.config.size;
	if (!r)
		r = import_document(im, &manifest);
	return r ? r : import_document(im, &config);
}

/* Unpacks into the directory .tmp.N; the caller removes it on failure. */
static int unpack_into(struct import *im, unsigned i, int target)
{
	const struct image_descriptor *d = &im->image.manifest.layer[i];
	const struct blob blob = { &d->digest, d->size, IMAGE_BLOB_MAX };
	char why[BLOB_ERROR_SIZE], text[DIGEST_TEXT_SIZE];
	autoclose int fd = blob_open(im->store->images, &blob, why);
	struct unpack unpack = { .blob = fd,
				 .blob_bytes = d->size,
				 .target = target,
				 .diff_id = &im->image.config.diff_id[i] };
	int r;

	if (fd < 0)
		return image_fail(im->digest, im->error, fd, "%s", why);
	r = space_left(im->store, &unpack.max_bytes);
	if (r)
		return image_fail(im->digest, im->error, r, "free space: %s",
				  strerror(-r));
	r = unpack_layer(&unpack, why);
	digest_text(&d->digest, text);
	if (r)
		return image_fail(im->digest, im->error, r, "blob %s: %s", text,
				  why);
	if (syncfs(target) < 0)
		return image_fail(im->digest, im->error, -errno,
				  "blob %s: sync: %s", text, strerror(errno));
	return 0;
}

static int unpack_layer_of(struct import *im, unsigned i)
{
	char temporary[BLOB_PATH_SIZE], hex[DIGEST_HEX_SIZE];
	int layers = im->store->layers;
	autoclose int target = -1;
	int r;

	if (layer_exists(im->store, &im->image.config.diff_id[i]))
		return 0;
	target = temporary_directory(layers, temporary);
	if (target < 0)
		return image_fail(im->digest, im->error, target, "layers: %s",
				  strerror(-target));
	r = unpack_into(im, i, target);
	digest_hex(&im->image.config.diff_id[i], hex);
	if (!r &&
	    (renameat(layers, temporary, layers, hex) < 0 || fsync(layers) < 0))
		r = image_fail(im->digest, im->error, -errno, "layers: %s",
			       strerror(errno));
	if (r)
		path_remove_tree(layers, temporary);
	return r;
}

static int import_layers(struct import *im)
{
	const struct image_manifest *m = &im->image.manifest;
	int r = check_space(im);

	for (unsigned i = 0; !r && i < m->n_layers; i++) {
		const struct blob blob = { &m->layer[i].digest,
					   m->layer[i].size, IMAGE_BLOB_MAX };
		char why[BLOB_ERROR_SIZE];

		r = blob_copy(im->layout, im->store->images, &blob, why);
		if (r)
			return image_fail(im->digest, im->error, r, "%s", why);
		r = unpack_layer_of(im, i);
	}
	return r;
}

static int import_locked(struct import *im, struct catalog *catalog)
{
	struct catalog_entry entry = { .manifest = *im->digest };
	int r = import_documents(im);

	if (!r)
		r = import_layers(im);
	if (r) {
		sweep(im->store, catalog);
		return r;
	}
	entry.size = im->image.manifest_bytes;
	r = catalog_add(catalog, &entry);
	if (!r)
		r = catalog_write(im->store, catalog);
	return r ? image_fail(im->digest, im->error, r, "index.json: %s",
			      strerror(-r))
		 : 0;
}

/* Whether the image is whole already, so that no layout is needed for it. */
static bool is_whole(const struct store *store, const struct digest *image,
		     const struct catalog *catalog)
{
	struct store_layers *layers = malloc(sizeof(*layers));
	char error[STORE_ERROR_SIZE];
	bool whole = layers && catalog_find(catalog, image) >= 0 &&
		     store_layers(store, image, layers, error) == 0;

	free(layers);
	return whole;
}

/* A damaged index.json only lists images wrongly: starting it anew costs that
 * each is imported once more from parts that are there. */
static int read_catalog(const struct store *store, struct catalog *catalog)
{
	int r = catalog_read(store, catalog);

	if (r == -EBADMSG)
		catalog->n = 0;
	return r == -EBADMSG ? 0 : r;
}

int store_import(const struct store *store, int layout,
		 const struct digest *image, char error[STORE_ERROR_SIZE])
{
	struct import im = { store, layout, image, .error = error };
	struct catalog *catalog = malloc(sizeof(*catalog));
	autoclose int held = catalog_lock(store);
	int r = held < 0 ? held : 0;

	if (!catalog)
		r = -ENOMEM;
	if (!r)
		r = read_catalog(store, catalog);
	if (r)
		image_fail(image, error, r, "image store: %s", strerror(-r));
	else if (!is_whole(store, image, catalog))
		r = import_locked(&im, catalog);
	image_free(&im.image);
	free(catalog);
	return r;
}
