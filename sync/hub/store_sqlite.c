/* One table holds the newest value of each key with the revision of its last
 * change; a row without a value is a key that was deleted. The index on the
 * revision is what a follower walks. The numbers of the store lie in `number`:
 * the revision there is the one of the last commit even when compaction took
 * the row that had it.
 *
 * WAL with synchronous=FULL: a commit is one append to the log and one
 * fdatasync of it, and a process that only copies the store (zhub backup) never
 * makes the server wait. */
#include "store_sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <sqlite3.h>

#include "base/fd.h"
#include "base/log.h"

enum statement {
	BEGIN,
	COMMIT,
	ROLLBACK,
	GET,
	NEXT,
	NEXT_CHANGE,
	PUT,
	NUMBER_SET,
	COMPACT,
	NOTE_PUT,
	NOTE_DELETE,
	NOTE_GET,
	STATEMENTS
};

static const char *const statement_sql[] = {
	[BEGIN] = "BEGIN IMMEDIATE",
	[COMMIT] = "COMMIT",
	[ROLLBACK] = "ROLLBACK",
	[GET] = "SELECT key, value, revision FROM entry WHERE key = ?1",
	[NEXT] = "SELECT key, value, revision FROM entry WHERE key > ?1"
		 " AND value IS NOT NULL ORDER BY key LIMIT 1",
	[NEXT_CHANGE] = "SELECT key, value, revision FROM entry"
			" WHERE revision > ?1 ORDER BY revision LIMIT 1",
	[PUT] = "INSERT INTO entry(key, value, revision) VALUES(?1, ?2, ?3)"
		" ON CONFLICT(key) DO UPDATE SET value = ?2, revision = ?3",
	[NUMBER_SET] = "UPDATE number SET value = ?2 WHERE name = ?1",
	[COMPACT] = "DELETE FROM entry WHERE value IS NULL AND revision <= ?1",
	[NOTE_PUT] = "INSERT INTO note(key, value) VALUES(?1, ?2)"
		     " ON CONFLICT(key) DO UPDATE SET value = ?2",
	[NOTE_DELETE] = "DELETE FROM note WHERE key = ?1",
	[NOTE_GET] = "SELECT key, value, 0 FROM note WHERE key = ?1",
};

_Static_assert(sizeof(statement_sql) / sizeof(*statement_sql) == STATEMENTS,
	       "each statement has its text");

/* How a file of version i becomes one of version i + 1. Lines are added, never
 * changed. */
static const char *const upgrade_sql[] = {
	/* Keys compare by their bytes; values up to a few KB lie beside. */
	"CREATE TABLE entry(key TEXT PRIMARY KEY NOT NULL, value BLOB,"
	" revision INTEGER NOT NULL) WITHOUT ROWID;"
	"CREATE UNIQUE INDEX entry_revision ON entry(revision);"
	"CREATE TABLE number(name TEXT PRIMARY KEY NOT NULL,"
	" value INTEGER NOT NULL) WITHOUT ROWID;"
	"INSERT INTO number VALUES('epoch', 1), ('revision', 0),"
	" ('compacted', 0);",
	"CREATE TABLE note(key TEXT PRIMARY KEY NOT NULL, value BLOB NOT NULL)"
	" WITHOUT ROWID;",
};

enum { SCHEMA = sizeof(upgrade_sql) / sizeof(*upgrade_sql) };

struct rows {
	sqlite3 *db;
	const char *path;
	bool full; /* its disk was, when last written to */
	sqlite3_stmt *statement[STATEMENTS];
};

static int disk_full(struct rows *rows)
{
	if (!rows->full)
		log_error(rows->path, "disk full: free some space");
	rows->full = true;
	return -ENOSPC;
}

/* What a result code means to callers; logs what only the operator can mend,
 * once. */
static int failed(struct rows *rows, int code)
{
	int os = sqlite3_system_errno(rows->db);

	switch (code & 0xff) {
	case SQLITE_FULL:
		return disk_full(rows);
	case SQLITE_NOMEM:
		return -ENOMEM;
	case SQLITE_BUSY:
		log_error(rows->path, "in use: is another zhub running?");
		return -EBUSY;
	case SQLITE_TOOBIG:
		return -E2BIG;
	}
	if ((code & 0xff) == SQLITE_IOERR && (os == ENOSPC || os == EDQUOT))
		return disk_full(rows);
	log_error(rows->path, "%s", sqlite3_errmsg(rows->db));
	return -EIO;
}

/* Runs a statement that returns no row. */
static int run(struct rows *rows, enum statement s)
{
	int code = sqlite3_step(rows->statement[s]);
	int err = code == SQLITE_DONE ? 0 : failed(rows, code);

	sqlite3_reset(rows->statement[s]);
	return err;
}

static void bind_text(struct rows *rows, enum statement s, int i,
		      const char *text)
{
	sqlite3_bind_text(rows->statement[s], i, text, -1, SQLITE_STATIC);
}

static void bind_number(struct rows *rows, enum statement s, int i,
			uint64_t number)
{
	sqlite3_bind_int64(rows->statement[s], i, (sqlite3_int64)number);
}

