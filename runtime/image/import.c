/* Bringing images into the store.
 *
 * Layers are unpacked without the store's lock, into .tmp.N, since one that
 * still comes over the network may take hours. With the lock all of them, the
 * documents and the catalog's new line get their names, unless a removal took
 * a layer meanwhile that had been there: then that one is unpacked too. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
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

struct import {
	const struct store *store;
	struct store_source *source;
	const struct digest *digest;
	struct image image;
	struct made *made; /* for each layer */
	char *error;	   /* STORE_ERROR_SIZE */
};

/* Where a layer was unpacked, held by flock(2): what nobody holds was left by a
 * worker that was killed. */
struct made {
	char name[BLOB_PATH_SIZE]; /* "": it was there */
	int dir;
};

/* Bytes that may still be written without touching the reserve. */
static int space_left(const struct store *store, uint64_t *bytes)
{
	struct statvfs s;
	uint64_t reserve;

	if (fstatvfs(store->images, &s) < 0)
		return -errno;
	reserve = store_reserve(&s);
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
	for (unsigned i = 0; i < m->n_layers; i++)
		if (!layer_exists(im->store, &im->image.config.diff_id[i]))
			need += m->layer[i].size;
	if (need <= left)
		return 0;
	return image_fail(im->digest, im->error, -ENOSPC,
			  "needs at least %llu MB, %llu MB are left above the "
			  "node's reserve: remove an image",
			  (unsigned long long)(need >> 20) + 1,
			  (unsigned long long)left >> 20);
}

/* ---------------------------------------------------------------- unpacking */

/* Opens the blob of a layer; one that still comes is waited for. */
static int packed_open(struct import *im, const struct blob *blob, char *why)
{
	struct growth *growth = &im->source->growth;
	int fd, r = 0;

	if (growth->events < 0)
		return blob_open(im->source->layout, blob, why);
	while ((fd = blob_open_growing(im->source->layout, blob, why)) ==
		       -ENOENT &&
	       !r)
		r = growth_wait(growth);
	return fd;
}

