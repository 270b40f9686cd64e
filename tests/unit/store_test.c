/* The hub's store on real files: conditions, rounds, watches, deletion and
 * compaction, a full disk (a small tmpfs), SIGKILL, schema, copies. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sqlite3.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/path.h"
#include "hub/store.h"
#include "tap.h"

static char dir[] = "/tmp/store_test.XXXXXX";
static char file[64];
static struct loop loop;

static struct store *opened(void)
{
	struct store *store = NULL;

	return store_open(&store, file, &loop) < 0 ? NULL : store;
}

static int put(struct store *store, const char *key, const char *value)
{
	return store_put(store, key, span_of(value), STORE_ANY, NULL);
}

static bool holds(struct store *store, const char *key, const char *value)
{
	autofree char *found = NULL;
	int err = store_get(store, key, &found, NULL, NULL);

	return value ? err == 0 && !strcmp(found, value) : err == -ENOENT;
}

static void fresh(void)
{
	const char *const suffix[] = { "", "-wal", "-shm" };

	for (size_t i = 0; i < 3; i++) {
		char path[80];

		snprintf(path, sizeof(path), "%s%s", file, suffix[i]);
		unlink(path);
	}
}

static void conditions_test(void)
{
	static const struct {
		const char *name;
		uint64_t first, second; /* what the puts are conditional on */
		int expected;
	} rows[] = {
		{ "new, then any", STORE_NEW, STORE_ANY, 0 },
		{ "new twice", STORE_NEW, STORE_NEW, -EAGAIN },
		{ "the right revision", STORE_ANY, 1, 0 },
		{ "an old revision", STORE_ANY, 7, -EAGAIN },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct store *store;
		int err;

		fresh();
		store = opened();
		store_put(store, "a", span_of("1"), rows[i].first, NULL);
		err = store_put(store, "a", span_of("2"), rows[i].second, NULL);
		ok(err == rows[i].expected &&
			   holds(store, "a", err ? "1" : "2") &&
			   store_revision(store) == (err ? 1 : 2),
		   "put if %s", rows[i].name);
		store_close(store);
	}
}

static char walked[256];

static int walk(void *context, const struct store_entry *e)
{
	size_t used = strlen(walked);

	(void)context;
	snprintf(walked + used, sizeof(walked) - used, "%s%.*s=%.*s@%d ",
		 e->deleted ? "-" : "", (int)e->key.size, e->key.data,
		 (int)e->value.size, e->value.data, (int)e->revision);
	return 0;
}

static bool range_is(struct store *store, const char *prefix, const char *after,
		     unsigned max, const char *expected)
{
	walked[0] = '\0';
	return store_range(store, prefix, after, max, walk, NULL) == 0 &&
	       !strcmp(walked, expected);
}

static int changes(struct store *store, uint64_t after)
{
	walked[0] = '\0';
	return store_changes(store, "n/", after, 100, walk, NULL);
}

static void range_test(void)
{
	struct store *store;

	fresh();
	store = opened();
	put(store, "n/b", "2");
	put(store, "n/a", "1");
	put(store, "m", "x");
	put(store, "n/c", "3");
	put(store, "o", "x");
	store_delete(store, "n/b", STORE_ANY);
	ok(range_is(store, "n/", "", 9, "n/a=1@2 n/c=3@4 "),
	   "a range has its prefix, is ordered, leaves out the deleted");
	ok(range_is(store, "n/", "n/a", 9, "n/c=3@4 "), "a range goes on");
	ok(range_is(store, "n/", "", 1, "n/a=1@2 "), "a range is limited");
	ok(changes(store, 2) == 0 && !strcmp(walked, "n/c=3@4 -n/b=@6 "),
	   "changes tell what was set and deleted: %s", walked);
	store_close(store);
	store = opened();
	ok(store_revision(store) == 6 && holds(store, "n/b", NULL) &&
		   holds(store, "n/c", "3"),
	   "all is there after opening anew");
	ok(store_compact(store, 6) == 0 && changes(store, 5) == -ESTALE &&
		   changes(store, 6) == 0 && !walked[0],
	   "compacted changes are refused, later ones are not");
	store_close(store);
	store = opened();
	ok(store_revision(store) == 6 && changes(store, 5) == -ESTALE &&
		   put(store, "n/d", "4") == 0 && store_revision(store) == 7,
	   "revisions go on though the last entry was compacted");
	store_close(store);
}

/* ---- rounds ---- */

