#define _GNU_SOURCE
#include "image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/path.h"
#include "oci/image_index.h"
#include "oci/image_manifest.h"

/* An index may name indexes; deeper ones nobody makes. */
enum { INDEX_DEPTH_MAX = 4 };

/* A file of at most max bytes beneath the layout. */
static int read_file(int layout, const char *path, size_t max, char **text,
		     size_t *size)
{
	autoclose int fd = path_open_beneath(layout, path,
					     O_RDONLY | O_NONBLOCK, 0);
	struct stat st;
	ssize_t n;
	char *buf;

	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > max)
		return -EFBIG;
	buf = malloc((size_t)st.st_size + 1);
	if (!buf)
		return -ENOMEM;
	n = fd_read(fd, buf, (size_t)st.st_size);
	if (n < 0) {
		free(buf);
		return (int)n;
	}
	*size = (size_t)n;
	*text = buf;
	return 0;
}

/* A document of the layout whose bytes are those of its descriptor. */
static int read_blob(int layout, const struct image_descriptor *d, char **text,
		     char *error)
{
	char path[sizeof("blobs/sha256/") + DIGEST_HEX_SIZE],
		hex[DIGEST_HEX_SIZE];
	struct digest found;
	size_t size = 0;
	int r;

	digest_hex(&d->digest, hex);
	snprintf(path, sizeof(path), "blobs/sha256/%s", hex);
	r = read_file(layout, path, (size_t)d->size, text, &size);
	if (!r) {
		found = digest_of(*text, size);
		if (size == d->size && digest_equal(&found, &d->digest))
			return 0;
		free(ptr_take(text));
		r = -EBADMSG;
	}
	snprintf(error, IMAGE_ERROR_SIZE, "blob sha256:%s: %s", hex,
		 r == -EBADMSG ? "damaged, its bytes have another digest: "
				 "copy it again"
			       : strerror(-r));
	return r;
}

static int pick(struct span text, const char *tag, struct image_descriptor *d,
		char *error)
{
	struct image_index *index = malloc(sizeof(*index));
	int r = index ? image_index_parse(text, index, error) : -ENOMEM;

	if (!r)
		r = image_index_pick(index, tag, &image_platform_own, error);
	if (r >= 0)
		*d = index->entry[r].descriptor;
	free(index);
	return r < 0 ? r : 0;
}

static int check_layout(int layout, char *error)
{
	autofree char *text = NULL;
	size_t size = 0;
	int r = read_file(layout, "oci-layout", 4096, &text, &size);

	if (!r)
		return image_layout_check((struct span){ text, size }, error);
	snprintf(error, IMAGE_ERROR_SIZE, "oci-layout: %s", strerror(-r));
	return r;
}

/* From index.json through further indexes to a manifest's descriptor. */
static int find_manifest(int layout, const char *tag,
			 struct image_descriptor *d, char *error)
{
	autofree char *text = NULL;
	size_t size = 0;
	int r = read_file(layout, "index.json", IMAGE_DOCUMENT_MAX, &text,
			  &size);

	if (r) {
		snprintf(error, IMAGE_ERROR_SIZE, "index.json: %s",
			 strerror(-r));
		return r;
	}
	r = pick((struct span){ text, size }, tag, d, error);
	for (int depth = 0; !r && d->media == IMAGE_MEDIA_INDEX; depth++) {
		autofree char *inner = NULL;

		if (depth == INDEX_DEPTH_MAX) {
			snprintf(error, IMAGE_ERROR_SIZE,
				 "index.json: indexes nested too deep");
			return -E2BIG;
		}
		r = read_blob(layout, d, &inner, error);
		if (!r)
			r = pick((struct span){ inner, (size_t)d->size }, "", d,
				 error);
	}
	return r;
}

static int read_manifest(int layout, const struct image_descriptor *d,
			 struct node_image *image,
			 struct image_descriptor *config, char *error)
{
	struct image_manifest *manifest = malloc(sizeof(*manifest));
	autofree char *text = NULL;
	int r = manifest ? read_blob(layout, d, &text, error) : -ENOMEM;

	if (!r)
		r = image_manifest_parse((struct span){ text, (size_t)d->size },
					 manifest, error);
	if (!r) {
		*config = manifest->config;
		image->bytes = d->size + config->size;
		for (unsigned i = 0; i < manifest->n_layers; i++)
			image->bytes += manifest->layer[i].size;
	}
	free(manifest);
	return r;
}

