/* Buffers for the data on its way between containers and the world, of two
 * sizes: one that holds any packet, and a small one, into which a short piece
 * is copied before it waits for long, so that it does not pin a large one.
 *
 * The pools are static; pages that were never needed are never touched.
 *
 * Data that its receiver does not take stays in them for as long as he likes,
 * so nobody may have all: a container may hold as many large ones as it leaves
 * to the others, a flow half of what its container may still have, and some
 * are kept for what only passes through. */
#ifndef NET_BUFFER_H
#define NET_BUFFER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <lwip/pbuf.h>

enum {
	BUFFER_LARGE_SIZE = 65536,
	BUFFER_SMALL_SIZE = 2048,
	BUFFER_LARGE_MAX = 256,
	BUFFER_LARGE_PASSING = 64,
	BUFFER_SMALL_MAX = 8192,
	BUFFER_SMALL_FEW = 5120,
};

struct buffer {
	struct pbuf_custom pbuf; /* while lwIP holds it; first */
	struct buffer *next;	 /* the owner's */
	uint8_t *room;		 /* BUFFER_..._SIZE bytes */
	uint8_t *data;		 /* of these, the ones in use */
	uint32_t size;
	bool is_large;
};

/* NULL when none is left. */
struct buffer *buffer_large(void);
struct buffer *buffer_small(void);
void buffer_free(struct buffer *b);

/* b, or a small buffer with its bytes in b's place, when they fit one and one
 * is left. */
struct buffer *buffer_compact(struct buffer *b);

/* What a flow, and its container, hold of the large ones. */
struct buffer_held {
	unsigned int flow, container;
};

/* Whether the flow may let another large one wait. */
bool buffer_fair(struct buffer_held held);
/* Whether the container has left any to the others. */
bool buffer_container_fair(unsigned int held);
/* Whether there are plenty of either size: for what nobody has counted. */
bool buffer_small_plenty(void);
bool buffer_large_plenty(void);

/* For lwIP: a pbuf over `size` bytes at `data` in b; freeing it frees b. */
struct pbuf *buffer_pbuf(struct buffer *b, uint8_t *data, uint16_t size);
struct buffer *buffer_of(struct pbuf *p);

#endif
