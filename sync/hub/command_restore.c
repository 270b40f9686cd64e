/* zhub restore: makes the folder's hub from a backup. Nothing of the hub that
 * is there is touched before all of the new one lies beside it; see restore.h.
 * Only blobs go into their places before: a blob is what its name says, for
 * either hub.
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
#include "command.h"
#include "oci/digest/digest.h"
#include "restore.h"

enum {
	BLOB_NAME_SIZE = 80,   /* blobs/sha256/ab/ and 64 digits */
	BLOB_FOLDER_SIZE = 15, /* blobs/sha256/ab */
	HEAD_SIZE = 100,       /* of an SQLite file */
	HEAD_VERSION = 60,     /* where the store's schema is in it */
};

struct restore {
	int dir, staged;
	struct store *archive;
	const char *folder;
	bool has_store;
	bool has[HUB_FILES];
};

/* ---- what a backup is ---- */

/* Before SQLite opens it, which makes a store of what is empty.
 * https://sqlite.org/fileformat.html, 1.3 */
static int head_check(const char *file)
{
	autoclose int fd = open(file, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	char head[HEAD_SIZE];
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || fd_read(fd, head, HEAD_SIZE) != HEAD_SIZE ||
	    memcmp(head, "SQLite format 3", 16) ||
	    !memcmp(head + HEAD_VERSION, "\0\0\0\0", 4))
		return -EBADMSG;
	return 0;
}

static bool is_blob(const char *name)
{
	struct digest digest;

	return !strncmp(name, "blobs/sha256/", 13) &&
	       strlen(name) == BLOB_NAME_SIZE &&
	       name[BLOB_FOLDER_SIZE] == '/' &&
	       digest_parse_hex(span_of(name + BLOB_FOLDER_SIZE + 1),
				&digest) == 0 &&
	       !strncmp(name + 13, name + BLOB_FOLDER_SIZE + 1, 2);
}

/* Only names that backup gives; a blob must be what its name says. */
static bool name_note(struct restore *r, const char *name)
{
	if (!strcmp(name, "store.db")) {
		r->has_store = true;
		return true;
	}
	for (size_t i = 0; i < HUB_FILES; i++)
		if (!strcmp(name, hub_files[i].name)) {
			r->has[i] = true;
			return true;
		}
	return is_blob(name);
}

static int file_check(void *context, const char *name)
{
	struct restore *r = context;

	if (!name_note(r, name)) {
		log_error(name, "not of a backup of zhub");
		return -EBADMSG;
	}
	return archive_check(r->archive, name);
}

static int archive_check_all(struct restore *r)
{
	int err = archive_each(r->archive, file_check, r);

	if (err == 0 && !r->has_store)
		err = -EBADMSG;
	for (size_t i = 0; err == 0 && i < HUB_FILES; i++)
		if (!r->has[i] && !hub_files[i].may_lack) {
			log_error(hub_files[i].name, "not in the backup");
			err = -EBADMSG;
		}
	return err;
}

/* ---- beside the old hub ---- */

static bool blob_is_there(int dir, const char *name)
{
	autoclose int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	struct digest want, is;
	uint64_t size;

	return fd >= 0 &&
	       digest_parse_hex(span_of(name + BLOB_FOLDER_SIZE + 1), &want) ==
		       0 &&
	       digest_of_fd(fd, &is, &size) == 0 && digest_equal(&want, &is);
}

static int folder_of_blob(int dir, const char *name)
{
	char folder[BLOB_FOLDER_SIZE + 1];

	text_copy(folder, sizeof(folder), name);
	return path_mkdirs(dir, folder, 0700);
}

static int file_stage(void *context, const char *name)
{
	struct restore *r = context;

	if (is_blob(name)) {
		int err;

		if (blob_is_there(r->dir, name))
			return 0;
		err = folder_of_blob(r->staged, name);
		if (err < 0)
			return err;
	}
	return archive_extract(r->archive, name, r->staged, name);
}

static int blob_move(void *context, const char *name)
{
	struct restore *r = context;
	int err;

	if (!is_blob(name) || faccessat(r->staged, name, F_OK, 0) < 0)
		return 0;
	err = folder_of_blob(r->dir, name);
	if (err == 0 && renameat(r->staged, name, r->dir, name) < 0)
		err = -errno;
	return err;
}

/* A root key that the backup lacks was taken offline then. When the folder has
 * it, and it is the same organism's, it stays. */
