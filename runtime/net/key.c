#include "key.h"

#include <string.h>

static uint64_t seed = 0x9e3779b97f4a7c15;

void key_seed_set(uint64_t value)
{
	seed = value | 1;
}

static uint64_t mix(uint64_t hash, uint64_t word)
{
	hash = (hash ^ word) * seed;
	return hash ^ hash >> 29;
}

unsigned int key_bucket(const struct key *key)
{
	uint64_t word[sizeof(*key) / 8], hash = seed;

	memcpy(word, key, sizeof(word));
	for (size_t i = 0; i < sizeof(word) / sizeof(word[0]); i++)
		hash = mix(hash, word[i]);
	return (unsigned int)(hash >> 32) % KEY_BUCKETS;
}

void key_add(struct key_table *t, struct key_entry *e)
{
	struct key_entry **head = &t->bucket[key_bucket(&e->key)];

	e->next = *head;
	*head = e;
}

void key_del(struct key_table *t, struct key_entry *e)
{
	struct key_entry **p = &t->bucket[key_bucket(&e->key)];

	while (*p != e)
		p = &(*p)->next;
	*p = e->next;
}

struct key_entry *key_find(const struct key_table *t, const struct key *key)
{
	struct key_entry *e = t->bucket[key_bucket(key)];

	while (e && memcmp(&e->key, key, sizeof(*key)) != 0)
		e = e->next;
	return e;
}
