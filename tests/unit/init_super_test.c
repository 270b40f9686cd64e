/* A torn first superblock is made whole with its copy; btrfs itself says
 * whether the result is good, and the checksum whether it is the one that was
 * there. The file system is that of mkfs.btrfs; a copy "of the commit before"
 * is its own with the generation set back. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "init/super.h"
#include "init/super_trees.h"
#include "tap.h"

enum { FIRST_AT = 64 << 10, COPY_AT = 64 << 20, SECTOR = 512 };

static char path[] = "/tmp/zooid-super-XXXXXX";
static uint8_t first[SUPER_SIZE]; /* as mkfs.btrfs made it */

struct craft {
	const char *name;
	int torn_at, torn_size; /* of the first, junk */
	int copy_behind;	/* generations */
	int flip[2];		/* offsets: of the first, of the copy */
	int copy_to;		/* what is written over with junk, else 0 */
	enum super_recovered is;
	bool exact; /* the first is again as it was, to the last byte */
};

/* Offsets of S_ROOT and S_CHUNK_ROOT mean the blocks these name. */
static const struct craft crafts[] = {
	{ "torn behind its first sector, the copy of the same commit",
	  512,
	  512,
	  0,
	  { 0 },
	  0,
	  SUPER_COMPLETED,
	  true },
	{ "torn at its end", 3584, 512, 0, { 0 }, 0, SUPER_COMPLETED, true },
	{ "torn first sector", 0, 512, 0, { 0 }, 0, SUPER_COPIED, true },
	{ "a log that the copy has not",
	  512,
	  3584,
	  0,
	  { S_LOG_ROOT + 2 },
	  0,
	  SUPER_COMPLETED,
	  true },
	{ "a log, and its first sector torn",
	  0,
	  512,
	  0,
	  { S_LOG_ROOT + 2 },
	  0,
	  SUPER_COPIED,
	  false },
	{ "the next commit, all but its first sector torn",
	  512,
	  3584,
	  1,
	  { 0 },
	  0,
	  SUPER_COMPLETED,
	  true },
	{ "the next commit, torn at its end",
	  3584,
	  512,
	  1,
	  { 0 },
	  0,
	  SUPER_COMPLETED,
	  true },
	{ "two commits on", 512, 512, 2, { 0 }, 0, SUPER_COPIED, false },
	{ "the next commit, but with a log",
	  512,
	  512,
	  1,
	  { S_LOG_ROOT + 2 },
	  0,
	  SUPER_COPIED,
	  false },
	{ "the next commit, but a log's level",
	  512,
	  512,
	  1,
	  { S_LOG_LEVEL },
	  0,
	  SUPER_COPIED,
	  false },
	{ "the next commit of another file system",
	  512,
	  512,
	  1,
	  { S_FSID },
	  0,
	  SUPER_COPIED,
	  false },
	{ "the next commit, on another device",
	  512,
	  512,
	  1,
	  { 270 },
	  0,
	  SUPER_COPIED,
	  false },
	{ "the next commit, of another size",
	  512,
	  512,
	  1,
	  { 114 },
	  0,
	  SUPER_COPIED,
	  false },
	{ "the next commit, another root",
	  512,
	  512,
	  1,
	  { S_ROOT + 2 },
	  0,
	  SUPER_COPIED,
	  false },
	{ "the next commit, another level of the root",
	  512,
	  512,
	  1,
	  { S_ROOT_LEVEL },
	  0,
	  SUPER_COPIED,
	  false },
	{ "the next commit, another chunk root",
	  512,
	  512,
	  1,
	  { S_CHUNK_ROOT + 2 },
	  0,
	  SUPER_COPIED,
	  false },
	{ "the next commit, another generation of the chunk root",
	  512,
	  512,
	  1,
	  { S_CHUNK_GENERATION },
	  0,
	  SUPER_COPIED,
	  false },
	{ "the next commit, a root that is broken",
	  512,
	  512,
	  1,
	  { 0 },
	  S_ROOT,
	  SUPER_COPIED,
	  false },
	{ "the next commit, a chunk root that is broken",
	  512,
	  512,
	  1,
	  { 0 },
	  S_CHUNK_ROOT,
	  SUPER_COPIED,
	  false },
	{ "the next commit, system chunks that moved",
	  512,
	  512,
	  1,
	  { 0, S_ARRAY + 17 + 48 + 8 + 2 },
	  0,
	  SUPER_COPIED,
	  false },
	{ "the next commit, a system chunk that is longer",
	  512,
	  512,
	  1,
	  { 0, S_ARRAY + 17 + 3 },
	  0,
	  SUPER_COPIED,
	  false },
	{ "the next commit, a shorter list of system chunks",
	  512,
	  512,
	  1,
	  { S_ARRAY_SIZE, S_ARRAY_SIZE },
	  0,
	  SUPER_COPIED,
	  false },
};

static int shell(const char *command)
{
	char line[512];

	snprintf(line, sizeof(line), "%s %s >/dev/null 2>&1", command, path);
	return system(line);
}

static void put(int fd, const void *data, size_t size, off_t at)
{
	if (pwrite(fd, data, size, at) != (ssize_t)size)
		abort();
}