static int unpack_into(struct import *im, unsigned i, int target)
{
	const struct image_descriptor *d = &im->image.manifest.layer[i];
	const struct blob blob = { &d->digest, d->size, IMAGE_BLOB_MAX };
	char why[BLOB_ERROR_SIZE], text[DIGEST_TEXT_SIZE];
	autoclose int fd = packed_open(im, &blob, why);
	struct growth *growth = &im->source->growth;
	struct packed packed = { .fd = fd,
				 .size = d->size,
				 .growth = growth->events < 0 ? NULL : growth };
	struct unpack unpack = { .packed = &packed,
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
	return r ? image_fail(im->digest, im->error, r, "blob %s: %s", text,
			      why)
		 : 0;
}

static int made_open(struct import *im, struct made *made)
{
	autoclose int held = catalog_lock(im->store);

	if (held < 0)
		return held;
	made->dir = temporary_directory(im->store->layers, made->name);
	if (made->dir < 0) {
		made->name[0] = '\0';
		return made->dir;
	}
	return flock(made->dir, LOCK_EX | LOCK_NB) < 0 ? -errno : 0;
}

static int unpack_layer_of(struct import *im, unsigned i)
{
	int r = made_open(im, &im->made[i]);

	if (r)
		return image_fail(im->digest, im->error, r, "layers: %s",
				  strerror(-r));
	return unpack_into(im, i, im->made[i].dir);
}

/* Whether the layer is there, or will be with the others: an image may have
 * one twice. */
static bool layer_at_hand(const struct import *im, unsigned i)
{
	const struct digest *diff_id = im->image.config.diff_id;

	for (unsigned k = 0; k <= i; k++)
		if (im->made[k].name[0] &&
		    digest_equal(&diff_id[k], &diff_id[i]))
			return true;
	return layer_exists(im->store, &diff_id[i]);
}

static int unpack_missing(struct import *im)
{
	bool unpacked = false;
	int r = 0;

	for (unsigned i = 0; !r && i < im->image.manifest.n_layers; i++)
		if (!layer_at_hand(im, i)) {
			r = unpack_layer_of(im, i);
			unpacked = true;
		}
	if (r || !unpacked)
		return r;
	r = fd_sync_all(im->store->layers);
	return r ? image_fail(im->digest, im->error, r, "its layers: sync: %s",
			      strerror(-r))
		 : 0;
}

static void made_remove(struct import *im)
{
	for (unsigned i = 0; i < im->image.manifest.n_layers; i++) {
		struct made *made = &im->made[i];

		if (made->name[0])
			path_remove_tree(im->store->layers, made->name);
		fd_close(&made->dir);
	}
}

/* ---------------------------------------------------- with the store's lock */

/* One that is there already is read again, since it is small and a damaged
 * copy would stay for ever. */
static int commit_document(struct import *im, const struct blob *blob)
{
	char why[BLOB_ERROR_SIZE];
	autofree char *text = NULL;
	size_t size;
	int r = blob_read(im->store->images, blob, &text, &size, why);

	if (!r)
		return 0;
	if (r == -EBADMSG)
		log_warning("image store", "%s", why);
	r = blob_read(im->source->layout, blob, &text, &size, why);
	if (r)
		return image_fail(im->digest, im->error, r, "%s", why);
	r = blob_write(im->store->images, blob->digest, text, size);
	return r ? image_fail(im->digest, im->error, r, "images: %s",
			      strerror(-r))
		 : 0;
}

static int commit_documents(struct import *im)
{
	const struct image_descriptor *d = &im->image.manifest.config;
	const struct blob manifest = { im->digest, BLOB_SIZE_ANY,
				       IMAGE_DOCUMENT_MAX };
	const struct blob config = { &d->digest, d->size, IMAGE_CONFIG_MAX };
	int r = commit_document(im, &manifest);

	return r ? r : commit_document(im, &config);
}

/* Another import may have brought the same layer meanwhile. */
static int commit_layers(struct import *im)
{
	int layers = im->store->layers;

	for (unsigned i = 0; i < im->image.manifest.n_layers; i++) {
		const struct digest *diff_id = &im->image.config.diff_id[i];
		struct made *made = &im->made[i];
		char hex[DIGEST_HEX_SIZE];

		digest_hex(diff_id, hex);
		if (!made->name[0] || layer_exists(im->store, diff_id))
			continue;
		if (renameat(layers, made->name, layers, hex) < 0)
			return image_fail(im->digest, im->error, -errno,
					  "layers: %s", strerror(errno));
		made->name[0] = '\0';
	}
	return fsync(layers) < 0 ? image_fail(im->digest, im->error, -errno,
					      "layers: %s", strerror(errno))
				 : 0;
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

static int commit_catalog(struct import *im, struct catalog *catalog)
{
	const struct catalog_entry entry = { *im->digest,
					     im->image.manifest_bytes };
	int r = catalog_add(catalog, &entry);

	if (!r)
		r = catalog_write(im->store, catalog);
	return r ? image_fail(im->digest, im->error, r, "index.json: %s",
			      strerror(-r))
		 : 0;
}

/* 0, or -EAGAIN when a layer is missing by now. What got its name before an
 * error is swept as after a removal. */
static int commit(struct import *im, struct catalog *catalog)
{
	autoclose int held = catalog_lock(im->store);
	int r = held < 0 ? held : read_catalog(im->store, catalog);

	if (r)
		return image_fail(im->digest, im->error, r, "image store: %s",
				  strerror(-r));
	for (unsigned i = 0; i < im->image.manifest.n_layers; i++)
		if (!layer_at_hand(im, i))
			return -EAGAIN;
	r = commit_layers(im);
	if (!r)
		r = commit_documents(im);
	if (!r)
		r = commit_catalog(im, catalog);
	if (r) {
		catalog_read(im->store, catalog);
		sweep(im->store, catalog);
	}
	return r;
}

/* ------------------------------------------------------------------- import */

static int import(struct import *im, struct catalog *catalog)
{
	int r = image_load(im->source->layout, im->digest, &im->image,
			   im->error);

	if (!r) {
		sweep_abandoned(im->store);
		r = check_space(im);
	}
	if (r)
		return r;
	do {
		r = unpack_missing(im);
		if (!r)
			r = commit(im, catalog);
	} while (r == -EAGAIN);
	made_remove(im);
	return r;
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

int store_import(const struct store *store, struct store_source *source,
		 const struct digest *image, char error[STORE_ERROR_SIZE])
{
	struct import im = { store, source, image, .error = error };
	autofree struct catalog *catalog = malloc(sizeof(*catalog));
	autofree struct made *made = calloc(STORE_LAYERS_MAX, sizeof(*made));
	int r = catalog && made ? read_catalog(store, catalog) : -ENOMEM;

	for (unsigned i = 0; made && i < STORE_LAYERS_MAX; i++)
		made[i].dir = -1;
	im.made = made;
	if (r)
		image_fail(image, error, r, "image store: %s", strerror(-r));
	else if (!is_whole(store, image, catalog))
		r = import(&im, catalog);
	image_free(&im.image);
	return r;
}
