/* The rounds of the store. A round begins with its first change and ends in
 * settle(): at the end of the loop's turn, by a timer that is due at once. A
 * round that holds only notes may stay open for NOTE_MS, which costs nobody
 * anything: there is one writer.
 *
 * When a change fails the transaction is gone and with it all changes of the
 * round so far, so the round is `failed`: later changes are refused with the
 * same error until settle() has told everyone who waits.
 *
 * Watches on exact keys lie in a table of lists, so that a commit for one node
 * does not look at the watches of a thousand; those on prefixes are few. */
#include "store.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "store_sqlite.h"

enum {
	NOTE_MS = 1000,
	WATCH_LISTS = 1024,
};

struct store {
	struct rows *rows;
	struct loop *loop;
	struct timer settle;
	char path[512];
	uint64_t epoch;
	uint64_t committed_epoch;
	uint64_t revision;
	uint64_t committed_revision;
	uint64_t compacted;
	bool open; /* a transaction is */
	int failed;
	struct store_stats stats;
	struct store_wait *waits;
	struct store_watch *due; /* to be called after this round */
	struct store_watch *exact[WATCH_LISTS];
	struct store_watch *prefix;
};

/* ---- rounds ---- */

static void round_due(struct store *store, uint64_t delay_ms)
{
	if (!store->loop)
		return;
	if (store->settle.deadline_ms &&
	    store->settle.deadline_ms <= clock_ms() + delay_ms)
		return;
	timer_set(store->loop, &store->settle, delay_ms);
}

static int round_begin(struct store *store, uint64_t delay_ms)
{
	if (store->failed)
		return store->failed;
	if (!store->open) {
		int err = rows_begin(store->rows);

		if (err < 0)
			return err;
		store->open = true;
	}
	round_due(store, delay_ms);
	return 0;
}

/* The transaction is gone already. */
static int round_fail(struct store *store, int err)
{
	store->open = false;
	store->stats.failed++;
	store->failed = err;
	store->revision = store->committed_revision;
	store->epoch = store->committed_epoch;
	round_due(store, 0);
	return err;
}

static int round_commit(struct store *store)
{
	int err = store->failed;

	if (store->open) {
		err = rows_commit(store->rows);
		if (err < 0)
			round_fail(store, err);
		else
			store->stats.commits++;
	}
	store->open = false;
	store->failed = 0;
	store->committed_revision = store->revision;
	store->committed_epoch = store->epoch;
	for (struct store_wait *w = store->waits; w && !w->ended; w = w->next) {
		w->ended = true;
		w->error = err;
	}
	return err;
}

/* Those that start to wait in a callback wait for the next round. */
static void waits_call(struct store *store)
{
	struct store_wait *all = store->waits;

	store->waits = NULL;
	if (all)
		all->prevp = &all;
	while (all) {
		struct store_wait *w = all;

		store_wait_cancel(w);
		w->done(w, w->error);
	}
}

static void due_add(struct store *store, struct store_watch *w)
{
	if (w->due_prevp)
		return;
	w->due_next = store->due;
	if (w->due_next)
		w->due_next->due_prevp = &w->due_next;
	store->due = w;
	w->due_prevp = &store->due;
	round_due(store, 0);
}

static void due_del(struct store_watch *w)
{
	if (!w->due_prevp)
		return;
	*w->due_prevp = w->due_next;
	if (w->due_next)
		w->due_next->due_prevp = w->due_prevp;
	w->due_prevp = NULL;
}

static void watches_call(struct store *store)
{
	struct store_watch *all = store->due;

	store->due = NULL;
	if (all)
		all->due_prevp = &all;
	while (all) {
		struct store_watch *w = all;

		due_del(w);
		w->changed(w);
	}
}

static void settle(struct store *store)
{
	round_commit(store);
	waits_call(store);
	watches_call(store);
}

static void settle_fire(struct timer *t)
{
	settle(container_of(t, struct store, settle));
}

int store_commit(struct store *store)
{
	int err = round_commit(store);

	/* There is no turn at whose end they would be. */
	if (!store->loop)
		waits_call(store);
	return err;
}

