#define _GNU_SOURCE
#include "archive.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "oci/digest/digest.h"

enum { END_SIZE = 32 + DIGEST_TEXT_SIZE, PIECES_A_COMMIT = 32 };

static int fail(const char *name, int err)
{
	log_error(name, "%s", strerror(-err));
	return err;
}

static void piece_key(char key[STORE_KEY_MAX], const char *name, unsigned n)
{
	snprintf(key, STORE_KEY_MAX, "file/%s/%08u", name, n);
}

static void end_key(char key[STORE_KEY_MAX], const char *name)
{
	snprintf(key, STORE_KEY_MAX, "file/%s/end", name);
}

/* ---- adding ---- */

static int pieces_add(struct store *archive, const char *name, int fd,
		      char end[END_SIZE])
{
	autofree char *piece = malloc(ARCHIVE_PIECE);
	char key[STORE_KEY_MAX], text[DIGEST_TEXT_SIZE];
	struct digest_stream stream;
	unsigned long long size = 0;
	struct digest digest;
	int err = piece ? 0 : -ENOMEM;

	digest_begin(&stream);
	for (unsigned n = 0; err == 0; n++) {
		ssize_t got = fd_read(fd, piece, ARCHIVE_PIECE);

		if (got <= 0) {
			err = (int)got;
			break;
		}
		digest_update(&stream, piece, (size_t)got);
		size += (unsigned long long)got;
		piece_key(key, name, n);
		err = store_put(archive, key,
				(struct span){ piece, (size_t)got }, STORE_NEW,
				NULL);
		if (err == 0 && n % PIECES_A_COMMIT == PIECES_A_COMMIT - 1)
			err = store_commit(archive);
	}
	digest = digest_end(&stream);
	digest_text(&digest, text);
	snprintf(end, END_SIZE, "%llu %s", size, text);
	return err;
}

int archive_add(struct store *archive, const char *name, int dir,
		const char *path)
{
	autoclose int fd = openat(dir, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	char key[STORE_KEY_MAX], end[END_SIZE];
	int err;

	if (fd < 0)
		return errno == ENOENT ? -ENOENT : fail(path, -errno);
	err = pieces_add(archive, name, fd, end);
	end_key(key, name);
	if (err == 0)
		err = store_put(archive, key, span_of(end), STORE_NEW, NULL);
	return err < 0 ? fail(name, err) : 0;
}

/* ---- listing ---- */

struct listing {
	int (*each)(void *context, const char *name);
	void *context;
};

static int list_entry(void *context, const struct store_entry *e)
{
	struct listing *l = context;
	char name[STORE_KEY_MAX], *slash;

	text_copy(name, sizeof(name), e->key.data + strlen("file/"));
	slash = strrchr(name, '/');
	if (!slash || strcmp(slash, "/end"))
		return 0;
	*slash = '\0';
	return l->each(l->context, name);
}

int archive_each(struct store *archive,
		 int (*each)(void *context, const char *name), void *context)
{
	struct listing l = { each, context };

	return store_range(archive, "file/", "", UINT32_MAX, list_entry, &l);
}

/* ---- extracting ---- */

/* fd < 0: only reads them. */
static int pieces_write(struct store *archive, const char *name, int fd,
			char end[END_SIZE])
{
	char key[STORE_KEY_MAX], text[DIGEST_TEXT_SIZE];
	struct digest_stream stream;
	unsigned long long total = 0;
	struct digest digest;
	int err = 0;

	digest_begin(&stream);
	for (unsigned n = 0;; n++) {
		autofree char *piece = NULL;
		size_t size;

		piece_key(key, name, n);
		err = store_get(archive, key, &piece, &size, NULL);
		if (err == 0 && fd >= 0)
			err = fd_write(fd, piece, size);
		if (err < 0)
			break;
		digest_update(&stream, piece, size);
		total += size;
	}
	digest = digest_end(&stream);
	digest_text(&digest, text);
	snprintf(end, END_SIZE, "%llu %s", total, text);
	return err == -ENOENT ? 0 : err;
}

static int file_write(struct store *archive, const char *name, int fd)
{
	char key[STORE_KEY_MAX], actual[END_SIZE];
	autofree char *said = NULL;
	int err;

	end_key(key, name);
	err = store_get(archive, key, &said, NULL, NULL);
	if (err == 0)
		err = pieces_write(archive, name, fd, actual);
	if (err == 0 && strcmp(said, actual))
		err = -EBADMSG;
	if (err == 0 && fd >= 0 && fsync(fd) < 0)
		err = -errno;
	return err;
}

static int extract_fail(const char *name, int err)
{
	if (err == -EBADMSG)
		log_error(name, "damaged in the backup");
	else
		log_error(name, "%s", strerror(-err));
	return err;
}

int archive_check(struct store *archive, const char *name)
{
	int err = file_write(archive, name, -1);

	return err < 0 ? extract_fail(name, err) : 0;
}

int archive_extract(struct store *archive, const char *name, int dir,
		    const char *path)
{
	autoclose int fd = openat(
		dir, "restore.part",
		O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
	int err = fd < 0 ? -errno : file_write(archive, name, fd);

	if (err == 0 && renameat(dir, "restore.part", dir, path) < 0)
		err = -errno;
	if (err == 0)
		return 0;
	unlinkat(dir, "restore.part", 0);
	return extract_fail(name, err);
}
