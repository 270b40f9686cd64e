/* Taking images out of the store. */
#define _GNU_SOURCE
#include "sweep.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"

#include "blob.h"
#include "catalog.h"
#include "image.h"

/* Sorted digests of all that whole images have. */
struct kept {
	size_t n, max;
	struct digest *digest;
};

static int kept_add(struct kept *kept, const struct digest *digest)
{
	if (kept->n == kept->max) {
		size_t max = kept->max ? 2 * kept->max : 64;
		void *p = reallocarray(kept->digest, max, sizeof(*digest));

		if (!p)
			return -ENOMEM;
		kept->digest = p;
		kept->max = max;
	}
	kept->digest[kept->n++] = *digest;
	return 0;
}

static int compare(const void *a, const void *b)
{
	return memcmp(a, b, sizeof(struct digest));
}

static bool kept_has(const struct kept *kept, const struct digest *digest)
{
	return kept->n &&
	       bsearch(digest, kept->digest, kept->n, sizeof(*digest), compare);
}

static int kept_add_image(const struct store *store, struct kept *kept,
			  const struct digest *digest)
{
	char error[STORE_ERROR_SIZE];
	struct image image;
	int r = image_load(store->images, digest, &image, error);

	if (r)
		log_warning("image store", "nothing is swept: %s", error);
	if (!r)
		r = kept_add(kept, digest);
	if (!r)
		r = kept_add(kept, &image.manifest.config.digest);
	for (unsigned i = 0; !r && i < image.manifest.n_layers; i++) {
		r = kept_add(kept, &image.manifest.layer[i].digest);
		if (!r)
			r = kept_add(kept, &image.config.diff_id[i]);
	}
	image_free(&image);
	return r;
}

/* Removes what has the name of a digest that no image needs. A layer is
 * renamed first: removal takes time, and a name stands for a whole layer. */
static int sweep_directory(int dir, const struct kept *kept)
{
	DIR *entries = path_list(dir, ".");
	struct dirent *e;
	int r = 0;

	if (!entries)
		return -errno;
	while (!r && (e = readdir(entries))) {
		char temporary[BLOB_PATH_SIZE];
		struct digest digest;

		if (digest_parse_hex(span_of(e->d_name), &digest) ||
		    kept_has(kept, &digest))
			continue;
		r = temporary_rename(dir, e->d_name, temporary);
		if (!r)
			r = path_remove_tree(dir, temporary);
	}
	closedir(entries);
	return r;
}

/* An image that cannot be read might need anything, so then everything
 * stays. */
int sweep(const struct store *store, const struct catalog *catalog)
{
	struct kept kept = { 0 };
	autoclose int blobs = openat(store->images, "blobs/sha256",
				     O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r = blobs < 0 ? -errno : 0;

	for (unsigned i = 0; !r && i < catalog->n; i++)
		r = kept_add_image(store, &kept, &catalog->entry[i].manifest);
	if (!r) {
		if (kept.n)
			qsort(kept.digest, kept.n, sizeof(*kept.digest),
			      compare);
		r = sweep_directory(blobs, &kept);
	}
	if (!r)
		r = sweep_directory(store->layers, &kept);
	free(kept.digest);
	return r;
}

static void abandoned_remove(int layers, const char *name)
{
	autoclose int dir = openat(
		layers, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (dir >= 0 && flock(dir, LOCK_EX | LOCK_NB) == 0) {
		log_notice("image store", "%s of a killed worker removed",
			   name);
		path_remove_tree(layers, name);
	}
}

void sweep_abandoned(const struct store *store)
{
	autoclose int held = catalog_lock(store);
	DIR *entries = held < 0 ? NULL : path_list(store->layers, ".");
	struct dirent *e;

	while (entries && (e = readdir(entries)))
		if (temporary_is(e->d_name))
			abandoned_remove(store->layers, e->d_name);
	if (entries)
		closedir(entries);
}

int store_forget(const struct store *store, const struct digest *image,
		 char error[STORE_ERROR_SIZE])
{
	struct catalog *catalog = malloc(sizeof(*catalog));
	autoclose int held = catalog_lock(store);
	int position = -1, r = held < 0 ? held : 0;

	if (!catalog)
		r = -ENOMEM;
	if (!r)
		r = catalog_read(store, catalog);
	if (!r) {
		position = catalog_find(catalog, image);
		r = position < 0 ? -ENOENT : 0;
	}
	if (!r) {
		catalog_remove(catalog, (unsigned)position);
		r = catalog_write(store, catalog);
	}
	if (!r)
		r = sweep(store, catalog);
	if (r)
		image_fail(image, error, r, "cannot be removed: %s",
			   strerror(-r));
	free(catalog);
	return r;
}
