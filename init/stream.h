/* INIT_WATCH: the changes of the store as a stream of events.
 *
 * Rule of use: a stream only remembers how far its reader got. When its socket
 * is full it waits for room; when it gets room it tells the next change that
 * is still true. Whoever reads slowly therefore misses states, never the
 * latest one, and costs nobody but itself. */
#ifndef INIT_STREAM_H
#define INIT_STREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "init.h"

struct stream {
	bool on;
	bool with_fds;
	uint32_t kind;
	uint64_t told;	  /* sequence number that the reader has reached */
	uint64_t sync_at; /* what existed when it began */
	bool synced;
};

enum stream_result { STREAM_IDLE, STREAM_FULL, STREAM_BROKEN };

void stream_begin(struct stream *s, uint32_t kind, bool with_fds);

/* Sends what there is to tell, at most a small number of events at once
 * (STREAM_FULL then: call again when the socket takes more). */
enum stream_result stream_pump(struct stream *s, int sock);

#endif
