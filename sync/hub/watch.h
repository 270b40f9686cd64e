/* The watch stream of a connected node: the one long reply on which the hub
 * tells it of new desired documents and asks it for things. */
#ifndef HUB_WATCH_H
#define HUB_WATCH_H

#include "node.h"

/* Types of frames: u32 length of what follows the type, big-endian; u8 type. */
enum watch_frame {
	WATCH_DESIRED = 1, /* a signed envelope */
	WATCH_SYNCED = 2,  /* nothing newer: empty */
	WATCH_ASK = 3,	   /* JSON */
	WATCH_BYE = 4,	   /* the hub goes: connect anew. Empty, the last */
};

enum { WATCH_ASKS_MAX = 64 };

/* clock_ms() when the node was last heard. */
uint64_t watch_heard_ms(const struct watch_stream *stream);

/* Sends JSON that asks the node for something. 0, -EAGAIN (too many are not
 * sent yet), -ENOMEM. */
int watch_ask(struct watch_stream *stream, struct span json);

/* Asks the node to tell what it observes, once for all who want that before it
 * is sent. */
void watch_observe(struct watch_stream *stream);

/* Says bye on every stream. */
void watch_bye_all(struct hub *hub);

/* Cuts the connection at once. */
void watch_disconnect(struct watch_stream *stream);

#endif