static int read_config(int layout, const struct image_descriptor *d,
		       struct node_image *image, char *error)
{
	const struct image_config *c = &image->config;
	autofree char *text = NULL;
	int r = read_blob(layout, d, &text, error);

	if (!r)
		r = image_config_parse((struct span){ text, (size_t)d->size },
				       &image->config, error);
	if (r || image_platform_fits(&c->platform, &image_platform_own))
		return r;
	snprintf(error, IMAGE_ERROR_SIZE, "made for %s/%s, this node is %s/%s",
		 c->platform.os, c->platform.architecture,
		 image_platform_own.os, image_platform_own.architecture);
	return -ENOTSUP;
}

static int find(int layout, const char *tag, struct node_image *image,
		char *error)
{
	struct image_descriptor manifest, config;
	int r = check_layout(layout, error);

	if (!r)
		r = find_manifest(layout, tag, &manifest, error);
	if (r)
		return r;
	image->manifest = manifest.digest;
	r = read_manifest(layout, &manifest, image, &config, error);
	return r ? r : read_config(layout, &config, image, error);
}

int node_image_find(int boot, const char *layout, const char *tag,
		    struct node_image *image, char error[NODE_IMAGE_ERROR_SIZE])
{
	char why[IMAGE_ERROR_SIZE] = "out of memory";
	autoclose int dir = boot < 0 ? -ENOENT
				     : path_open_beneath(boot, layout,
							 O_RDONLY | O_DIRECTORY,
							 0);
	int r;

	memset(image, 0, sizeof(*image));
	if (dir < 0) {
		snprintf(error, NODE_IMAGE_ERROR_SIZE,
			 "no OCI layout %.100s on the ZOOID partition: %s",
			 layout, strerror(-dir));
		return dir;
	}
	r = find(dir, tag, image, why);
	if (r)
		snprintf(error, NODE_IMAGE_ERROR_SIZE, "%.50s: %s", layout,
			 why);
	return r;
}

/* The store's index.json lists what is wholly there, by digest alone. */
static int store_find(int images, const struct digest *manifest,
		      struct image_descriptor *d, char *error)
{
	struct image_index *index = malloc(sizeof(*index));
	autofree char *text = NULL;
	size_t size = 0;
	int r = index ? read_file(images, "index.json", IMAGE_DOCUMENT_MAX,
				  &text, &size)
		      : -ENOMEM;

	if (r)
		snprintf(error, IMAGE_ERROR_SIZE, "index.json: %s",
			 strerror(-r));
	else
		r = image_index_parse((struct span){ text, size }, index,
				      error);
	for (unsigned i = 0; !r && i < index->n; i++)
		if (digest_equal(&index->entry[i].descriptor.digest,
				 manifest)) {
			*d = index->entry[i].descriptor;
			free(index);
			return 0;
		}
	free(index);
	if (r)
		return r;
	snprintf(error, IMAGE_ERROR_SIZE, "not there yet");
	return -ENOENT;
}

int node_image_load(int images, const struct digest *manifest,
		    struct node_image *image, char error[NODE_IMAGE_ERROR_SIZE])
{
	struct image_descriptor d, config;
	char why[IMAGE_ERROR_SIZE] = "out of memory";
	int r;

	memset(image, 0, sizeof(*image));
	image->manifest = *manifest;
	r = store_find(images, manifest, &d, why);
	if (!r)
		r = read_manifest(images, &d, image, &config, why);
	if (!r)
		r = read_config(images, &config, image, why);
	if (r)
		snprintf(error, NODE_IMAGE_ERROR_SIZE, "image store: %s", why);
	return r;
}

int node_index_pick(struct span text, const struct digest *index,
		    struct digest *manifest, char error[NODE_IMAGE_ERROR_SIZE])
{
	struct digest found = digest_of(text.data, text.size);
	char why[IMAGE_ERROR_SIZE] = "damaged, its bytes have another digest";
	struct image_descriptor d;
	int r = digest_equal(&found, index) ? pick(text, "", &d, why)
					    : -EBADMSG;

	if (!r)
		*manifest = d.digest;
	else
		snprintf(error, NODE_IMAGE_ERROR_SIZE, "image index: %s", why);
	return r;
}

void node_image_free(struct node_image *image)
{
	image_config_free(&image->config);
}
