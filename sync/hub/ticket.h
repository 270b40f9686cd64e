/* Keys of TLS session tickets, shared through the store so that a hub that was
 * restarted resumes the sessions of its nodes. */
#ifndef HUB_TICKET_H
#define HUB_TICKET_H

#include "hub.h"

/* Loads the keys and makes a new one when the newest is half a day old. 0 or
 * -errno. */
int ticket_keys_refresh(struct hub *hub);

#endif
