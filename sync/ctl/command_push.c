/* zctl push: an OCI layout goes to the hub's registry. Blobs that are there are
 * not sent again; the name is set last, so it never leads to half an image. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ask.h"
#include "base/fd.h"
#include "base/log.h"
#include "layout.h"
#include "progress.h"
#include "show.h"

enum { NAME_SIZE = 200, TAG_SIZE = 129 };

struct push {
	const struct ctl *ctl;
	struct ask ask;
	struct layout *layout;
	struct layout_image image;
	char path[512];	     /* what was given, without its :TAG */
	char want[TAG_SIZE]; /* that TAG, or "" */
	char name[NAME_SIZE], tag[TAG_SIZE];
	struct progress progress;
	uint64_t sent;
};

/* ---- names ---- */

/* FILE, or FILE:TAG when there is no file of that name. */
static int path_read(struct push *p, const char *text)
{
	const char *colon = strrchr(text, ':');
	size_t n = strlen(text);

	if (access(text, F_OK) < 0 && colon && !strchr(colon, '/')) {
		n = (size_t)(colon - text);
		text_copy(p->want, sizeof(p->want), colon + 1);
	}
	if (span_copy(p->path, sizeof(p->path), (struct span){ text, n }) == 0)
		return EXIT_DONE;
	log_error(text, "the path is too long");
	return EXIT_USAGE;
}

static bool is_among(const char *text, const char *more)
{
	for (const char *c = text; *c; c++)
		if (!(*c >= 'a' && *c <= 'z') && !(*c >= '0' && *c <= '9') &&
		    !strchr(more, *c))
			return false;
	return text[0];
}

