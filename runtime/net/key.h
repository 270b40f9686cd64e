/* What tells one flow out of a container from another, and tables of flows. */
#ifndef NET_KEY_H
#define NET_KEY_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

enum { KEY_BUCKETS = 1024 };

/* Compared as bytes: make it whole, with `= { 0 }`, before setting fields. */
struct key {
	uint8_t inside[16], outside[16];    /* addresses, v4 mapped */
	uint16_t inside_port, outside_port; /* host byte order; of an echo: its
					     * identifier, and 0 */
	uint8_t protocol;		    /* IPPROTO_... */
	uint8_t reserved[3];
};

_Static_assert(sizeof(struct key) == 40, "no padding");

struct key_entry {
	struct key key;
	struct key_entry *next; /* in its bucket */
};

struct key_table {
	struct key_entry *bucket[KEY_BUCKETS];
};

/* Before the first use: a number that nobody outside can guess, for who chooses
 * the keys must not choose their bucket. */
void key_seed_set(uint64_t seed);

/* The bucket of a key, below KEY_BUCKETS. */
unsigned int key_bucket(const struct key *key);

void key_add(struct key_table *t, struct key_entry *e);
void key_del(struct key_table *t, struct key_entry *e);
/* NULL when there is none. */
struct key_entry *key_find(const struct key_table *t, const struct key *key);

/* Of an address in 16 bytes: whether it is an IPv4 one. */
static inline bool address_is_mapped(const uint8_t address[16])
{
	static const uint8_t mapped[12] = { [10] = 0xff, 0xff };

	return memcmp(address, mapped, sizeof(mapped)) == 0;
}

#endif