void store_settled(struct store *store, struct store_wait *w)
{
	w->ended = false;
	w->next = store->waits;
	if (w->next)
		w->next->prevp = &w->next;
	store->waits = w;
	w->prevp = &store->waits;
	round_due(store, 0);
}

void store_wait_cancel(struct store_wait *w)
{
	if (!w->prevp)
		return;
	*w->prevp = w->next;
	if (w->next)
		w->next->prevp = w->prevp;
	w->prevp = NULL;
}

/* ---- opening ---- */

int store_open(struct store **out, const char *path, struct loop *loop)
{
	struct store *store = calloc(1, sizeof(*store));
	int err;

	if (!store)
		return -ENOMEM;
	store->loop = loop;
	store->settle.fire = settle_fire;
	text_copy(store->path, sizeof(store->path), path);
	err = rows_open(&store->rows, store->path, &store->epoch,
			&store->revision, &store->compacted);
	if (err < 0) {
		free(store);
		return err;
	}
	store->committed_epoch = store->epoch;
	store->committed_revision = store->revision;
	*out = store;
	return 0;
}

void store_close(struct store *store)
{
	round_commit(store);
	waits_call(store);
	timer_cancel(&store->settle);
	rows_close(store->rows);
	free(store);
}

uint64_t store_epoch(const struct store *store)
{
	return store->epoch;
}

uint64_t store_revision(const struct store *store)
{
	return store->revision;
}

const struct store_stats *store_stats(const struct store *store)
{
	return &store->stats;
}

int store_epoch_set(struct store *store, uint64_t epoch)
{
	int err = round_begin(store, 0);

	if (err == 0) {
		err = rows_epoch_set(store->rows, epoch);
		if (err < 0)
			return round_fail(store, err);
		store->epoch = epoch;
	}
	return err;
}

/* ---- watches ---- */

static struct store_watch **watch_list(struct store *store, const char *key)
{
	uint32_t hash = 2166136261u; /* FNV-1a */

	for (const char *p = key; *p; p++)
		hash = (hash ^ (unsigned char)*p) * 16777619u;
	return &store->exact[hash % WATCH_LISTS];
}

void store_watch_add(struct store *store, struct store_watch *w)
{
	struct store_watch **list = w->is_prefix ? &store->prefix
						 : watch_list(store, w->key);

	w->next = *list;
	if (w->next)
		w->next->prevp = &w->next;
	*list = w;
	w->prevp = list;
	w->due_prevp = NULL;
	due_add(store, w);
}

void store_watch_del(struct store_watch *w)
{
	if (!w->prevp)
		return;
	due_del(w);
	*w->prevp = w->next;
	if (w->next)
		w->next->prevp = w->prevp;
	w->prevp = NULL;
}

static void watches_wake(struct store *store, const char *key)
{
	for (struct store_watch *w = *watch_list(store, key); w; w = w->next)
		if (!strcmp(w->key, key))
			due_add(store, w);
	for (struct store_watch *w = store->prefix; w; w = w->next)
		if (!strncmp(w->key, key, strlen(w->key)))
			due_add(store, w);
}

/* ---- reading ---- */

int store_get(struct store *store, const char *key, char **value, size_t *size,
	      uint64_t *revision)
{
	struct store_entry e;
	int err = rows_get(store->rows, key, &e);

	if (err == 0 && e.deleted) {
		rows_free(&e);
		return -ENOENT;
	}
	if (err < 0)
		return err;
	if (size)
		*size = e.value.size;
	if (revision)
		*revision = e.revision;
	if (value) {
		/* The block starts with the key. */
		char *block = (char *)e.key.data;

		memmove(block, e.value.data, e.value.size + 1);
		*value = block;
		return 0;
	}
	rows_free(&e);
	return 0;
}

static bool has_prefix(const struct store_entry *e, const char *prefix)
{
	size_t n = strlen(prefix);

	return e->key.size >= n && !memcmp(e->key.data, prefix, n);
}

/* The place to go on from is the key or revision of the last entry, so the
 * callback may change what it likes. */
