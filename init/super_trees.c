/* Blocks of trees have addresses of their own. Chunks say where on the device
 * these are; the chunk tree lists them, and those in which the chunk tree
 * itself lies ("system") are in the superblock too.
 *
 * Whoever wrote the medium chose every byte read here: lengths and counts are
 * checked against the block, the way down has at most LEVEL_MAX steps, and
 * nothing is written. Format: Linux, include/uapi/linux/btrfs_tree.h. */
#define _GNU_SOURCE
#include "super_trees.h"

#include <stdlib.h>
#include <unistd.h>

#include "base/fd.h"

enum {
	/* struct btrfs_header */
	H_FSID = 32,
	H_BYTENR = 48,
	H_GENERATION = 80,
	H_OWNER = 88,
	H_N_ITEMS = 96,
	H_LEVEL = 100,
	H_SIZE = 101,
	/* struct btrfs_key_ptr, struct btrfs_item: a key first */
	KEY_SIZE = 17,
	POINTER_SIZE = 33,
	ITEM_SIZE = 25,
	/* struct btrfs_chunk, and a struct btrfs_stripe for each place */
	C_TYPE = 24,
	C_N_STRIPES = 44,
	CHUNK_SIZE = 48,
	STRIPE_SIZE = 32,

	NODE_MIN = 4096,
	NODE_MAX = 65536,
	LEVEL_MAX = 8,
	PLACES_MAX = 2,

	OWNER_ROOT_TREE = 1,
	OWNER_CHUNK_TREE = 3,
	KEY_CHUNK_OBJECT = 256,
	KEY_CHUNK_TYPE = 228,
	TYPE_DATA_SYSTEM_METADATA = 7,
	TYPE_DUP = 1 << 5,
	INCOMPAT_METADATA_UUID = 1 << 10, /* blocks bear another id */
};

struct trees {
	int fd;
	const uint8_t *super;
	uint8_t *block; /* the last that was read */
	uint32_t node_size;
};

struct chunk {
	uint64_t start, length, place[PLACES_MAX];
	unsigned n_places;
};

struct wanted {
	uint64_t address, generation, owner;
	unsigned level;
};

/* An item of the chunk tree, in the block that was read. */
struct item {
	uint64_t start;
	const uint8_t *data;
	uint32_t size;
};

uint32_t super_sum(const uint8_t *block, uint32_t size)
{
	uint32_t crc = ~0u;

	for (uint32_t i = S_BODY; i < size; i++) {
		crc ^= block[i];
		for (int bit = 0; bit < 8; bit++)
			crc = crc >> 1 ^ (crc & 1 ? 0x82f63b78u : 0);
	}
	return htole32(~crc);
}

/* The size of the chunk item in the `size` bytes at p; 0 when none is. */
static uint32_t chunk_size(const uint8_t *p, uint32_t size)
{
	uint32_t whole;

	if (size < CHUNK_SIZE)
		return 0;
	whole = CHUNK_SIZE +
		STRIPE_SIZE * (p[C_N_STRIPES] | p[C_N_STRIPES + 1] << 8);
	return whole <= size ? whole : 0;
}

static bool chunk_read(const struct item *item, struct chunk *c)
{
	uint64_t type;

	if (chunk_size(item->data, item->size) != item->size)
		return false;
	type = get_le64(item->data + C_TYPE);
	c->start = item->start;
	c->length = get_le64(item->data);
	c->n_places = (item->size - CHUNK_SIZE) / STRIPE_SIZE;
	if (type & ~(uint64_t)(TYPE_DATA_SYSTEM_METADATA | TYPE_DUP) ||
	    c->n_places < 1 || c->n_places > PLACES_MAX)
		return false;
	for (unsigned i = 0; i < c->n_places; i++)
		c->place[i] =
			get_le64(item->data + CHUNK_SIZE + i * STRIPE_SIZE + 8);
	return true;
}

static bool chunk_holds(const struct trees *t, const struct chunk *c,
			uint64_t address)
{
	return address >= c->start && c->length >= t->node_size &&
	       address - c->start <= c->length - t->node_size;
}

static bool block_valid(const struct trees *t, const struct wanted *w)
{
	uint32_t sum = super_sum(t->block, t->node_size);

	return memcmp(t->block, &sum, sizeof(sum)) == 0 &&
	       memcmp(t->block + H_FSID, t->super + S_FSID, 16) == 0 &&
	       get_le64(t->block + H_BYTENR) == w->address &&
	       get_le64(t->block + H_GENERATION) == w->generation &&
	       get_le64(t->block + H_OWNER) == w->owner &&
	       t->block[H_LEVEL] == w->level;
}

static bool block_read(const struct trees *t, const struct chunk *c,
		       const struct wanted *w)
{
	if (!chunk_holds(t, c, w->address))
		return false;
	for (unsigned i = 0; i < c->n_places; i++) {
		uint64_t at = w->address - c->start;

		if (__builtin_add_overflow(at, c->place[i], &at) ||
		    at > INT64_MAX)
			continue;
		if (pread(t->fd, t->block, t->node_size, (off_t)at) ==
			    (ssize_t)t->node_size &&
		    block_valid(t, w))
			return true;
	}
	return false;
}

/* The next of the superblock's system chunks, at *p; false at their end. What
 * is no chunk ends them too: see array_whole. */
