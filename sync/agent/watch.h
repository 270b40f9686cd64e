/* The watch stream: the newest desired document for this node, and asks. */
#ifndef AGENT_WATCH_H
#define AGENT_WATCH_H

#include <stdint.h>

#include "wire/http.h"

/* Asks on a connection that is open for it, once znode has told what it obeys
 * or a moment has passed without. link_welcome(), link_lost() and the like are
 * called with what comes of it. */
void watch_open(struct http_client *client);
/* The connection goes: forgets it all. */
void watch_close(void);

/* znode told what it obeys now; 0.0 for nothing. */
void watch_revision(uint64_t epoch, uint64_t revision);
/* znode has document epoch.revision on stable storage. */
void watch_acknowledge(uint64_t epoch, uint64_t revision);

/* The document that znode obeys, 0.0 for none, as far as it told. */
void watch_obeyed(uint64_t *epoch, uint64_t *revision);

#endif
