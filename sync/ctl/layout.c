#define _GNU_SOURCE
#include "layout.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yyjson.h>

#include "base/fd.h"
#include "base/path.h"
#include "oci/image_manifest.h"
#include "tar.h"

enum { MEMBERS_MAX = 4096, SMALL_MAX = 4096 };

/* A file of an archive that belongs to a layout. */
struct member {
	char name[80]; /* blobs/sha256/ and 64 digits are 77 */
	uint64_t offset, size;
};

struct layout {
	int fd;	  /* the folder, or the archive */
	int blob; /* of a folder: the blob that is open */
	bool is_archive, is_docker;
	unsigned n;
	struct member member[MEMBERS_MAX];
};

__attribute__((format(printf, 3, 4))) static int fail(
	char error[IMAGE_ERROR_SIZE], int err, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(error, IMAGE_ERROR_SIZE, fmt, args);
	va_end(args);
	return err;
}

/* ---- files ---- */

static const struct member *member_find(const struct layout *l,
					const char *name)
{
	for (unsigned i = 0; i < l->n; i++)
		if (!strcmp(l->member[i].name, name))
			return &l->member[i];
	return NULL;
}

static int folder_file(struct layout *l, const char *name, uint64_t *size)
{
	struct stat st;

	fd_close(&l->blob);
	l->blob = path_open_beneath(l->fd, name, O_RDONLY | O_CLOEXEC, 0);
	if (l->blob < 0)
		return l->blob;
	if (fstat(l->blob, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	*size = (uint64_t)st.st_size;
	return l->blob;
}

/* The descriptor that holds the file, and where. */
static int file_find(struct layout *l, const char *name, uint64_t *offset,
		     uint64_t *size)
{
	const struct member *m;

	*offset = *size = 0;
	if (!l->is_archive)
		return folder_file(l, name, size);
	m = member_find(l, name);
	if (!m)
		return -ENOENT;
	*offset = m->offset;
	*size = m->size;
	return l->fd;
}

/* The whole of a small file; the caller frees it. */
static int text_read(struct layout *l, const char *name, size_t max,
		     struct span *text)
{
	uint64_t offset, size;
	int fd = file_find(l, name, &offset, &size);
	char *data;

	*text = (struct span){ NULL, 0 };
	if (fd < 0)
		return fd;
	if (size > max)
		return -EFBIG;
	data = malloc(size + 1);
	if (!data)
		return -ENOMEM;
	for (uint64_t done = 0; done < size;) {
		ssize_t n = pread(fd, data + done, size - done,
				  (off_t)(offset + done));

		if (n <= 0) {
			free(data);
			return n ? -errno : -EIO;
		}
		done += (uint64_t)n;
	}
	data[size] = '\0';
	*text = (struct span){ data, size };
	return 0;
}

static void blob_name(const struct digest *digest, char name[80])
{
	char hex[DIGEST_HEX_SIZE];

	digest_hex(digest, hex);
	snprintf(name, 80, "blobs/sha256/%s", hex);
}

int layout_blob_open(struct layout *l, const struct digest *digest,
		     uint64_t *offset, uint64_t *size)
{
	char name[80];

	blob_name(digest, name);
	return file_find(l, name, offset, size);
}

/* ---- opening ---- */

static int archive_member(struct layout *l, const struct tar_entry *e,
			  char error[IMAGE_ERROR_SIZE])
{
	const char *name = !strncmp(e->name, "./", 2) ? e->name + 2 : e->name;
	struct member *m = &l->member[l->n];

	if (!strcmp(name, "manifest.json"))
		l->is_docker = true;
	if (strcmp(name, "oci-layout") != 0 &&
	    strcmp(name, "index.json") != 0 &&
	    strncmp(name, "blobs/sha256/", strlen("blobs/sha256/")) != 0)
		return 0;
	if (l->n == MEMBERS_MAX)
		return fail(error, -E2BIG, "holds more than %u blobs",
			    MEMBERS_MAX);
	if (span_copy(m->name, sizeof(m->name), span_of(name)) < 0)
		return 0; /* no blob has such a name */
	m->offset = e->offset;
	m->size = e->size;
	l->n++;
	return 0;
}

/* What people try instead of a plain tar. */
static const char *packed_by(int fd)
{
	uint8_t head[4] = { 0 };

	if (pread(fd, head, sizeof(head), 0) != sizeof(head))
		return NULL;
	if (head[0] == 0x1f && head[1] == 0x8b)
		return "gzip";
	return !memcmp(head, "\x28\xb5\x2f\xfd", 4) ? "zstd" : NULL;
}

static int archive_index(struct layout *l, char error[IMAGE_ERROR_SIZE])
{
	const char *packer = packed_by(l->fd);
	struct tar_entry entry;
	struct tar tar;
	int n = tar_open(&tar, l->fd);

	if (packer)
		return fail(error, -EINVAL, "is packed: unpack it with %s -d",
			    packer);
	while (n >= 0 && (n = tar_next(&tar, &entry)) > 0)
		n = archive_member(l, &entry, error);
	if (n < 0 && !error[0])
		fail(error, n,
		     n == -EINVAL ? "is no folder and no whole tar "
				    "archive"
				  : "%s",
		     strerror(-n));
	return n;
}

static int layout_check(struct layout *l, char error[IMAGE_ERROR_SIZE])
{
	struct span text;
	int err = text_read(l, "oci-layout", SMALL_MAX, &text);

	if (err < 0 && l->is_docker)
		return fail(error, -EINVAL,
			    "is a docker-archive; make another of it: skopeo "
			    "copy docker-archive:FILE oci-archive:NEW.tar");
	if (err < 0)
		return fail(
			error, -EINVAL,
			"is no OCI layout (oci-layout: %s); skopeo copy ... "
			"oci:FOLDER makes one",
			strerror(-err));
	err = image_layout_check(text, error);
	free((char *)(uintptr_t)text.data);
	return err;
}

int layout_open(const char *path, struct layout **out,
		char error[IMAGE_ERROR_SIZE])
{
	struct layout *l = calloc(1, sizeof(*l));
	struct stat st = { 0 };
	int err = 0;

	error[0] = '\0';
	*out = NULL;
	if (!l)
		return fail(error, -ENOMEM, "out of memory");
	l->blob = -1;
	l->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (l->fd < 0 || fstat(l->fd, &st) < 0)
		err = fail(error, -errno, "%s", strerror(errno));
	else if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
		err = fail(error, -EINVAL, "is neither a folder nor a file");
	l->is_archive = err == 0 && S_ISREG(st.st_mode);
	if (l->is_archive)
		err = archive_index(l, error);
	if (err == 0)
		err = layout_check(l, error);
	if (err)
		layout_close(l);
	else
		*out = l;
	return err;
}

void layout_close(struct layout *l)
{
	if (!l)
		return;
	fd_close(&l->blob);
	fd_close(&l->fd);
	free(l);
}

/* ---- one image ---- */

/* Where an image is being put together. */
struct finder {
	struct layout *layout;
	struct layout_image *image;
	char *error;
};

static int blob_fail(struct finder *f, int err, const char *name)
{
	return fail(f->error, err, "%.24s...: %s", name + 6,
		    err == -ENOENT  ? "is missing from the layout"
		    : err == -EXDEV ? "leads out of the layout"
				    : strerror(-err));
}

static int blob_add(struct finder *f, const struct image_descriptor *d)
{
	struct layout_image *image = f->image;
	char name[80];
	uint64_t offset, size;
	int fd;

	for (unsigned i = 0; i < image->n_blobs; i++)
		if (digest_equal(&image->blob[i].digest, &d->digest))
			return 0;
	blob_name(&d->digest, name);
	fd = file_find(f->layout, name, &offset, &size);
	if (fd < 0)
		return blob_fail(f, fd, name);
	if (size != d->size)
		return fail(f->error, -EINVAL,
			    "%.24s...: has %llu bytes, not %llu: it is damaged",
			    name + 6, (unsigned long long)size,
			    (unsigned long long)d->size);
	if (image->n_blobs == LAYOUT_BLOBS_MAX)
		return fail(f->error, -E2BIG, "has more than %u blobs",
			    LAYOUT_BLOBS_MAX);
	image->blob[image->n_blobs++] = (struct layout_blob){ d->digest, size };
	image->total += size;
	return 0;
}

static int descriptor_add(struct finder *f, yyjson_val *v)
{
	yyjson_val *digest = yyjson_obj_get(v, "digest");
	struct span text = { yyjson_get_str(digest), yyjson_get_len(digest) };
	struct image_descriptor d = {
		.size = yyjson_get_uint(yyjson_obj_get(v, "size")),
	};

	if (!text.data || digest_parse(text, &d.digest) < 0)
		return fail(f->error, -EINVAL,
			    "manifest: want \"sha256:\" and 64 hex digits");
	return blob_add(f, &d);
}

/* What an image for several platforms holds beside (attestations) is passed on
 * as it is; an image alone must be one that nodes can run. */
static int manifest_add(struct finder *f, struct span text, unsigned depth)
{
	struct image_manifest *manifest = malloc(sizeof(*manifest));
	yyjson_doc *doc = yyjson_read(text.data, text.size, 0);
	yyjson_val *root = yyjson_doc_get_root(doc), *layer;
	yyjson_arr_iter iter;
	int err = manifest ? image_manifest_parse(text, manifest, f->error)
			   : -ENOMEM;

	if (err == -ENOTSUP && depth)
		err = 0;
	if (err == 0)
		err = descriptor_add(f, yyjson_obj_get(root, "config"));
	yyjson_arr_iter_init(yyjson_obj_get(root, "layers"), &iter);
	while (err == 0 && (layer = yyjson_arr_iter_next(&iter)))
		err = descriptor_add(f, layer);
	yyjson_doc_free(doc);
	free(manifest);
	return err;
}

static int document_add(struct finder *f, const struct image_descriptor *d,
			unsigned depth);

static int index_add(struct finder *f, struct span text, unsigned depth)
{
	struct image_index *index = malloc(sizeof(*index));
	int err = index ? image_index_parse(text, index, f->error) : -ENOMEM;

	for (unsigned i = 0; err == 0 && i < index->n; i++)
		err = document_add(f, &index->entry[i].descriptor, depth + 1);
	free(index);
	return err;
}

/* The media type that the registry is told: the document's own word. */
static void type_read(struct span text, enum image_media media, char type[96])
{
	yyjson_doc *doc = yyjson_read(text.data, text.size, 0);
	const char *said = yyjson_get_str(
		yyjson_obj_get(yyjson_doc_get_root(doc), "mediaType"));

	if (!said || image_media_parse(span_of(said)) != media)
		said = media == IMAGE_MEDIA_INDEX
			       ? "application/vnd.oci.image.index.v1+json"
			       : "application/vnd.oci.image.manifest.v1+json";
	text_copy(type, 96, said);
	yyjson_doc_free(doc);
}

static int document_read(struct finder *f, const struct image_descriptor *d,
			 struct span *text)
{
	struct digest digest;
	char name[80];
	int err;

	blob_name(&d->digest, name);
	err = text_read(f->layout, name, IMAGE_DOCUMENT_MAX, text);
	if (err < 0)
		return blob_fail(f, err, name);
	digest = digest_of(text->data, text->size);
	if (digest_equal(&digest, &d->digest))
		return 0;
	free((char *)(uintptr_t)text->data);
	return fail(f->error, -EINVAL, "%.24s...: is damaged", name + 6);
}

/* What a document refers to goes before it. */
static int document_add(struct finder *f, const struct image_descriptor *d,
			unsigned depth)
{
	struct layout_image *image = f->image;
	struct layout_document *document;
	struct span text;
	int err;

	for (unsigned i = 0; i < image->n_documents; i++)
		if (digest_equal(&image->document[i].digest, &d->digest))
			return 0;
	if (depth >= LAYOUT_DEPTH_MAX)
		return fail(f->error, -EINVAL,
			    "an index of indexes of indexes");
	err = document_read(f, d, &text);
	if (err)
		return err;
	err = d->media == IMAGE_MEDIA_INDEX ? index_add(f, text, depth)
					    : manifest_add(f, text, depth);
	if (err == 0 && image->n_documents == LAYOUT_DOCUMENTS_MAX)
		err = fail(f->error, -E2BIG, "is more than %u images in one",
			   LAYOUT_DOCUMENTS_MAX);
	if (err) {
		free((char *)(uintptr_t)text.data);
		return err;
	}
	document = &image->document[image->n_documents++];
	document->digest = d->digest;
	document->text = (char *)(uintptr_t)text.data;
	document->size = text.size;
	type_read(text, d->media, document->type);
	return 0;
}

/* The entry of that tag, if there is but one. */
static int entry_pick(const struct image_index *index, const char *tag,
		      char error[IMAGE_ERROR_SIZE])
{
	char names[120] = "";
	size_t used = 0;
	int found = -1;
	unsigned n = 0;

	for (unsigned i = 0; i < index->n; i++) {
		const char *name = index->entry[i].tag;

		if (used < sizeof(names))
			used += (size_t)snprintf(
				names + used, sizeof(names) - used, "%s%s",
				used ? ", " : "", name[0] ? name : "(no name)");
		if (tag[0] && strcmp(tag, name) != 0)
			continue;
		found = (int)i;
		n++;
	}
	if (n == 1)
		return found;
	if (!n && tag[0])
		return fail(error, -ENOENT, "no image %.60s in it, only %s",
			    tag, names[0] ? names : "none at all");
	if (!n)
		return fail(error, -ENOENT, "holds no image");
	return fail(error, -EINVAL, "holds %u images (%s): say FILE:TAG", n,
		    names);
}

static int image_find(struct finder *f, const struct image_index *index,
		      const char *tag)
{
	int i = entry_pick(index, tag, f->error);

	if (i < 0)
		return i;
	text_copy(f->image->tag, sizeof(f->image->tag), index->entry[i].tag);
	return document_add(f, &index->entry[i].descriptor, 0);
}

int layout_find(struct layout *l, const char *tag, struct layout_image *image,
		char error[IMAGE_ERROR_SIZE])
{
	struct finder f = { l, image, error };
	struct image_index *index = malloc(sizeof(*index));
	struct span text = { NULL, 0 };
	int err = index ? 0 : -ENOMEM;

	*image = (struct layout_image){ 0 };
	error[0] = '\0';
	if (err == 0)
		err = text_read(l, "index.json", IMAGE_DOCUMENT_MAX, &text);
	if (err < 0)
		fail(error, err, "index.json: %s", strerror(-err));
	if (err == 0)
		err = image_index_parse(text, index, error);
	if (err == 0)
		err = image_find(&f, index, tag);
	if (err < 0 && !error[0])
		fail(error, err, "%s", strerror(-err));
	free((char *)(uintptr_t)text.data);
	free(index);
	if (err)
		layout_image_free(image);
	return err;
}

void layout_image_free(struct layout_image *image)
{
	for (unsigned i = 0; i < image->n_documents; i++)
		free(image->document[i].text);
	image->n_documents = 0;
}
