/* The rows under the store: one SQLite file in WAL mode. Only store.c uses
 * this; it keeps the rounds, the revisions and the watchers. */
#ifndef HUB_STORE_SQLITE_H
#define HUB_STORE_SQLITE_H

#include "store.h"

struct rows;

/* 0 or -errno after one log line; *epoch, *revision and *compacted are what
 * the file holds. */
int rows_open(struct rows **rows, const char *path, uint64_t *epoch,
	      uint64_t *revision, uint64_t *compacted);
void rows_close(struct rows *rows);

/* A transaction. A change that fails with -ENOSPC or -EIO has ended it; so has
 * a commit that fails. */
int rows_begin(struct rows *rows);
int rows_commit(struct rows *rows);
void rows_rollback(struct rows *rows);

/* *found is freed with rows_free() by the caller; found->deleted tells that
 * only the fact of deletion is known. 0, -ENOENT, -EIO. */
int rows_get(struct rows *rows, const char *key, struct store_entry *found);
/* The first row after `after` that is not deleted. */
int rows_next(struct rows *rows, const char *after, struct store_entry *found);
/* The first row, deleted or not, that changed after revision. */
int rows_next_change(struct rows *rows, uint64_t revision,
		     struct store_entry *found);

void rows_free(struct store_entry *entry);

/* A NULL value marks the key as deleted. */
int rows_put(struct rows *rows, const char *key, const struct span *value,
	     uint64_t revision);
int rows_compact(struct rows *rows, uint64_t revision);
int rows_epoch_set(struct rows *rows, uint64_t epoch);

int rows_note_put(struct rows *rows, const char *key, struct span value);
int rows_note_get(struct rows *rows, const char *key,
		  struct store_entry *found);

int rows_copy(struct rows *rows, const char *path);

#endif
