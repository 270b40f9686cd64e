#define _GNU_SOURCE
#include "catalog.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>

#include "base/fd.h"
#include "base/log.h"
#include "oci/image_index.h"

#define FILE_NAME "index.json"

int catalog_lock(const struct store *store)
{
	int fd = openat(store->images, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	while (flock(fd, LOCK_EX) < 0)
		if (errno != EINTR) {
			fd_close(&fd);
			return -errno;
		}
	return fd;
}

static int parse(const char *text, size_t size, struct catalog *catalog)
{
	struct image_index *index = malloc(sizeof(*index));
	char error[IMAGE_ERROR_SIZE];
	int r;

	if (!index)
		return -ENOMEM;
	r = image_index_parse((struct span){ text, size }, index, error);
	if (r)
		log_error("image store", "%s", error);
	for (unsigned i = 0; !r && i < index->n; i++) {
		const struct image_descriptor *d = &index->entry[i].descriptor;
		const struct catalog_entry e = { d->digest, d->size };

		r = catalog_add(catalog, &e);
	}
	free(index);
	return r == -EINVAL ? -EBADMSG : r;
}

int catalog_read(const struct store *store, struct catalog *catalog)
{
	autofree char *text = NULL;
	size_t size;
	int r;

	catalog->n = 0;
	r = file_read(store->images, FILE_NAME, IMAGE_DOCUMENT_MAX, &text,
		      &size);
	if (r == -ENOENT)
		return 0;
	return r ? r : parse(text, size, catalog);
}

int catalog_write(const struct store *store, const struct catalog *catalog)
{
	enum { ENTRY_BYTES = 256 };
	size_t max = ENTRY_BYTES * (catalog->n + 1), n;
	autofree char *text = malloc(max);

	if (!text)
		return -ENOMEM;
	n = (size_t)snprintf(text, max, "{\"schemaVersion\":2,\"manifests\":[");
	for (unsigned i = 0; i < catalog->n; i++) {
		char digest[DIGEST_TEXT_SIZE];

		digest_text(&catalog->entry[i].manifest, digest);
		n += (size_t)snprintf(
			text + n, max - n,
			"%s\n{\"mediaType\":\"application/vnd.oci.image."
			"manifest.v1+json\",\"digest\":\"%s\",\"size\":%llu}",
			i ? "," : "", digest,
			(unsigned long long)catalog->entry[i].size);
	}
	n += (size_t)snprintf(text + n, max - n, "\n]}\n");
	return file_replace(store->images, FILE_NAME, 0644, text, n);
}

int catalog_find(const struct catalog *catalog, const struct digest *manifest)
{
	for (unsigned i = 0; i < catalog->n; i++)
		if (digest_equal(&catalog->entry[i].manifest, manifest))
			return (int)i;
	return -1;
}

int catalog_add(struct catalog *catalog, const struct catalog_entry *entry)
{
	if (catalog_find(catalog, &entry->manifest) >= 0)
		return 0;
	if (catalog->n == STORE_IMAGES_MAX)
		return -ENOSPC;
	catalog->entry[catalog->n++] = *entry;
	return 0;
}

void catalog_remove(struct catalog *catalog, unsigned position)
{
	catalog->entry[position] = catalog->entry[--catalog->n];
}
