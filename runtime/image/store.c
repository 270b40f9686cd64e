#define _GNU_SOURCE
#include "store.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"

#include "blob.h"
#include "catalog.h"
#include "image.h"

const char *const store_job_names[] = {
	[STORE_IMPORT] = "import",
	[STORE_FORGET] = "forget",
};

#define LAYOUT_FILE "oci-layout"
#define LAYOUT_TEXT "{\"imageLayoutVersion\":\"1.0.0\"}\n"

/* Layers hold set-id programs of images, so only root may enter there. */
static int make_directories(int data)
{
	int r = path_mkdirs(data, "images/blobs/sha256", 0755);

	return r ? r : path_mkdirs(data, "layers", 0700);
}

static int open_directories(struct store *store, int data)
{
	const int flags = O_RDONLY | O_DIRECTORY;

	store->images = path_open_beneath(data, "images", flags, 0);
	if (store->images < 0)
		return store->images;
	store->layers = path_open_beneath(data, "layers", flags, 0);
	return store->layers < 0 ? store->layers : 0;
}

static int make_layout_file(const struct store *store)
{
	if (faccessat(store->images, LAYOUT_FILE, F_OK, 0) == 0)
		return 0;
	return file_replace(store->images, LAYOUT_FILE, 0644, LAYOUT_TEXT,
			    strlen(LAYOUT_TEXT));
}

int store_open(struct store *store)
{
	autoclose int data = open(path_data(),
				  O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int r;

	store->images = store->layers = -1;
	r = data < 0 ? -errno : make_directories(data);
	if (!r)
		r = open_directories(store, data);
	if (!r)
		r = make_layout_file(store);
	if (r) {
		log_error("image store", "%s: %s", path_data(), strerror(-r));
		store_close(store);
	}
	return r;
}

void store_close(struct store *store)
{
	fd_close(&store->images);
	fd_close(&store->layers);
}

/* Removes every .tmp.N beneath name in dir. */
static int clean(int dir, const char *name)
{
	DIR *entries = path_list(dir, name);
	struct dirent *e;
	int r = 0;

	if (!entries)
		return -errno;
	while (!r && (e = readdir(entries)))
		if (temporary_is(e->d_name))
			r = path_remove_tree(dirfd(entries), e->d_name);
	closedir(entries);
	return r;
}

/* The lock is waited for, since a worker of an earlier process may just be
 * dying with it. */
int store_clean(const struct store *store)
{
	autoclose int held = catalog_lock(store);
	int r = held < 0 ? held : clean(store->images, "blobs/sha256");

	if (!r)
		r = clean(store->layers, ".");
	if (r)
		log_error("image store", "cannot remove half-made parts: %s",
			  strerror(-r));
	return r;
}

int store_layers(const struct store *store, const struct digest *image_digest,
		 struct store_layers *layers, char error[STORE_ERROR_SIZE])
{
	struct image image;
	int r = image_load(store->images, image_digest, &image, error);

	layers->n = 0;
	for (unsigned i = 0; !r && i < image.manifest.n_layers; i++) {
		char *name = layers->name[layers->n++];

		digest_hex(&image.config.diff_id[i], name);
		if (faccessat(store->layers, name, F_OK, 0) < 0)
			r = image_fail(image_digest, error, -errno,
				       "layer %u (sha256:%s) is not unpacked",
				       i, name);
	}
	image_free(&image);
	return r;
}

int store_list(const struct store *store, struct digest *images, unsigned max)
{
	struct catalog *catalog = malloc(sizeof(*catalog));
	unsigned n = 0;
	int r = catalog ? catalog_read(store, catalog) : -ENOMEM;

	for (; !r && n < catalog->n && n < max; n++)
		images[n] = catalog->entry[n].manifest;
	free(catalog);
	return r ? r : (int)n;
}
