#include "restore.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"

const struct hub_file hub_files[HUB_FILES] = {
	{ "hub.json", false },	     { "keys/root.key", true },
	{ "keys/root.pem", false },  { "keys/ca.key", false },
	{ "keys/ca.pem", false },    { "keys/server.key", true },
	{ "keys/server.pem", true }, { "keys/sign.key", true },
	{ "keys/sign.pem", true },
};

/* What is not there was moved, or never was. */
static int move(int from, const char *name, int to, const char *new_name)
{
	return renameat(from, name, to, new_name) < 0 && errno != ENOENT
		       ? -errno
		       : 0;
}

/* The old store's log must be gone before another store can be taken for the
 * one that it belongs to. */
static int store_switch(int dir, int ready)
{
	static const char *const logs[] = { "store.db-wal", "store.db-shm" };

	if (faccessat(ready, "store.db", F_OK, 0) < 0)
		return errno == ENOENT ? 0 : -errno;
	for (size_t i = 0; i < 2; i++)
		if (unlinkat(dir, logs[i], 0) < 0 && errno != ENOENT)
			return -errno;
	if (fsync(dir) < 0)
		return -errno;
	return move(ready, "store.db", dir, "store.db");
}

/* The folder as a whole, so that no key of one hub lies beside those of
 * another. */
static int keys_switch(int dir, int ready)
{
	int err;

	if (faccessat(ready, "keys", F_OK, 0) < 0)
		return errno == ENOENT ? 0 : -errno;
	err = move(dir, "keys", ready, "keys.old");
	return err < 0 ? err : move(ready, "keys", dir, "keys");
}

static int switch_over(int dir)
{
	autoclose int ready = openat(dir, RESTORE_READY,
				     O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int err;

	if (ready < 0)
		return -errno;
	err = store_switch(dir, ready);
	if (err == 0)
		err = keys_switch(dir, ready);
	if (err == 0)
		err = move(ready, "hub.json", dir, "hub.json");
	if (err == 0 && (fsync(dir) < 0 || fsync(ready) < 0))
		err = -errno;
	return err < 0 ? err : path_remove_tree(dir, RESTORE_READY);
}

int restore_commit(int dir)
{
	if (renameat(dir, RESTORE_STAGED, dir, RESTORE_READY) < 0)
		return -errno;
	/* An error here is told by the steps that follow. */
	(void)fsync(dir);
	return 0;
}

bool restore_is_due(int dir)
{
	return faccessat(dir, RESTORE_READY, F_OK, 0) == 0;
}

int restore_settle(int dir)
{
	int err = restore_is_due(dir) ? switch_over(dir) : 0;

	if (err == 0)
		err = path_remove_tree(dir, RESTORE_STAGED);
	if (err < 0)
		log_error(RESTORE_READY,
			  "%s: the restored hub is not in its place yet: see "
			  "to that, any zhub command then goes on",
			  strerror(-err));
	return err;
}
