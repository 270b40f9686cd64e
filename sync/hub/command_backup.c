/* zhub backup, also while the hub serves. The file is written beside its place
 * and renamed, so what is there is a whole backup or what was there before. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "archive.h"
#include "base/fd.h"
#include "base/log.h"
#include "blob.h"
#include "command.h"
#include "restore.h"

enum { PATH_SIZE = 600 };

struct backup {
	int dir;
	struct store *archive;
	unsigned n_blobs;
};

static int blob_add(void *user, const struct digest *digest)
{
	struct backup *b = user;
	char hex[DIGEST_HEX_SIZE], path[100];
	int err;

	digest_hex(digest, hex);
	snprintf(path, sizeof(path), "blobs/sha256/%.2s/%s", hex, hex);
	err = archive_add(b->archive, path, b->dir, path);
	b->n_blobs += err == 0;
	/* Swept meanwhile: nothing in the copied store needs it. */
	return err == -ENOENT ? 0 : err;
}

static int blobs_add(struct backup *b)
{
	struct blobs *blobs;
	int err = blobs_open(&blobs, b->dir, NULL);

	if (err < 0)
		return err;
	err = blobs_each(blobs, blob_add, b);
	blobs_close(blobs);
	return err;
}

static int files_add(struct backup *b, const char *store_copied)
{
	int err = archive_add(b->archive, "store.db", AT_FDCWD, store_copied);

	for (size_t i = 0; err == 0 && i < HUB_FILES; i++) {
		const char *name = hub_files[i].name;

		err = archive_add(b->archive, name, b->dir, name);
		if (err == -ENOENT && hub_files[i].may_lack)
			err = 0;
		else if (err == -ENOENT)
			log_error(name, "%s", strerror(-err));
	}
	return err;
}

static int store_copy_to(const char *folder, const char *to)
{
	struct store *store;
	char path[512];
	int err;

	command_store_path(folder, path);
	err = store_open(&store, path, NULL);
	if (err < 0)
		return err;
	err = store_copy(store, to);
	store_close(store);
	return err;
}

static int path_sync(const char *path)
{
	autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

/* ---- where it may be ---- */

/* The real path of the folder that file is in or would be in, which the caller
 * frees; NULL with errno set. */
static char *parent_of(const char *file)
{
	const char *slash = strrchr(file, '/');
	autofree char *name = slash == file ? strdup("/")
			      : slash ? strndup(file, (size_t)(slash - file))
				      : strdup(".");

	return name ? realpath(name, NULL) : NULL;
}

static bool is_within(const char *path, const char *folder)
{
	size_t n = strlen(folder);

	return !strncmp(path, folder, n) && (!path[n] || path[n] == '/');
}

/* A backup that replaced a device, or a part of the hub, would be the end of
 * that. 0 and the folder of file, which the caller frees; or -EINVAL after one
 * log line. */
static int place_check(const char *folder, const char *file, char **parent)
{
	autofree char *hub = realpath(command_folder_name(folder), NULL);
	struct stat st;

	*parent = hub ? parent_of(file) : NULL;
	if (!hub || !*parent) {
		log_error(file, "%s", strerror(errno));
		return -EINVAL;
	}
	if (is_within(*parent, hub)) {
		log_error(file, "within the hub's own folder: want another");
		return -EINVAL;
	}
	if (!strcmp(file, "-") || strlen(file) > PATH_SIZE - sizeof(".store") ||
	    (lstat(file, &st) == 0 && !S_ISREG(st.st_mode))) {
		log_error(file, "want the name of a file, new or to be "
				"replaced");
		return -EINVAL;
	}
	return 0;
}

/* ---- writing ---- */

static int backup_write(int dir, const char *folder, const char *file,
			bool images)
{
	struct backup b = { .dir = dir };
	char copied[PATH_SIZE], made[PATH_SIZE];
	int err;

	snprintf(copied, sizeof(copied), "%s.store", file);
	snprintf(made, sizeof(made), "%s.new", file);
	unlink(copied);
	unlink(made);
	err = store_copy_to(folder, copied);
	if (err == 0)
		err = store_open(&b.archive, made, NULL);
	if (err == 0) {
		err = files_add(&b, copied);
		if (err == 0 && images)
			err = blobs_add(&b);
		if (err == 0)
			err = store_commit(b.archive);
		store_close(b.archive);
	}
	unlink(copied);
	if (err == 0)
		err = path_sync(made);
	if (err == 0 && rename(made, file) < 0)
		err = -errno;
	if (err < 0)
		unlink(made);
	else
		printf("%s: the store, the keys and %u blobs\n", file,
		       b.n_blobs);
	return err;
}

int command_backup(int argc, char **argv)
{
	static const struct option options[] = {
		{ "dir", required_argument, NULL, 'd' },
		{ "no-images", no_argument, NULL, 'n' },
		{ 0 },
	};
	const char *folder = NULL;
	autofree char *parent = NULL;
	autoclose int dir = -1;
	bool images = true;
	int c, err;

	umask(077);
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == 'd')
			folder = optarg;
		else if (c == 'n')
			images = false;
		else
			return command_usage("backup");
	}
	if (optind != argc - 1)
		return command_usage("backup");
	dir = command_folder(folder);
	if (dir < 0 || place_check(folder, argv[optind], &parent) < 0)
		return EXIT_FAILED;
	if (faccessat(dir, "hub.json", F_OK, 0) < 0) {
		log_error(command_folder_name(folder), "holds no hub");
		return EXIT_FAILED;
	}
	err = backup_write(dir, folder, argv[optind], images);
	if (err == 0)
		err = path_sync(parent);
	if (err < 0)
		log_error(argv[optind], "no backup: %s", strerror(-err));
	return err < 0 ? EXIT_FAILED : EXIT_DONE;
}
