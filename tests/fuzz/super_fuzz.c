/* A torn superblock on a medium that anyone may have written. The medium is a
 * small btrfs that is right: a chunk tree of two levels and a root; the input
 * changes bytes of it, 3 for each: offset (2), value. The checksums are set
 * right after that, or nothing behind them would ever be reached. Whatever is
 * found, the copy or what was made of it is in both places, and nothing else
 * was written. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "init/super.h"
#include "init/super_trees.h"

enum {
	NODE = 4096,
	NODES_AT = 1 << 20,
	FIRST_AT = 64 << 10,
	COPY_AT = 64 << 20,
	SYSTEM_AT = 1 << 24, /* addresses: of the chunks */
	METADATA_AT = 1 << 25,
	CHUNK = 80,
	GENERATION = 9,
};

/* As on the medium: three nodes follow each other there. */
struct btrfs {
	uint8_t super[SUPER_SIZE], top[NODE], leaf[NODE], root[NODE];
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void put(uint8_t *p, uint64_t value, unsigned size)
{
	for (unsigned i = 0; i < size; i++)
		p[i] = (uint8_t)(value >> 8 * i);
}

static void key_put(uint8_t *p, uint64_t address)
{
	put(p, 256, 8);
	p[8] = 228;
	put(p + 9, address, 8);
}

static void chunk_put(uint8_t *p, uint64_t type, uint64_t place)
{
	put(p, 1 << 20, 8);
	put(p + 24, type, 8);
	put(p + 44, 1, 2);
	put(p + 56, place, 8);
}

static void node_put(uint8_t *p, uint64_t address, uint64_t owner,
		     unsigned n_items)
{
	put(p + 48, address, 8);
	put(p + 80, GENERATION, 8);
	put(p + 88, owner, 8);
	put(p + 96, n_items, 4);
}

static void super_put(uint8_t *p)
{
	memcpy(p + S_MAGIC, "_BHRfS_M", 8);
	put(p + S_BYTENR, FIRST_AT, 8);
	put(p + S_GENERATION, GENERATION, 8);
	put(p + S_ROOT, METADATA_AT + 2 * NODE, 8);
	put(p + S_CHUNK_ROOT, SYSTEM_AT, 8);
	put(p + S_N_DEVICES, 1, 8);
	put(p + S_NODE_SIZE, NODE, 4);
	put(p + S_ARRAY_SIZE, 17 + CHUNK, 4);
	put(p + S_CHUNK_GENERATION, GENERATION, 8);
	p[S_CHUNK_LEVEL] = 1;
	key_put(p + S_ARRAY, SYSTEM_AT);
	chunk_put(p + S_ARRAY + 17, 2, NODES_AT);
}

static void btrfs_put(struct btrfs *b)
{
	static const uint64_t at[2] = { SYSTEM_AT, METADATA_AT };

	memset(b, 0, sizeof(*b));
	super_put(b->super);
	node_put(b->top, SYSTEM_AT, 3, 1);
	b->top[100] = 1;
	key_put(b->top + 101, SYSTEM_AT);
	put(b->top + 101 + 17, SYSTEM_AT + NODE, 8);
	put(b->top + 101 + 25, GENERATION, 8);
	node_put(b->leaf, SYSTEM_AT + NODE, 3, 2);
	for (unsigned i = 0; i < 2; i++) {
		uint8_t *item = b->leaf + 101 + i * 25;

		key_put(item, at[i]);
		put(item + 17, 1000 + CHUNK * i, 4);
		put(item + 21, CHUNK, 4);
		chunk_put(b->leaf + 101 + 1000 + CHUNK * i, i ? 4 : 2,
			  NODES_AT);
	}
	node_put(b->root, METADATA_AT + 2 * NODE, 1, 0);
}

static void seal(uint8_t *p, uint32_t size)
{
	uint32_t sum = super_sum(p, size);

	memcpy(p, &sum, sizeof(sum));
}

static void write_at(int fd, const void *p, size_t size, off_t at)
{
	if (pwrite(fd, p, size, at) != (ssize_t)size)
		abort();
}

/* The first is torn behind its first sector. */
static void medium_write(int fd, struct btrfs *b)
{
	uint8_t copy[SUPER_SIZE];

	memcpy(copy, b->super, SUPER_SIZE);
	put(copy + S_BYTENR, COPY_AT, 8);
	put(copy + S_GENERATION, get_le64(b->super + S_GENERATION) - 1, 8);
	seal(copy, SUPER_SIZE);
	write_at(fd, copy, SUPER_SIZE, COPY_AT);
	b->super[SUPER_SIZE - 1] ^= 1;
	seal(b->super, SUPER_SIZE);
	b->super[SUPER_SIZE - 1] ^= 1;
	write_at(fd, b->super, SUPER_SIZE, FIRST_AT);
	seal(b->top, NODE);
	seal(b->leaf, NODE);
	seal(b->root, NODE);
	write_at(fd, b->top, sizeof(*b) - SUPER_SIZE, NODES_AT);
}

static void check(int fd, const struct btrfs *b)
{
	uint8_t first[SUPER_SIZE], copy[SUPER_SIZE], nodes[3 * NODE];

	if (pread(fd, first, SUPER_SIZE, FIRST_AT) != SUPER_SIZE ||
	    pread(fd, copy, SUPER_SIZE, COPY_AT) != SUPER_SIZE ||
	    pread(fd, nodes, sizeof(nodes), NODES_AT) != sizeof(nodes) ||
	    memcmp(nodes, b->top, sizeof(nodes)) != 0 ||
	    memcmp(first + S_MAGIC, copy + S_MAGIC, SUPER_SIZE - S_MAGIC) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct btrfs b;
	static int fd = -1;
	int n;

	if (fd < 0)
		fd = memfd_create("medium", MFD_CLOEXEC);
	btrfs_put(&b);
	for (size_t i = 0; i + 3 <= size; i += 3)
		((uint8_t *)&b)[(data[i] | data[i + 1] << 8) % sizeof(b)] =
			data[i + 2];
	medium_write(fd, &b);
	n = super_recover(fd);
	if (n < 0 && n != -ENODATA)
		abort();
	if (n >= 0)
		check(fd, &b);
	if (size < 3 && n != SUPER_COMPLETED)
		abort();
	return 0;
}