static bool tag_valid(const char *tag)
{
	return is_among(tag, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_.-") &&
	       tag[0] != '.' && tag[0] != '-' && strlen(tag) < TAG_SIZE;
}

static bool is_plain(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

/* Parts between slashes that begin and end with a letter or a digit
 * (distribution-spec, pulling manifests). */
static bool name_valid(const char *name)
{
	struct span rest = span_of(name), part;

	while (span_cut(&rest, '/', &part))
		if (!part.size || !is_plain(part.data[0]) ||
		    !is_plain(part.data[part.size - 1]))
			return false;
	return is_among(name, "_.-/");
}

/* NAME[:TAG], also as applications call it: hub/NAME. */
static int name_split(struct push *p, const char *text)
{
	const char *colon = strrchr(text, ':');
	struct span name = { text,
			     colon ? (size_t)(colon - text) : strlen(text) };

	if (name.size > 4 && !memcmp(name.data, "hub/", 4)) {
		name.data += 4;
		name.size -= 4;
	}
	if (span_copy(p->name, sizeof(p->name), name) < 0 ||
	    !name_valid(p->name) || (colon && !tag_valid(colon + 1))) {
		log_error(text, "no name of an image; want NAME[:TAG] as "
				"shop/web:1.2, in lower case");
		return EXIT_USAGE;
	}
	if (colon)
		text_copy(p->tag, sizeof(p->tag), colon + 1);
	return EXIT_DONE;
}

/* "build/Web.tar" is web. */
static void name_guess(struct push *p)
{
	autofree char *path = realpath(p->path, NULL);
	const char *base = path ? strrchr(path, '/') + 1 : "";
	size_t n = strlen(base), used = 0;

	if (n > 4 && !strcmp(base + n - 4, ".tar"))
		n -= 4;
	for (size_t i = 0; i < n && used < sizeof(p->name) - 1; i++)
		p->name[used++] = base[i] >= 'A' && base[i] <= 'Z'
					  ? (char)(base[i] | 0x20)
					  : base[i];
	p->name[used] = '\0';
}

static int name_find(struct push *p)
{
	int code;

	if (p->ctl->name) {
		code = name_split(p, p->ctl->name);
		if (code)
			return code;
	} else {
		name_guess(p);
	}
	if (!p->tag[0] && tag_valid(p->image.tag))
		text_copy(p->tag, sizeof(p->tag), p->image.tag);
	if (!p->tag[0])
		text_copy(p->tag, sizeof(p->tag), "latest");
	if (name_valid(p->name))
		return EXIT_DONE;
	log_error(p->path, "gives no name of an image; give --name NAME[:TAG]");
	return EXIT_USAGE;
}

/* ---- blobs ---- */

/* The bytes of a blob, as the connection takes them. */
struct source {
	struct progress *progress;
	int fd;
	uint64_t offset, left;
};

static ssize_t source_pull(void *user, void *buf, size_t size)
{
	struct source *s = user;
	ssize_t n;

	if (size > s->left)
		size = s->left;
	if (!size)
		return 0;
	n = pread(s->fd, buf, size, (off_t)s->offset);
	if (n <= 0)
		return n < 0 ? -errno : -EIO; /* shorter than it was */
	s->offset += (uint64_t)n;
	s->left -= (uint64_t)n;
	progress_add(s->progress, (uint64_t)n);
	return n;
}

static void blob_path(const struct push *p, const char *kind,
		      const struct digest *digest, char path[512])
{
	char text[DIGEST_TEXT_SIZE];

	digest_text(digest, text);
	snprintf(path, 512, "/v2/%s/blobs/%s%s", p->name, kind, text);
}

/* A line for whoever looks at a log instead of a bar. */
static void blob_told(const struct push *p, const struct layout_blob *blob,
		      const char *what)
{
	char text[DIGEST_TEXT_SIZE], size[SHOW_SIZE];

	digest_text(&blob->digest, text);
	if (!p->progress.on_terminal)
		fprintf(stderr, "zctl: %.19s: %s %s\n", text,
			show_bytes(blob->size, size), what);
}

static int blob_send(struct push *p, const struct layout_blob *blob)
{
	struct source source = { .progress = &p->progress };
	char path[512], text[DIGEST_TEXT_SIZE];
	struct ask_request request = { .method = "POST",
				       .path = path,
				       .object = text,
				       .type = "application/octet-stream",
				       .size = blob->size,
				       .pull = source_pull,
				       .user = &source };
	int code;

	digest_text(&blob->digest, text);
	text[19] = '\0'; /* enough to know it by */
	source.fd = layout_blob_open(p->layout, &blob->digest, &source.offset,
				     &source.left);
	if (source.fd < 0 || source.left != blob->size) {
		log_error(text, "changed while it was pushed");
		return EXIT_FAILED;
	}
	blob_path(p, "uploads/?digest=", &blob->digest, path);
	code = ask_json(&p->ask, &request, NULL);
	if (code)
		return code;
	p->sent += blob->size;
	blob_told(p, blob, "sent");
	return EXIT_DONE;
}

static int blobs_send(struct push *p)
{
	char path[512];
	const struct ask_request head = { .method = "HEAD",
					  .path = path,
					  .object = "blob" };
	int code = EXIT_DONE;

	for (unsigned i = 0; i < p->image.n_blobs && !code; i++) {
		const struct layout_blob *blob = &p->image.blob[i];
		bool there = false;

		blob_path(p, "", &blob->digest, path);
		code = ask_head(&p->ask, &head, &there);
		if (!code && there) {
			progress_skip(&p->progress, blob->size);
			blob_told(p, blob, "are there");
		} else if (!code) {
			code = blob_send(p, blob);
		}
	}
	return code;
}

/* ---- documents ---- */

/* Bytes in memory, as a source. */
static ssize_t text_pull(void *user, void *buf, size_t size)
{
	struct span *rest = user;

	if (size > rest->size)
		size = rest->size;
	memcpy(buf, rest->data, size);
	rest->data += size;
	rest->size -= size;
	return (ssize_t)size;
}

static int document_send(struct push *p, const struct layout_document *d,
			 const char *reference)
{
	struct span rest = { d->text, d->size };
	char path[512];
	const struct ask_request request = { .method = "PUT",
					     .path = path,
					     .object = p->name,
					     .type = d->type,
					     .size = d->size,
					     .pull = text_pull,
					     .user = &rest };

	snprintf(path, sizeof(path), "/v2/%s/manifests/%s", p->name, reference);
	return ask_json(&p->ask, &request, NULL);
}

/* The last is the image itself and gets the name. */
static int documents_send(struct push *p)
{
	unsigned n = p->image.n_documents;
	int code = EXIT_DONE;

	for (unsigned i = 0; i < n && !code; i++) {
		const struct layout_document *d = &p->image.document[i];
		char text[DIGEST_TEXT_SIZE];

		digest_text(&d->digest, text);
		code = document_send(p, d, i == n - 1 ? p->tag : text);
	}
	return code;
}

/* ---- all of it ---- */

static int result_show(const struct push *p)
{
	const struct layout_document *last =
		&p->image.document[p->image.n_documents - 1];
	char digest[DIGEST_TEXT_SIZE];
	yyjson_mut_doc *doc;
	yyjson_mut_val *root;
	int code;

	digest_text(&last->digest, digest);
	if (!p->ctl->json) {
		printf("hub/%s:%s@%s\n", p->name, p->tag, digest);
		return EXIT_DONE;
	}
	doc = yyjson_mut_doc_new(NULL);
	root = yyjson_mut_obj(doc);
	yyjson_mut_doc_set_root(doc, root);
	yyjson_mut_obj_add_str(doc, root, "repository", p->name);
	yyjson_mut_obj_add_str(doc, root, "tag", p->tag);
	yyjson_mut_obj_add_str(doc, root, "digest", digest);
	yyjson_mut_obj_add_uint(doc, root, "bytes", p->image.total);
	yyjson_mut_obj_add_uint(doc, root, "sent_bytes", p->sent);
	code = show_json_mut(doc);
	yyjson_mut_doc_free(doc);
	return code;
}

static int image_load(struct push *p)
{
	char error[IMAGE_ERROR_SIZE];
	int err = layout_open(p->path, &p->layout, error);

	if (err == 0)
		err = layout_find(p->layout, p->want, &p->image, error);
	if (err == 0)
		return EXIT_DONE;
	log_error(p->path, "%s", error);
	return EXIT_FAILED;
}

static int push(struct push *p)
{
	int code = path_read(p, p->ctl->argv[0]);

	if (!code)
		code = image_load(p);
	if (!code)
		code = name_find(p);
	if (!code)
		code = ask_open(&p->ask, p->ctl);
	if (code)
		return code;
	progress_begin(&p->progress, p->name, p->image.total);
	code = blobs_send(p);
	if (!code)
		code = documents_send(p);
	progress_clear(&p->progress);
	return code ? code : result_show(p);
}

int command_push(struct ctl *ctl)
{
	struct push *p = calloc(1, sizeof(*p));
	int code;

	if (!p)
		return EXIT_FAILED;
	p->ctl = ctl;
	p->ask.signals.fd = p->ask.loop.epoll_fd = -1;
	code = push(p);
	ask_close(&p->ask);
	layout_image_free(&p->image);
	layout_close(p->layout);
	free(p);
	return code;
}
