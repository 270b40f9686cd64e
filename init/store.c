/* Invariants:
 * 1. An entry that is STORE_HELD has exactly one descriptor, owned by it.
 * 2. Two live entries (held or exited) never have the same key; a tombstone
 *    and a live entry may, and then the tombstone has the lower number.
 * 3. `changed` numbers are unique, so a watcher that stands at n has been told
 *    of every change up to n that is still worth telling.
 * 4. From entries_end on all are free: searches are short while few are used.
 * 5. marks say of each entry what searches look for, apart from the rest, so
 *    that one among thousands walks through some pages, not megabytes.
 */
#include "store.h"

#include <errno.h>
#include <string.h>

#include "base/fd.h"
#include "base/hash.h"

static struct store_entry entries[STORE_ENTRIES];
static struct store_entry *entries_end = entries;
static struct mark {
	uint64_t changed; /* 0: free */
	uint32_t hash;	  /* of the key; 0: not live */
	uint32_t kind;
	uid_t owner;
} marks[STORE_ENTRIES];
static uint64_t sequence;
static void (*on_change)(uint32_t kind);

static bool is_live(const struct store_entry *e)
{
	return e->state == STORE_HELD || e->state == STORE_EXITED;
}

static struct mark *mark_of(const struct store_entry *e)
{
	return &marks[e - entries];
}

/* Never 0. */
static uint32_t key_hash(const struct init_key *key)
{
	uint64_t name = hash_of(key->container, strlen(key->container));

	return ((uint32_t)name ^ (key->n << 4) ^ (key->kind << 1)) | 1;
}

void store_init(void (*changed)(uint32_t kind))
{
	on_change = changed;
	sequence = 0;
	for (struct store_entry *e = entries; e < entries_end; e++) {
		if (e->state == STORE_HELD)
			fd_close(&e->fd);
		e->state = STORE_FREE;
		*mark_of(e) = (struct mark){ 0 };
	}
	entries_end = entries;
}

static void touch(struct store_entry *e)
{
	e->changed = ++sequence;
	*mark_of(e) = (struct mark){
		.changed = e->changed,
		.hash = is_live(e) ? key_hash(&e->key) : 0,
		.kind = e->key.kind,
		.owner = e->owner,
	};
	on_change(e->key.kind);
}

static bool key_is(const struct store_entry *e, const struct init_key *key)
{
	return e->key.kind == key->kind && e->key.n == key->n &&
	       strcmp(e->key.container, key->container) == 0;
}

struct store_entry *store_find(const struct init_key *key)
{
	uint32_t hash = key_hash(key);

	for (struct store_entry *e = entries; e < entries_end; e++)
		if (mark_of(e)->hash == hash && key_is(e, key))
			return e;
	return NULL;
}

struct store_entry *store_find_pid(uint32_t pid)
{
	for (struct store_entry *e = entries; e < entries_end; e++)
		if (e->state == STORE_HELD && e->pid == pid &&
		    (e->key.kind == INIT_KIND_PIDFD ||
		     e->key.kind == INIT_KIND_BUD))
			return e;
	return NULL;
}

static int room_find(uid_t owner, struct store_entry **room)
{
	int n_owned = 0;
	int quota = owner == 0 ? STORE_QUOTA_ROOT : STORE_QUOTA_OTHER;

	*room = NULL;
	for (struct store_entry *e = entries; e < entries_end; e++) {
		const struct mark *m = mark_of(e);

		if (!m->changed && !*room)
			*room = e;
		n_owned += m->hash && m->owner == owner;
	}
	if (n_owned >= quota)
		return -EDQUOT;
	if (!*room && entries_end < entries + STORE_ENTRIES)
		*room = entries_end++;
	return *room ? 0 : -ENOSPC;
}

int store_put(const struct store_new *new, struct store_entry **entry)
{
	struct store_entry *e;
	int err;

	if (store_find(new->key))
		return -EEXIST;
	err = room_find(new->owner, &e);
	if (err < 0)
		return err;
	*e = (struct store_entry){
		.key = *new->key,
		.state = STORE_HELD,
		.fd = new->fd,
		.owner = new->owner,
		.builtin = new->builtin,
		.pid = new->pid,
		.started_ms = clock_boot_ms(),
		.born = sequence + 1,
		.exit.fd = -1,
		.from = new->from,
	};
	if (new->note)
		memcpy(e->note, new->note, sizeof(e->note));
	*entry = e;
	touch(e);
	return 0;
}

int store_rename(struct store_entry *e, const struct init_key *key,
		 const uint8_t *note)
{
	if (store_find(key))
		return -EEXIST;
	e->key = *key;
	e->born = sequence + 1;
	store_note_set(e, note);
	return 0;
}

void store_note_set(struct store_entry *e, const uint8_t *note)
{
	memcpy(e->note, note, sizeof(e->note));
	touch(e);
}

void store_drop(struct store_entry *e)
{
	fd_close(&e->fd);
	e->state = STORE_GONE;
	touch(e);
}

void store_exited(struct store_entry *e, int32_t code, int32_t status)
{
	fd_close(&e->fd);
	e->state = STORE_EXITED;
	e->exit_code = code;
	e->exit_status = status;
	e->ended_ms = clock_boot_ms();
	touch(e);
}

const struct store_entry *store_next(uint32_t kind, uint64_t after)
{
	const struct store_entry *next = NULL;

	for (struct store_entry *e = entries; e < entries_end; e++) {
		const struct mark *m = mark_of(e);

		if (m->kind != kind || m->changed <= after ||
		    (next && m->changed > next->changed))
			continue;
		if (m->hash || e->born <= after)
			next = e;
	}
	return next;
}

uint64_t store_sequence(void)
{
	return sequence;
}

void store_trim(uint32_t kind, uint64_t passed)
{
	for (struct store_entry *e = entries; e < entries_end; e++) {
		struct mark *m = mark_of(e);

		if (!m->changed || m->hash || m->kind != kind ||
		    m->changed > passed)
			continue;
		e->state = STORE_FREE;
		*m = (struct mark){ 0 };
	}
	while (entries_end > entries && entries_end[-1].state == STORE_FREE)
		entries_end--;
}

void store_buds(const void *from, void (*f)(struct store_entry *))
{
	for (struct store_entry *e = entries; e < entries_end; e++)
		if (mark_of(e)->hash && mark_of(e)->kind == INIT_KIND_BUD &&
		    e->from == from)
			f(e);
}

int store_processes(void (*f)(struct store_entry *))
{
	int n = 0;

	for (struct store_entry *e = entries; e < entries_end; e++) {
		if (e->state != STORE_HELD || e->key.kind != INIT_KIND_PIDFD)
			continue;
		n++;
		if (f)
			f(e);
	}
	return n;
}