static void seal(uint8_t *super)
{
	uint32_t sum = super_sum(super, SUPER_SIZE);

	memcpy(super, &sum, sizeof(sum));
}

static void copy_make(uint8_t *copy, int behind)
{
	static const int generations[] = { S_GENERATION, S_UUID_GENERATION };
	uint64_t at = htole64(COPY_AT);

	memcpy(copy, first, SUPER_SIZE);
	memcpy(copy + S_BYTENR, &at, sizeof(at));
	for (int i = 0; i < 2; i++) {
		uint64_t n = get_le64(copy + generations[i]);

		n = htole64(n - (uint64_t)behind);
		memcpy(copy + generations[i], &n, sizeof(n));
	}
}

/* Both copies of the block that the superblock names at offset `at`: mkfs puts
 * the first system and metadata chunks where we can find them. */
static void block_break(int fd, int at, int how)
{
	static uint8_t block[4096];
	uint64_t address = get_le64(first + at), head[7];

	for (off_t p = 1 << 20; p < 80 << 20; p += 4096) {
		if (pread(fd, head, sizeof(head), p) != sizeof(head) ||
		    le64toh(head[6]) != address ||
		    memcmp((uint8_t *)head + 32, first + S_FSID, 16) != 0 ||
		    pread(fd, block, sizeof(block), p) != sizeof(block))
			continue;
		block[2048] ^= (uint8_t)how;
		put(fd, block, sizeof(block), p);
	}
}

static void craft_make(int fd, const struct craft *c, uint8_t *was,
		       uint8_t *copy)
{
	uint8_t junk[SUPER_SIZE];

	memset(junk, 0x5a, sizeof(junk));
	memcpy(was, first, SUPER_SIZE);
	copy_make(copy, c->copy_behind);
	if (c->flip[0])
		was[c->flip[0]] ^= 1;
	if (c->flip[1])
		copy[c->flip[1]] ^= 1;
	seal(was);
	seal(copy);
	put(fd, was, SUPER_SIZE, FIRST_AT);
	put(fd, copy, SUPER_SIZE, COPY_AT);
	put(fd, junk, (size_t)c->torn_size, FIRST_AT + c->torn_at);
}

static bool same_but_place(const uint8_t *a, const uint8_t *b)
{
	return memcmp(a + S_FSID, b + S_FSID, 16) == 0 &&
	       memcmp(a + S_BYTENR + 8, b + S_BYTENR + 8,
		      SUPER_SIZE - S_BYTENR - 8) == 0;
}

static void craft_test(int fd, const struct craft *c)
{
	uint8_t was[SUPER_SIZE], copy[SUPER_SIZE], is[2][SUPER_SIZE];
	int n;

	craft_make(fd, c, was, copy);
	if (c->copy_to)
		block_break(fd, c->copy_to, 1);
	n = super_recover(fd);
	if (c->copy_to)
		block_break(fd, c->copy_to, 1);
	if (pread(fd, is[0], SUPER_SIZE, FIRST_AT) != SUPER_SIZE ||
	    pread(fd, is[1], SUPER_SIZE, COPY_AT) != SUPER_SIZE)
		abort();
	ok(n == (int)c->is, "%s: %s", c->name,
	   c->is == SUPER_COPIED ? "copied" : "completed");
	if (c->is == SUPER_COPIED)
		ok(same_but_place(is[0], copy), "%s: it is the copy", c->name);
	if (c->exact)
		ok(memcmp(is[0], was, SUPER_SIZE) == 0, "%s: as it was",
		   c->name);
	ok(super_recover(fd) == SUPER_VALID && same_but_place(is[0], is[1]),
	   "%s: both are valid and the same", c->name);
	if (c->is == SUPER_COMPLETED && !c->flip[0])
		ok(shell("btrfs check --readonly") == 0,
		   "%s: btrfs check is content", c->name);
}

static void made_by(int fd, const char *command)
{
	static const uint8_t junk[SECTOR] = { 0x5a };

	ok(shell(command) == 0, "%s makes one", command);
	ok(super_recover(fd) == SUPER_VALID, "a valid one is left alone");
	if (pread(fd, first, sizeof(first), FIRST_AT) != sizeof(first))
		abort();
	/* The kernel sets it as soon as it has looked through that tree. */
	memcpy(first + S_UUID_GENERATION, first + S_GENERATION, 8);
	for (size_t i = 0; i < sizeof(crafts) / sizeof(*crafts); i++)
		craft_test(fd, &crafts[i]);
	put(fd, junk, sizeof(junk), FIRST_AT);
	put(fd, junk, sizeof(junk), COPY_AT);
	ok(super_recover(fd) == -ENODATA, "both torn: nothing is made up");
}

int main(void)
{
	int fd = mkstemp(path);

	if (fd < 0 || ftruncate(fd, 80 << 20) < 0)
		return 1;
	ok(super_recover(fd) == -ENODATA, "an empty medium has none");
	made_by(fd, "mkfs.btrfs -q -f -n 4k -m single");
	if (ftruncate(fd, 256 << 20) < 0)
		return 1;
	made_by(fd, "mkfs.btrfs -q -f -n 4k -m dup");
	made_by(fd, "mkfs.btrfs -q -f -m dup"); /* as nodes once did */
	unlink(path);
	return tap_done();
}