struct waiter {
	struct store_wait wait;
	struct store_watch watch;
	int calls, error, changes;
};

static void waiter_done(struct store_wait *w, int error)
{
	struct waiter *waiter = container_of(w, struct waiter, wait);

	waiter->calls++;
	waiter->error = error;
}

static void waiter_changed(struct store_watch *w)
{
	container_of(w, struct waiter, watch)->changes++;
}

static void waiter_watch(struct store *store, struct waiter *w, const char *key,
			 bool is_prefix)
{
	*w = (struct waiter){ .wait.done = waiter_done,
			      .watch.changed = waiter_changed };
	w->watch.is_prefix = is_prefix;
	text_copy(w->watch.key, sizeof(w->watch.key), key);
	store_watch_add(store, &w->watch);
	loop_once(&loop, 0);
	w->changes = 0;
}

static void round_test(void)
{
	struct waiter exact, prefix, other;
	struct store *store;

	fresh();
	store = opened();
	waiter_watch(store, &exact, "d/n1", false);
	waiter_watch(store, &prefix, "d/", true);
	waiter_watch(store, &other, "d/n2", false);
	put(store, "d/n1", "1");
	put(store, "d/n1", "2");
	store_settled(store, &exact.wait);
	ok(exact.calls == 0 && exact.changes == 0,
	   "nobody is called before the round ends");
	loop_once(&loop, 0);
	ok(exact.calls == 1 && exact.error == 0, "who waits is called once");
	ok(exact.changes == 1 && prefix.changes == 1 && other.changes == 0,
	   "watches of the key are called once, others not");
	store_note(store, "o/n1", span_of("noted"));
	put(store, "d/n2", "1");
	loop_once(&loop, 0);
	ok(other.changes == 1 && exact.changes == 1,
	   "a note wakes nobody, a put after it ends the round at once");
	store_watch_del(&exact.watch);
	store_watch_del(&other.watch);
	put(store, "d/n1", "3");
	store_settled(store, &exact.wait);
	store_wait_cancel(&exact.wait);
	loop_once(&loop, 0);
	ok(exact.calls == 1 && exact.changes == 1 && prefix.changes == 3,
	   "deleted watches and cancelled waits are silent");
	put(store, "d/n1", "4");
	store_settled(store, &other.wait);
	ok(store_commit(store) == 0 && other.calls == 0,
	   "a commit in between calls nobody");
	loop_once(&loop, 0);
	ok(other.calls == 1 && other.error == 0 && prefix.changes == 4,
	   "but they are called at the end");
	store_watch_del(&prefix.watch);
	store_close(store);
}

static void note_test(void)
{
	autofree char *value = NULL;
	struct store *store;
	size_t size;

	fresh();
	store = opened();
	store_note(store, "n1", span_of("one"));
	store_note(store, "n2", span_of("two"));
	store_note(store, "n2", (struct span){ NULL, 0 });
	store_close(store);
	store = opened();
	ok(store_note_get(store, "n1", &value, &size) == 0 && size == 3 &&
		   !strcmp(value, "one") && store_revision(store) == 0 &&
		   store_note_get(store, "n2", &value, &size) == -ENOENT,
	   "notes are kept without revisions");
	store_close(store);
}

/* ---- faults ---- */

/* Fills the store until an error; returns it. *n: puts that committed. */
static int fill(struct store *store, struct waiter *w, int *n)
{
	static char big[64 << 10];

	memset(big, 'x', sizeof(big));
	for (*n = 0; *n < 1000; (*n)++) {
		char key[32];
		int err;

		snprintf(key, sizeof(key), "big/%d", *n);
		err = store_put(store, key, (struct span){ big, sizeof(big) },
				STORE_ANY, NULL);
		if (err < 0)
			put(store, "after", "x");
		store_settled(store, &w->wait);
		loop_once(&loop, 0);
		if (err < 0 || w->error < 0)
			return w->error;
	}
	return 0;
}

