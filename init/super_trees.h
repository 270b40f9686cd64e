/* The trees that a superblock of btrfs names, as far as it takes to know that
 * they are there. Reads only; the medium may be anybody's. */
#ifndef INIT_SUPER_TREES_H
#define INIT_SUPER_TREES_H

#include <endian.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum {
	SUPER_SIZE = 4096,
	SUPER_ARRAY_MAX = 2048,
	/* Linux, include/uapi/linux/btrfs_tree.h: struct btrfs_super_block */
	S_CSUM = 0,
	S_BODY = 32, /* what the checksum covers, to the end; blocks the same */
	S_FSID = 32,
	S_BYTENR = 48,
	S_MAGIC = 64,
	S_GENERATION = 72,
	S_ROOT = 80,
	S_CHUNK_ROOT = 88,
	S_LOG_ROOT = 96,
	S_BYTES_USED = 120,
	S_N_DEVICES = 136,
	S_NODE_SIZE = 148,
	S_ARRAY_SIZE = 160,
	S_CHUNK_GENERATION = 164,
	S_INCOMPAT = 188,
	S_CSUM_TYPE = 196, /* 0: crc32c */
	S_ROOT_LEVEL = 198,
	S_CHUNK_LEVEL = 199,
	S_LOG_LEVEL = 200,
	S_DEVICE_USED = 217,
	S_CACHE_GENERATION = 555,
	S_UUID_GENERATION = 563,
	S_ARRAY = 811,
};

static inline uint64_t get_le64(const uint8_t *p)
{
	uint64_t value;

	memcpy(&value, p, sizeof(value));
	return le64toh(value);
}

static inline uint32_t get_le32(const uint8_t *p)
{
	uint32_t value;

	memcpy(&value, p, sizeof(value));
	return le32toh(value);
}

/* The checksum of a superblock or of a block of a tree, of size bytes, as it
 * is stored. */
uint32_t super_sum(const uint8_t *block, uint32_t size);

/* Whether the chunk tree and the tree of roots are on the medium, of just the
 * generations that the superblock says, and whether its own list of system
 * chunks is that of the chunk tree. What does not lie on one device, once or
 * twice, is not. */
bool super_trees_good(int fd, const uint8_t *super);

#endif