int store_range(struct store *store, const char *prefix, const char *after,
		unsigned max, store_each each, void *context)
{
	char from[STORE_KEY_MAX];
	int err = 0;

	/* A key equal to the prefix would be one as well; none is. */
	text_copy(from, sizeof(from),
		  strcmp(after, prefix) > 0 ? after : prefix);
	while (max-- && err == 0) {
		struct store_entry e;

		err = rows_next(store->rows, from, &e);
		if (err < 0)
			break;
		if (!has_prefix(&e, prefix)) {
			rows_free(&e);
			break;
		}
		text_copy(from, sizeof(from), e.key.data);
		err = each(context, &e);
		rows_free(&e);
	}
	return err == -ENOENT ? 0 : err;
}

int store_changes(struct store *store, const char *prefix,
		  uint64_t after_revision, unsigned max, store_each each,
		  void *context)
{
	int err = 0;

	if (after_revision < store->compacted)
		return -ESTALE;
	while (max && err == 0) {
		struct store_entry e;

		err = rows_next_change(store->rows, after_revision, &e);
		if (err < 0)
			break;
		after_revision = e.revision;
		if (has_prefix(&e, prefix)) {
			max--;
			err = each(context, &e);
		}
		rows_free(&e);
	}
	return err == -ENOENT ? 0 : err;
}

/* ---- changing ---- */

static int condition_check(struct store *store, const char *key,
			   uint64_t if_revision)
{
	struct store_entry e;
	int err;

	if (if_revision == STORE_ANY)
		return 0;
	err = rows_get(store->rows, key, &e);
	if (err == -ENOENT)
		return if_revision == STORE_NEW ? 0 : -EAGAIN;
	if (err < 0)
		return err;
	err = (e.deleted ? STORE_NEW : e.revision) == if_revision ? 0 : -EAGAIN;
	rows_free(&e);
	return err;
}

static int change(struct store *store, const char *key,
		  const struct span *value)
{
	int err = round_begin(store, 0);

	if (err < 0)
		return err;
	err = rows_put(store->rows, key, value, store->revision + 1);
	if (err < 0)
		return round_fail(store, err);
	store->revision++;
	store->stats.changes++;
	watches_wake(store, key);
	return 0;
}

int store_put(struct store *store, const char *key, struct span value,
	      uint64_t if_revision, uint64_t *revision)
{
	int err;

	if (value.size > STORE_VALUE_MAX || strlen(key) >= STORE_KEY_MAX)
		return -E2BIG;
	err = condition_check(store, key, if_revision);
	if (err == 0)
		err = change(store, key, &value);
	if (err == 0 && revision)
		*revision = store->revision;
	return err;
}

int store_delete(struct store *store, const char *key, uint64_t if_revision)
{
	struct store_entry e;
	bool exists;
	int err = rows_get(store->rows, key, &e);

	if (err < 0)
		return err;
	exists = !e.deleted;
	rows_free(&e);
	if (!exists)
		return -ENOENT;
	err = condition_check(store, key, if_revision);
	return err < 0 ? err : change(store, key, NULL);
}

int store_note(struct store *store, const char *key, struct span value)
{
	int err = round_begin(store, NOTE_MS);

	if (err < 0)
		return err;
	if (value.size > STORE_VALUE_MAX)
		return -E2BIG;
	store->stats.notes++;
	err = rows_note_put(store->rows, key, value);
	return err < 0 ? round_fail(store, err) : 0;
}

int store_note_get(struct store *store, const char *key, char **value,
		   size_t *size)
{
	struct store_entry e;
	char *block;
	int err = rows_note_get(store->rows, key, &e);

	if (err < 0)
		return err;
	block = (char *)e.key.data;
	*size = e.value.size;
	memmove(block, e.value.data, e.value.size + 1);
	*value = block;
	return 0;
}

int store_compact(struct store *store, uint64_t revision)
{
	int err;

	if (revision > store->revision)
		revision = store->revision;
	if (revision <= store->compacted)
		return 0;
	err = round_begin(store, 0);
	if (err < 0)
		return err;
	err = rows_compact(store->rows, revision);
	if (err < 0)
		return round_fail(store, err);
	store->compacted = revision;
	return 0;
}

int store_copy(struct store *store, const char *path)
{
	int err = store_commit(store);

	return err < 0 ? err : rows_copy(store->rows, path);
}