static void full_disk_test(void)
{
	struct waiter w = { .wait.done = waiter_done };
	struct store *store;
	uint64_t revision;
	int n, err;

	if (unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("tmpfs", dir, "tmpfs", 0, "size=4m") < 0) {
		ok(false, "a small disk: %s", strerror(errno));
		return;
	}
	store = opened();
	put(store, "before", "1");
	loop_once(&loop, 0);
	err = fill(store, &w, &n);
	revision = store_revision(store);
	ok(err == -ENOSPC && n > 5, "a full disk says so after %d puts", n);
	ok(holds(store, "before", "1") && holds(store, "after", NULL) &&
		   revision == (uint64_t)n + 1,
	   "nothing of the round is left");
	ok(put(store, "small", "1") == 0 && store_commit(store) <= 0 &&
		   holds(store, "before", "1"),
	   "the store serves on");
	mount("tmpfs", dir, "tmpfs", MS_REMOUNT, "size=16m");
	ok(put(store, "more", "1") == 0 && store_commit(store) == 0 &&
		   holds(store, "more", "1"),
	   "and writes when there is room");
	store_close(store);
	store = opened();
	ok(store && holds(store, "more", "1") &&
		   holds(store, "big/0", NULL) == 0,
	   "and is whole when opened anew");
	store_close(store);
	umount2(dir, MNT_DETACH);
}

/* The child tells by a byte that a commit returned; it dies with the next
 * round open. */
static void kill_test(void)
{
	struct store *store;
	int tell[2], status;
	char byte;
	pid_t pid;

	fresh();
	if (pipe2(tell, O_CLOEXEC) < 0)
		return;
	pid = fork();
	if (pid == 0) {
		store = opened();
		put(store, "kept", "1");
		put(store, "kept too", "2");
		store_commit(store);
		put(store, "lost", "3");
		if (write(tell[1], "k", 1) == 1)
			pause();
		_exit(1);
	}
	ok(read(tell[0], &byte, 1) == 1, "a process has committed");
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	close(tell[0]);
	close(tell[1]);
	store = opened();
	ok(store && holds(store, "kept", "1") &&
		   holds(store, "kept too", "2") &&
		   holds(store, "lost", NULL) && store_revision(store) == 2,
	   "after SIGKILL the committed is there, the open round is not");
	store_close(store);
}

static void sql(const char *text)
{
	sqlite3 *db;

	sqlite3_open(file, &db);
	sqlite3_exec(db, text, NULL, NULL, NULL);
	sqlite3_close(db);
}

static void schema_test(void)
{
	struct store *store;

	fresh();
	sql("CREATE TABLE entry(key TEXT PRIMARY KEY NOT NULL, value BLOB,"
	    " revision INTEGER NOT NULL) WITHOUT ROWID;"
	    "CREATE UNIQUE INDEX entry_revision ON entry(revision);"
	    "CREATE TABLE number(name TEXT PRIMARY KEY NOT NULL,"
	    " value INTEGER NOT NULL) WITHOUT ROWID;"
	    "INSERT INTO number VALUES('epoch', 3), ('revision', 9),"
	    " ('compacted', 0);"
	    "INSERT INTO entry VALUES('old', 'kept', 9);"
	    "PRAGMA user_version = 1;");
	store = opened();
	ok(store && holds(store, "old", "kept") && store_epoch(store) == 3 &&
		   store_revision(store) == 9 &&
		   store_note(store, "n", span_of("1")) == 0 &&
		   store_commit(store) == 0,
	   "a store of schema 1 is upgraded");
	store_close(store);
	sql("PRAGMA user_version = 1000;");
	ok(store_open(&store, file, &loop) == -ENOTSUP,
	   "a store of a newer program is refused");
	fresh();
	sql("CREATE TABLE entry(x); PRAGMA user_version = 0;");
	ok(store_open(&store, file, &loop) < 0, "a foreign file is refused");
}

static void copy_test(void)
{
	char other[80];
	struct store *store;

	fresh();
	store = opened();
	put(store, "a", "1");
	snprintf(other, sizeof(other), "%s/copy", dir);
	ok(store_copy(store, other) == 0 && store_copy(store, other) < 0,
	   "a copy is made, never over a file");
	put(store, "a", "2");
	store_close(store);
	ok(store_open(&store, other, &loop) == 0 && holds(store, "a", "1"),
	   "the copy holds what was there");
	ok(store_epoch_set(store, 5) == 0 && store_commit(store) == 0 &&
		   store_epoch(store) == 5,
	   "the epoch rises");
	store_close(store);
}

int main(void)
{
	log_open("store_test");
	if (!mkdtemp(dir) || loop_init(&loop) < 0)
		return 1;
	snprintf(file, sizeof(file), "%s/store.db", dir);
	conditions_test();
	range_test();
	round_test();
	note_test();
	kill_test();
	schema_test();
	copy_test();
	full_disk_test();
	path_remove_tree(AT_FDCWD, dir);
	return tap_done();
}