static int root_key_keep(struct restore *r)
{
	autofree char *old = NULL, *new = NULL, *key = NULL;
	size_t old_size, new_size, key_size;
	int err;

	if (faccessat(r->staged, "keys/root.key", F_OK, 0) == 0 ||
	    file_read(r->dir, "keys/root.pem", CHAIN_PEM_MAX, &old, &old_size) <
		    0 ||
	    file_read(r->staged, "keys/root.pem", CHAIN_PEM_MAX, &new,
		      &new_size) < 0 ||
	    old_size != new_size || memcmp(old, new, old_size) ||
	    file_read(r->dir, "keys/root.key", CHAIN_PEM_MAX, &key, &key_size) <
		    0)
		return 0;
	err = file_replace(r->staged, "keys/root.key", 0600, key, key_size);
	explicit_bzero(key, key_size);
	return err;
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

static int epoch_raise(struct restore *r, uint64_t *epoch)
{
	char old[512], made[600];
	struct store *store;
	uint64_t was;
	int err;

	command_store_path(r->folder, old);
	snprintf(made, sizeof(made), "%s/" RESTORE_STAGED "/store.db",
		 command_folder_name(r->folder));
	was = epoch_of(old);
	err = store_open(&store, made, NULL);
	if (err < 0)
		return err;
	*epoch = store_epoch(store) > was ? store_epoch(store) : was;
	*epoch += 1;
	if (*epoch < (uint64_t)time(NULL))
		*epoch = (uint64_t)time(NULL);
	err = store_epoch_set(store, *epoch);
	if (err == 0)
		err = store_commit(store);
	store_close(store);
	/* Closing brings the log into the file, if there is room. */
	if (err == 0 && faccessat(r->staged, "store.db-wal", F_OK, 0) == 0)
		err = -ENOSPC;
	return err;
}

static int hub_stage(struct restore *r, uint64_t *epoch)
{
	int err = path_mkdirs(r->staged, "keys", 0700);

	if (err == 0)
		err = archive_each(r->archive, file_stage, r);
	if (err == 0)
		err = root_key_keep(r);
	if (err == 0)
		err = epoch_raise(r, epoch);
	if (err == 0)
		err = archive_each(r->archive, blob_move, r);
	if (err == 0 && syncfs(r->staged) < 0)
		err = -errno;
	return err;
}

static int hub_replace(struct restore *r)
{
	autoclose int staged = -1;
	uint64_t epoch = 0;
	int err;

	if (mkdirat(r->dir, RESTORE_STAGED, 0700) < 0)
		return -errno;
	staged = openat(r->dir, RESTORE_STAGED,
			O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (staged < 0)
		return -errno;
	r->staged = staged;
	err = hub_stage(r, &epoch);
	if (err == 0)
		err = restore_commit(r->dir);
	if (err < 0) {
		path_remove_tree(r->dir, RESTORE_STAGED);
		return err;
	}
	err = restore_settle(r->dir);
	if (err == 0)
		printf("restored, epoch %llu\n", (unsigned long long)epoch);
	return err;
}

static int restore_from(struct restore *r, const char *file)
{
	int err = head_check(file);

	if (err < 0)
		return err;
	err = store_open(&r->archive, file, NULL);
	if (err < 0)
		return err == -EIO ? -EBADMSG : err;
	err = archive_check_all(r);
	if (err == 0)
		err = hub_replace(r);
	store_close(r->archive);
	return err;
}

int command_restore(int argc, char **argv)
{
	static const struct option options[] = {
		{ "dir", required_argument, NULL, 'd' },
		{ 0 },
	};
	struct restore r = { .folder = NULL };
	autoclose int dir = -1, lock = -1;
	int c, err;

	umask(077);
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c != 'd')
			return command_usage("restore");
		r.folder = optarg;
	}
	if (optind != argc - 1)
		return command_usage("restore");
	path_mkdirs(AT_FDCWD, command_folder_name(r.folder), 0700);
	dir = command_folder(r.folder);
	if (dir < 0)
		return EXIT_FAILED;
	lock = command_lock(dir);
	if (lock == -EBUSY)
		log_error(command_folder_name(r.folder),
			  "another zhub uses it: stop that first");
	if (lock < 0)
		return lock == -EBUSY ? EXIT_AGAIN : EXIT_FAILED;
	r.dir = dir;
	err = restore_from(&r, argv[optind]);
	if (err < 0)
		log_error(argv[optind], "not restored: %s",
			  err == -EBADMSG ? "it is no whole backup of zhub"
					  : strerror(-err));
	return err < 0 ? EXIT_FAILED : EXIT_DONE;
}
