/* znode's connections to init: two streams of events, and short requests.
 *
 * init answers at once, always, so requests are made in place with a time-out
 * that only a broken init can reach. */
#ifndef NODE_LINK_H
#define NODE_LINK_H

#include "base/init_watch.h"

struct link {
	struct loop *loop;
	int requests; /* connection */
	struct init_watch processes, listeners;
	unsigned synced; /* of the two streams */
	/* An event; SYNCED is not passed on. */
	void (*event)(struct link *, const struct init_event *);
	/* Both streams have told all that there is. */
	void (*ready)(struct link *);
};

/* Connects and asks for the events of containers and listeners. `event` and
 * `ready` are set by the caller. 0 or -errno, logged. */
int link_open(struct link *link, struct loop *loop);

/* One request about key; note may be NULL. -errno is init's or the
 * connection's. */
int link_call(struct link *link, enum init_verb verb,
	      const struct init_key *key, const void *note, size_t note_size);
/* Makes a listener on port key->n of an address, or with zeros of every address
 * of this node. */
int link_bind(struct link *link, const struct init_key *key,
	      const uint8_t address[16], const void *note, size_t note_size);

#endif