static int exec(struct rows *rows, const char *sql)
{
	int code = sqlite3_exec(rows->db, sql, NULL, NULL, NULL);

	return code == SQLITE_OK ? 0 : failed(rows, code);
}

/* The one number that a query gives. */
static int number_query(struct rows *rows, const char *sql, uint64_t *number)
{
	sqlite3_stmt *stmt;
	int code = sqlite3_prepare_v2(rows->db, sql, -1, &stmt, NULL);

	if (code != SQLITE_OK)
		return failed(rows, code);
	code = sqlite3_step(stmt);
	if (code == SQLITE_ROW)
		*number = (uint64_t)sqlite3_column_int64(stmt, 0);
	sqlite3_finalize(stmt);
	return code == SQLITE_ROW ? 0 : failed(rows, code);
}

static int upgrade_step(struct rows *rows, uint64_t version)
{
	char sql[64];
	int err = exec(rows, "BEGIN IMMEDIATE");

	if (err < 0)
		return err;
	snprintf(sql, sizeof(sql), "PRAGMA user_version = %d",
		 (int)version + 1);
	err = exec(rows, upgrade_sql[version]);
	if (err == 0)
		err = exec(rows, sql);
	if (err == 0)
		err = exec(rows, "COMMIT");
	if (err < 0 && !sqlite3_get_autocommit(rows->db))
		exec(rows, "ROLLBACK");
	return err;
}

static int upgrade(struct rows *rows)
{
	uint64_t version = 0;
	int err = number_query(rows, "PRAGMA user_version", &version);

	if (err < 0)
		return err;
	if (version > SCHEMA) {
		log_error(rows->path,
			  "schema %u was made by a newer zhub: this one knows "
			  "up to %d",
			  (unsigned)version, SCHEMA);
		return -ENOTSUP;
	}
	if (version && version < SCHEMA)
		log_notice(rows->path, "schema %u becomes %d",
			   (unsigned)version, SCHEMA);
	for (; version < SCHEMA && err == 0; version++)
		err = upgrade_step(rows, version);
	return err;
}

static int prepare(struct rows *rows)
{
	for (int i = 0; i < STATEMENTS; i++) {
		int code = sqlite3_prepare_v3(rows->db, statement_sql[i], -1,
					      SQLITE_PREPARE_PERSISTENT,
					      &rows->statement[i], NULL);

		if (code != SQLITE_OK)
			return failed(rows, code);
	}
	return 0;
}

static int numbers_read(struct rows *rows, uint64_t *epoch, uint64_t *revision,
			uint64_t *compacted)
{
	int err = number_query(
		rows, "SELECT value FROM number WHERE name = 'epoch'", epoch);

	if (err == 0)
		err = number_query(
			rows,
			"SELECT value FROM number WHERE name = 'revision'",
			revision);
	if (err == 0)
		err = number_query(
			rows,
			"SELECT value FROM number WHERE name = 'compacted'",
			compacted);
	return err;
}

/* 512 KiB of pages are plenty: the keys of a thousand nodes fit, and what does
 * not lies in the kernel's cache. */
static const char settings[] = "PRAGMA journal_mode = WAL;"
			       "PRAGMA synchronous = FULL;"
			       "PRAGMA cache_size = -512;"
			       "PRAGMA temp_store = MEMORY;"
			       "PRAGMA journal_size_limit = 4194304;";

static int open_all(struct rows *rows, uint64_t *epoch, uint64_t *revision,
		    uint64_t *compacted)
{
	int err;

	sqlite3_busy_timeout(rows->db, 1000);
	sqlite3_extended_result_codes(rows->db, 1);
	sqlite3_limit(rows->db, SQLITE_LIMIT_LENGTH, STORE_VALUE_MAX + 4096);
	err = exec(rows, settings);
	if (err == 0)
		err = upgrade(rows);
	if (err == 0)
		err = prepare(rows);
	if (err == 0)
		err = numbers_read(rows, epoch, revision, compacted);
	return err;
}

int rows_open(struct rows **out, const char *path, uint64_t *epoch,
	      uint64_t *revision, uint64_t *compacted)
{
	struct rows *rows = calloc(1, sizeof(*rows));
	int err;

	if (!rows)
		return -ENOMEM;
	rows->path = path;
	if (sqlite3_open_v2(path, &rows->db,
			    SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE |
				    SQLITE_OPEN_NOFOLLOW,
			    NULL) != SQLITE_OK) {
		log_error(path, "%s", sqlite3_errmsg(rows->db));
		err = -EIO;
	} else {
		err = open_all(rows, epoch, revision, compacted);
	}
	if (err < 0) {
		rows_close(rows);
		return err;
	}
	*out = rows;
	return 0;
}

void rows_close(struct rows *rows)
{
	for (int i = 0; i < STATEMENTS; i++)
		sqlite3_finalize(rows->statement[i]);
	sqlite3_close(rows->db);
	free(rows);
}

int rows_begin(struct rows *rows)
{
	return run(rows, BEGIN);
}