static bool array_next(const uint8_t *super, uint32_t *at, struct item *item)
{
	const uint8_t *p = super + S_ARRAY + *at;
	uint32_t left = get_le32(super + S_ARRAY_SIZE);

	if (left > SUPER_ARRAY_MAX || *at > left || left - *at < KEY_SIZE)
		return false;
	left -= *at + KEY_SIZE;
	item->start = get_le64(p + 9);
	item->data = p + KEY_SIZE;
	item->size = chunk_size(item->data, left);
	*at += KEY_SIZE + item->size;
	return item->size > 0;
}

static bool system_chunk(const struct trees *t, uint64_t address,
			 struct chunk *c)
{
	struct item item;

	for (uint32_t at = 0; array_next(t->super, &at, &item);)
		if (chunk_read(&item, c) && chunk_holds(t, c, address))
			return true;
	return false;
}

/* Whether the key at p is that of a chunk which starts at or before address,
 * or sorts before all chunks. */
static bool key_before(const uint8_t *p, uint64_t address)
{
	uint64_t object = get_le64(p);

	if (object != KEY_CHUNK_OBJECT)
		return object < KEY_CHUNK_OBJECT;
	if (p[8] != KEY_CHUNK_TYPE)
		return p[8] < KEY_CHUNK_TYPE;
	return get_le64(p + 9) <= address;
}

/* The last entry of the block whose key is before; NULL when none is. */
static const uint8_t *block_entry(const struct trees *t, uint32_t entry_size,
				  uint64_t address)
{
	uint32_t n = get_le32(t->block + H_N_ITEMS);
	const uint8_t *p = NULL;

	if (n > (t->node_size - H_SIZE) / entry_size)
		return NULL;
	for (uint32_t i = 0; i < n; i++) {
		const uint8_t *next = t->block + H_SIZE + i * entry_size;

		if (!key_before(next, address))
			break;
		p = next;
	}
	return p;
}

static bool leaf_item(const struct trees *t, uint64_t address,
		      struct item *item)
{
	const uint8_t *p = block_entry(t, ITEM_SIZE, address);
	uint32_t room = t->node_size - H_SIZE, offset;

	if (!p || get_le64(p) != KEY_CHUNK_OBJECT || p[8] != KEY_CHUNK_TYPE)
		return false;
	offset = get_le32(p + KEY_SIZE);
	item->size = get_le32(p + KEY_SIZE + 4);
	if (offset > room || item->size > room - offset)
		return false;
	item->start = get_le64(p + 9);
	item->data = t->block + H_SIZE + offset;
	return true;
}

/* The last chunk of the chunk tree that starts at or before address. */
static bool chunk_find(const struct trees *t, uint64_t address,
		       struct item *item)
{
	struct wanted w = {
		.address = get_le64(t->super + S_CHUNK_ROOT),
		.generation = get_le64(t->super + S_CHUNK_GENERATION),
		.owner = OWNER_CHUNK_TREE,
		.level = t->super[S_CHUNK_LEVEL],
	};
	struct chunk c;

	if (w.level >= LEVEL_MAX)
		return false;
	for (;;) {
		const uint8_t *p;

		if (!system_chunk(t, w.address, &c) || !block_read(t, &c, &w))
			return false;
		if (w.level == 0)
			return leaf_item(t, address, item);
		p = block_entry(t, POINTER_SIZE, address);
		if (!p)
			return false;
		w.address = get_le64(p + KEY_SIZE);
		w.generation = get_le64(p + KEY_SIZE + 8);
		w.level--;
	}
}

/* Each is in the chunk tree, byte for byte; and the list has the length that
 * the superblock says, so that none is missing. */
static bool array_whole(const struct trees *t)
{
	struct item mine, theirs;
	uint32_t end = get_le32(t->super + S_ARRAY_SIZE), at = 0;

	while (array_next(t->super, &at, &mine))
		if (!chunk_find(t, mine.start, &theirs) ||
		    theirs.start != mine.start || theirs.size != mine.size ||
		    memcmp(theirs.data, mine.data, mine.size) != 0)
			return false;
	return at > 0 && at == end;
}

static bool root_there(const struct trees *t)
{
	struct wanted w = {
		.address = get_le64(t->super + S_ROOT),
		.generation = get_le64(t->super + S_GENERATION),
		.owner = OWNER_ROOT_TREE,
		.level = t->super[S_ROOT_LEVEL],
	};
	struct item item;
	struct chunk c;

	return chunk_find(t, w.address, &item) && chunk_read(&item, &c) &&
	       block_read(t, &c, &w);
}

bool super_trees_good(int fd, const uint8_t *super)
{
	struct trees t = {
		.fd = fd,
		.super = super,
		.node_size = get_le32(super + S_NODE_SIZE),
	};
	autofree uint8_t *block = NULL;

	if (t.node_size < NODE_MIN || t.node_size > NODE_MAX ||
	    (t.node_size & (t.node_size - 1)) ||
	    get_le64(super + S_N_DEVICES) != 1 ||
	    get_le64(super + S_INCOMPAT) & INCOMPAT_METADATA_UUID)
		return false;
	block = malloc(t.node_size);
	t.block = block;
	return block && array_whole(&t) && root_there(&t);
}
