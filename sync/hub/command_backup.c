/* zhub backup, also while the hub serves; zhub restore, only while it does not.
 *
 * Restored keys and revisions are older than what nodes have seen. So the epoch
 * rises, above that of the backup and of whatever the folder held, and above
 * every epoch that another restore of the same backup can have given: it is
 * the time in seconds, if that is more. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "archive.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "blob.h"
#include "command.h"

static const char *const small_files[] = {
	"hub.json",	   "keys/root.key", "keys/root.pem",
	"keys/ca.key",	   "keys/ca.pem",   "keys/server.key",
	"keys/server.pem", "keys/sign.key", "keys/sign.pem",
};

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

/* The root's key may have been taken offline. */
static int files_add(struct backup *b, const char *store_copied)
{
	int err = archive_add(b->archive, "store.db", AT_FDCWD, store_copied);

	for (size_t i = 0;
	     err == 0 && i < sizeof(small_files) / sizeof(*small_files); i++) {
		err = archive_add(b->archive, small_files[i], b->dir,
				  small_files[i]);
		if (err == -ENOENT && !strcmp(small_files[i], "keys/root.key"))
			err = 0;
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

static int file_sync(const char *path)
{
	autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 || fsync(fd) < 0 ? -errno : 0;
}

static int backup_write(int dir, const char *folder, const char *file,
			bool images)
{
	struct backup b = { .dir = dir };
	char copied[600], made[600];
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
		err = file_sync(made);
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
	if (dir < 0)
		return EXIT_FAILED;
	err = backup_write(dir, folder, argv[optind], images);
	if (err < 0)
		log_error(argv[optind], "no backup: %s", strerror(-err));
	return err < 0 ? EXIT_FAILED : EXIT_DONE;
}

/* ---- restore ---- */

struct restore {
	int dir;
	struct store *archive;
	bool has_store;
};

/* Only names that backup gives; a blob must be what its name says. */
static bool name_is_ours(const char *name)
{
	struct digest digest;

	if (!strcmp(name, "store.db"))
		return true;
	for (size_t i = 0; i < sizeof(small_files) / sizeof(*small_files); i++)
		if (!strcmp(name, small_files[i]))
			return true;
	return !strncmp(name, "blobs/sha256/", 13) && strlen(name) == 80 &&
	       name[15] == '/' &&
	       digest_parse_hex(span_of(name + 16), &digest) == 0 &&
	       !strncmp(name + 13, name + 16, 2);
}

static int file_check(void *context, const char *name)
{
	struct restore *r = context;

	if (!name_is_ours(name)) {
		log_error(name, "not of a backup of zhub");
		return -EBADMSG;
	}
	r->has_store = r->has_store || !strcmp(name, "store.db");
	return archive_check(r->archive, name);
}

static int file_restore(void *context, const char *name)
{
	struct restore *r = context;
	char folder[32];

	if (!strcmp(name, "store.db"))
		return archive_extract(r->archive, name, r->dir,
				       "store.db.new");
	if (!strncmp(name, "blobs/", 6)) {
		snprintf(folder, sizeof(folder), "%.15s", name);
		if (path_mkdirs(r->dir, folder, 0700) < 0)
			return -errno;
	}
	return archive_extract(r->archive, name, r->dir, name);
}

static uint64_t epoch_of(const char *path)
{
	struct store *store;
	uint64_t epoch = 0;

	if (access(path, F_OK) == 0 && store_open(&store, path, NULL) == 0) {
		epoch = store_epoch(store);
		store_close(store);
	}
	return epoch;
}

static int epoch_raise(const char *path, uint64_t old, uint64_t *epoch)
{
	struct store *store;
	int err = store_open(&store, path, NULL);

	if (err < 0)
		return err;
	*epoch = store_epoch(store) > old ? store_epoch(store) : old;
	*epoch += 1;
	if (*epoch < (uint64_t)time(NULL))
		*epoch = (uint64_t)time(NULL);
	err = store_epoch_set(store, *epoch);
	if (err == 0)
		err = store_commit(store);
	store_close(store);
	return err;
}

/* The last step: the old store stands until the new one is complete. */
static int store_replace(int dir, const char *folder)
{
	char old[512], made[600];
	uint64_t epoch;
	int err;

	command_store_path(folder, old);
	snprintf(made, sizeof(made), "%s.new", old);
	err = epoch_raise(made, epoch_of(old), &epoch);
	if (err < 0)
		return err;
	unlinkat(dir, "store.db-wal", 0);
	unlinkat(dir, "store.db-shm", 0);
	if (renameat(dir, "store.db.new", dir, "store.db") < 0 ||
	    fsync(dir) < 0)
		return -errno;
	printf("restored, epoch %llu\n", (unsigned long long)epoch);
	return 0;
}

static int restore_read(int dir, const char *folder, const char *file)
{
	struct restore r = { .dir = dir };
	int err = access(file, R_OK) < 0 ? -errno
					 : store_open(&r.archive, file, NULL);

	if (err < 0)
		return err;
	err = archive_each(r.archive, file_check, &r);
	if (err == 0 && !r.has_store)
		err = -EBADMSG;
	if (err == 0)
		err = path_mkdirs(dir, "keys", 0700);
	if (err == 0)
		err = archive_each(r.archive, file_restore, &r);
	store_close(r.archive);
	return err < 0 ? err : store_replace(dir, folder);
}

int command_restore(int argc, char **argv)
{
	static const struct option options[] = {
		{ "dir", required_argument, NULL, 'd' },
		{ 0 },
	};
	const char *folder = NULL;
	autoclose int dir = -1, lock = -1;
	int c, err;

	umask(077);
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c != 'd')
			return command_usage("restore");
		folder = optarg;
	}
	if (optind != argc - 1)
		return command_usage("restore");
	path_mkdirs(AT_FDCWD, command_folder_name(folder), 0700);
	dir = command_folder(folder);
	if (dir < 0)
		return EXIT_FAILED;
	lock = command_lock(dir);
	if (lock < 0) {
		log_error(command_folder_name(folder),
			  "another zhub uses it: stop that first");
		return EXIT_AGAIN;
	}
	err = restore_read(dir, folder, argv[optind]);
	if (err < 0)
		log_error(argv[optind], "not restored: %s", strerror(-err));
	return err < 0 ? EXIT_FAILED : EXIT_DONE;
}