/* SQLite leaves some failed transactions open and has ended others. */
void rows_rollback(struct rows *rows)
{
	if (!sqlite3_get_autocommit(rows->db))
		run(rows, ROLLBACK);
}

int rows_commit(struct rows *rows)
{
	int err = run(rows, COMMIT);

	if (err < 0)
		rows_rollback(rows);
	else if (rows->full)
		log_notice(rows->path, "there is room again");
	rows->full = rows->full && err < 0;
	return err;
}

/* A failed change ends the transaction. */
static int change(struct rows *rows, enum statement s)
{
	int err = run(rows, s);

	if (err < 0)
		rows_rollback(rows);
	return err;
}

/* Copies the row, so that no statement stays open: an open one would keep the
 * log from ever starting anew. */
static int entry_copy(sqlite3_stmt *stmt, struct store_entry *found)
{
	size_t key_size = (size_t)sqlite3_column_bytes(stmt, 0);
	size_t size = (size_t)sqlite3_column_bytes(stmt, 1);
	char *copy = malloc(key_size + size + 2);

	if (!copy)
		return -ENOMEM;
	memcpy(copy, sqlite3_column_text(stmt, 0), key_size);
	copy[key_size] = '\0';
	if (size)
		memcpy(copy + key_size + 1, sqlite3_column_blob(stmt, 1), size);
	copy[key_size + 1 + size] = '\0';
	found->key.data = copy;
	found->key.size = key_size;
	found->value = (struct span){ copy + key_size + 1, size };
	found->deleted = sqlite3_column_type(stmt, 1) == SQLITE_NULL;
	found->revision = (uint64_t)sqlite3_column_int64(stmt, 2);
	return 0;
}

static int entry_get(struct rows *rows, enum statement s,
		     struct store_entry *found)
{
	sqlite3_stmt *stmt = rows->statement[s];
	int code = sqlite3_step(stmt);
	int err = code == SQLITE_ROW	? entry_copy(stmt, found)
		  : code == SQLITE_DONE ? -ENOENT
					: failed(rows, code);

	sqlite3_reset(stmt);
	return err;
}

int rows_get(struct rows *rows, const char *key, struct store_entry *found)
{
	bind_text(rows, GET, 1, key);
	return entry_get(rows, GET, found);
}

int rows_next(struct rows *rows, const char *after, struct store_entry *found)
{
	bind_text(rows, NEXT, 1, after);
	return entry_get(rows, NEXT, found);
}

int rows_next_change(struct rows *rows, uint64_t revision,
		     struct store_entry *found)
{
	bind_number(rows, NEXT_CHANGE, 1, revision);
	return entry_get(rows, NEXT_CHANGE, found);
}

void rows_free(struct store_entry *entry)
{
	free((char *)entry->key.data);
	entry->key.data = NULL;
}

static int number_set(struct rows *rows, const char *name, uint64_t number)
{
	bind_text(rows, NUMBER_SET, 1, name);
	bind_number(rows, NUMBER_SET, 2, number);
	return change(rows, NUMBER_SET);
}

int rows_put(struct rows *rows, const char *key, const struct span *value,
	     uint64_t revision)
{
	int err;

	bind_text(rows, PUT, 1, key);
	if (value)
		sqlite3_bind_blob64(rows->statement[PUT], 2,
				    value->size ? value->data : "", value->size,
				    SQLITE_STATIC);
	else
		sqlite3_bind_null(rows->statement[PUT], 2);
	bind_number(rows, PUT, 3, revision);
	err = change(rows, PUT);
	return err < 0 ? err : number_set(rows, "revision", revision);
}

int rows_compact(struct rows *rows, uint64_t revision)
{
	int err;

	bind_number(rows, COMPACT, 1, revision);
	err = change(rows, COMPACT);
	return err < 0 ? err : number_set(rows, "compacted", revision);
}

int rows_epoch_set(struct rows *rows, uint64_t epoch)
{
	return number_set(rows, "epoch", epoch);
}

int rows_note_put(struct rows *rows, const char *key, struct span value)
{
	enum statement s = value.size ? NOTE_PUT : NOTE_DELETE;

	bind_text(rows, s, 1, key);
	if (value.size)
		sqlite3_bind_blob64(rows->statement[s], 2, value.data,
				    value.size, SQLITE_STATIC);
	return change(rows, s);
}

int rows_note_get(struct rows *rows, const char *key, struct store_entry *found)
{
	bind_text(rows, NOTE_GET, 1, key);
	return entry_get(rows, NOTE_GET, found);
}

/* VACUUM INTO reads one snapshot; it does not sync what it wrote. */
int rows_copy(struct rows *rows, const char *path)
{
	char *sql = sqlite3_mprintf("VACUUM INTO %Q", path);
	autoclose int fd = -1;
	int err;

	if (!sql)
		return -ENOMEM;
	err = exec(rows, sql);
	sqlite3_free(sql);
	if (err < 0)
		return err;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) < 0) {
		log_error(path, "%s", strerror(errno));
		return -errno;
	}
	return 0;
}
